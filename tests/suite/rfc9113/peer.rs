//! A client that breaks rules, and how it finds out what came of it.

use std::io::{ErrorKind, Read, Write};

use h2::Reason;

use super::{Answer, Closes, Ends, Ignored, Last, Resets, Status};
use crate::harness::http2::{
    ACK, END, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, RawHttp2, SETTINGS, fields, frame, status,
};

pub(super) const DATA: u8 = 0;
pub(super) const PRIORITY: u8 = 2;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const WINDOW_UPDATE: u8 = 8;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const PRIORITIZED: u8 = 0x20;

/// The first of the streams by which it is tried whether a connection goes on.
const PROBE: u32 = 0x1001;

/// Fields of a head.
pub(super) type Fields<'a> = &'a [(&'a str, &'a str)];

/// Of a request with this method for this path.
pub(super) fn head(method: &str, path: &str) -> Vec<u8> {
    let authority = (":authority", "a");
    fields(&[
        (":method", method),
        (":scheme", "http"),
        authority,
        (":path", path),
    ])
}

pub(super) fn number(value: u32) -> [u8; 4] {
    value.to_be_bytes()
}

pub(super) trait Wire: Read + Write {}
impl<S: Read + Write> Wire for S {}

pub(super) type Frame = (u8, u8, u32, Vec<u8>);

pub(super) struct Peer {
    wire: RawHttp2<Box<dyn Wire>>,
    probe: u32,
}

impl Peer {
    pub(super) fn over(stream: impl Wire + 'static) -> Self {
        Self {
            wire: RawHttp2(Box::new(stream)),
            probe: PROBE,
        }
    }

    /// The preface.
    pub(super) fn begins(&mut self) {
        self.send(PREFACE);
        self.settings(&[]);
    }

    /// Whoever was sent away by now sends no more, which [`Peer::finds`] tells.
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.wire.0.write_all(bytes.as_ref());
    }

    pub(super) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send(frame(kind, flags, stream, payload));
    }

    /// A request without a body, whole.
    pub(super) fn get(&mut self, stream: u32, path: &str) {
        self.frame(HEADERS, END, stream, &head("GET", path));
    }

    /// The head of one with a body.
    pub(super) fn post(&mut self, stream: u32, path: &str) {
        self.frame(HEADERS, END_HEADERS, stream, &head("POST", path));
    }

    /// A whole request of these fields.
    pub(super) fn fields(&mut self, stream: u32, all: Fields<'_>) {
        self.frame(HEADERS, END, stream, &fields(all));
    }

    pub(super) fn data(&mut self, stream: u32, flags: u8, body: &[u8]) {
        self.frame(DATA, flags, stream, body);
    }

    pub(super) fn reset(&mut self, stream: u32) {
        self.frame(RST_STREAM, 0, stream, &number(Reason::CANCEL.into()));
    }

    pub(super) fn grant(&mut self, stream: u32, size: u32) {
        self.frame(WINDOW_UPDATE, 0, stream, &number(size));
    }

    pub(super) fn settings(&mut self, all: &[(u16, u32)]) {
        let setting = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &number(*value)].concat();
        let payload: Vec<u8> = all.iter().flat_map(setting).collect();
        self.frame(SETTINGS, 0, 0, &payload);
    }

    /// Waits for the windows that the proxy gives, and acknowledges them.
    pub(super) fn agrees(&mut self) {
        for first in [SETTINGS, WINDOW_UPDATE] {
            self.until(|(kind, ..)| *kind == first);
        }
        self.frame(SETTINGS, ACK, 0, &[]);
    }

    /// A request and its whole answer.
    pub(super) fn asks(&mut self, stream: u32, path: &str) -> Vec<Frame> {
        self.get(stream, path);
        self.until(|(kind, flags, of, _)| {
            matches!(*kind, DATA | HEADERS) && *of == stream && flags & END_STREAM != 0
        })
    }

    /// Waits until everything that was sent so far has been looked at.
    pub(super) fn settles(&mut self) -> Vec<Frame> {
        let asked = b"settled?";
        self.frame(PING, 0, 0, asked);
        self.until(|(kind, flags, _, payload)| (*kind, *flags, &payload[..]) == (PING, ACK, asked))
    }

    /// All frames up to one for which this holds, which must come.
    #[track_caller]
    pub(super) fn until(&mut self, last: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let mut seen = Vec::new();
        loop {
            let frame = self.wire.try_frame();
            let frame = frame.unwrap_or_else(|error| panic!("{error} after {seen:?}"));
            let found = last(&frame);
            seen.push(frame);
            if found {
                return seen;
            }
        }
    }

    /// Is this what comes? If not, what does?
    pub(super) fn finds(&mut self, given: Answer) -> Result<(), String> {
        match given {
            Ignored => self.next_request(&[]).map(drop),
            Closes => match self.answer()? {
                None => Ok(()),
                Some(came) => Err(format!("{came:?}")),
            },
            Ends(_) => self.comes(given),
            Resets(stream, _) | Status(stream, _) => {
                self.comes(given)?;
                self.next_request(&[stream]).map(drop)
            }
            Last(stream, code) => {
                self.comes(Status(stream, code))?;
                self.comes(Ends(Reason::NO_ERROR))
            }
        }
    }

    /// The first word comes on that stream or the connection, answers to other requests aside.
    fn comes(&mut self, given: Answer) -> Result<(), String> {
        loop {
            match self.answer()? {
                Some(came) if came == given => return Ok(()),
                Some(Status(of, _)) if !matches!(given, Status(stream, _) if stream == of) => {}
                Some(came) => return Err(format!("{came:?}")),
                None => return Err("the end without a word".to_owned()),
            }
        }
    }

    /// The status of one more request, before which nothing is said of other streams but these.
    pub(super) fn next_request(&mut self, but: &[u32]) -> Result<u16, String> {
        let probe = self.probe;
        self.probe += 2;
        self.get(probe, "/");
        loop {
            match self.answer()? {
                Some(Status(stream, code)) if stream == probe => return Ok(code),
                Some(Status(..)) => {}
                Some(Resets(stream, _)) if but.contains(&stream) => {}
                Some(other) => return Err(format!("{other:?} before the next answer")),
                None => return Err("the end before the next answer".to_owned()),
            }
        }
    }

    /// The next thing that is said of a request or of the connection; none at its end.
    fn answer(&mut self) -> Result<Option<Answer>, String> {
        let reason = |bytes: &[u8]| {
            let code = bytes.try_into().expect("a code");
            Reason::from(u32::from_be_bytes(code))
        };
        loop {
            match self.wire.try_frame() {
                Ok((GOAWAY, _, _, payload)) => {
                    let reason = reason(&payload[4..8]);
                    return self.until_closed().map(|()| Some(Ends(reason)));
                }
                Ok((RST_STREAM, _, stream, payload)) => {
                    return Ok(Some(Resets(stream, reason(&payload))));
                }
                Ok((HEADERS, _, stream, block)) => {
                    let code = String::from_utf8(status(&block)).expect("digits");
                    let code = code.parse().expect("a status");
                    return Ok(Some(Status(stream, code)));
                }
                Ok(_) => {}
                Err(error) if is_end(&error) => return Ok(None),
                Err(error) => return Err(format!("{error}")),
            }
        }
    }

    fn until_closed(&mut self) -> Result<(), String> {
        loop {
            match self.wire.try_frame() {
                Ok(_) => {}
                Err(error) if is_end(&error) => return Ok(()),
                Err(error) => return Err(format!("GOAWAY, but no end: {error}")),
            }
        }
    }
}

fn is_end(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
    )
}
