//! HTTP/2 frame by frame, as tables: a section of RFC 9113, what a client does, and what must come of it.
//!
//! Every row has a connection of its own. After it a connection that was open before still gets its
//! answers, and so does a new one; and nothing that was to be refused has reached the origin.
//!
//! Floods are in `http2_limits.rs`.

mod frames;
mod messages;
mod peer;
mod secured;
mod sending;
mod streams;

use std::fmt;
use std::net::SocketAddr;

use h2::Reason;

use crate::failures::BlackHole;
use crate::harness::{Authority, Client, Origin, Proxy, Reply, TlsSite, get, route};
use peer::Peer;

const PROTOCOL_ERROR: Reason = Reason::PROTOCOL_ERROR;
const FLOW_CONTROL_ERROR: Reason = Reason::FLOW_CONTROL_ERROR;
const STREAM_CLOSED: Reason = Reason::STREAM_CLOSED;
const FRAME_SIZE_ERROR: Reason = Reason::FRAME_SIZE_ERROR;
const REFUSED_STREAM: Reason = Reason::REFUSED_STREAM;
const COMPRESSION_ERROR: Reason = Reason::COMPRESSION_ERROR;

/// What no request of these tables may bring to the origin.
const NEVER: &str = "/never";
/// Bytes of the answer to `/large`.
const LARGE: usize = 200_000;
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// GOAWAY, and the end of the connection.
    Ends(Reason),
    /// RST_STREAM of that stream. The connection goes on.
    Resets(u32, Reason),
    /// An answer to the request of that stream.
    Status(u32, u16),
    /// The same, and then the end of the connection in peace.
    Last(u32, u16),
    /// The end of the connection without a word.
    Closes,
    /// Nothing.
    Ignored,
}
use Answer::{Closes, Ends, Ignored, Last, Resets, Status};

/// What RFC 9113 asks for, and what comes.
#[derive(Debug, Clone, Copy)]
struct Must {
    asked: Answer,
    given: Answer,
    departs: bool,
}

/// Exactly this.
const fn must(asked: Answer) -> Must {
    Must {
        asked,
        given: asked,
        departs: false,
    }
}

/// A message that is malformed (section 8.1.1): its stream is in error, or it has an answer.
const fn malformed(given: Answer) -> Must {
    must(Resets(1, PROTOCOL_ERROR)).by(given)
}

impl Must {
    /// By one of the other ways that section 5.4 leaves open.
    const fn by(self, given: Answer) -> Self {
        Self { given, ..self }
    }

    /// By none of them: docs/http2.md says why.
    const fn departs(self, given: Answer) -> Self {
        Self {
            given,
            departs: true,
            ..self
        }
    }

    /// A generic code can stand for a more specific one, the error of a connection for that of a
    /// stream, and GOAWAY can be left out (section 5.4). A malformed request can have an answer
    /// (section 8.1.1).
    fn allows(&self) -> bool {
        let code = |asked: Reason, given: Reason| given == asked || given == PROTOCOL_ERROR;
        match (self.asked, self.given) {
            (asked, given) if asked == given => true,
            (Ends(_), Closes) => true,
            (Ends(asked), Ends(given)) => code(asked, given),
            (Resets(_, asked), Ends(given)) => code(asked, given),
            (Resets(stream, asked), Resets(other, given)) => stream == other && code(asked, given),
            (Resets(stream, PROTOCOL_ERROR), Status(other, status)) => {
                stream == other && (400..600).contains(&status)
            }
            _ => false,
        }
    }
}

/// Section, what the client does, how, and what must come of it.
struct Row(&'static str, &'static str, fn(&mut Peer), Must);

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

/// A proxy with small windows and what is behind it.
struct Site {
    proxy: Proxy,
    origin: Origin,
    authority: Authority,
    _files: TlsSite,
    _hole: BlackHole,
}

impl Site {
    /// `/held` is never answered, and of what is sent to `/hole` nothing is read.
    fn new() -> Self {
        let origin = Origin::new(|received| match received.target.as_str() {
            "/held" => Reply::Take(Box::new(std::mem::forget)),
            "/large" => Reply::Whole(200, Vec::new(), vec![b'x'; LARGE]),
            // Answers that are the same, byte for byte.
            _ => Reply::Whole(200, vec![("date", DATE.to_owned())], b"origin".to_vec()),
        });
        let (hole, authority) = (BlackHole::new(), Authority::new());
        let files = TlsSite::new(&[("a", &authority.issue(&["a.example"]))]);
        let keys = "timeout.header = \"60s\"\nhttp2 = { max_concurrent_streams = 4, \
                    stream_window = \"64KiB\", connection_window = \"128KiB\" }\n";
        let clear = "[[listener]]\nname = \"clear\"\naddress = \"127.0.0.1:0\"\n";
        let slow = format!(
            "[upstream.hole]\nserver = \"http://{}\"\ntimeout.connect = \"60s\"\n",
            hole.address
        );
        let routes = route("all", "/*", &origin.url()) + &route("hole", "/hole", "hole") + &slow;
        let text = TlsSite::text(&["a"], keys, &format!("{clear}{keys}{routes}"));
        Self {
            proxy: files.serve(&text),
            origin,
            authority,
            _files: files,
            _hole: hole,
        }
    }

    fn address(&self) -> SocketAddr {
        self.proxy.listener("clear")
    }

    /// A connection before its preface.
    fn knock(&self) -> Peer {
        Peer::over(Client::connect(self.address()).into_stream())
    }

    /// And after it.
    fn open(&self) -> Peer {
        let mut peer = self.knock();
        peer.begins();
        peer
    }

    /// Does what each row says from that beginning on, and tells of all that came out otherwise.
    fn observes(&self, rows: &[Row], begin: impl Fn(&Self) -> Peer) {
        let mut bystander = self.open();
        let mut wrong = Vec::new();
        for row in rows {
            let Row(_, _, act, must) = row;
            assert_eq!(must.allows(), !must.departs, "{row}: {must:?}");
            let mut peer = begin(self);
            act(&mut peer);
            if let Err(came) = peer.finds(must.given) {
                wrong.push(format!("{row}: {came} instead of {:?}", must.given));
            }
            assert_eq!(bystander.next_request(&[]), Ok(200), "{row}: beside it");
            assert_eq!(get(self.address(), "/").status, 200, "{row}: after it");
            let reached = self.origin.received();
            let forwarded = reached.iter().any(|seen| seen.target.contains(NEVER));
            assert!(!forwarded, "{row}: it was forwarded");
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
