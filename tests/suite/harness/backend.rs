//! An origin with a little of everything that takes long: answers held back, streams, WebSockets.

use std::io::Write;
use std::net::TcpStream;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use super::{DEADLINE, Origin, Received, Reply};

/// Between two events of a stream.
const PACE: Duration = Duration::from_millis(10);

/// By what the path holds: `/slow` is answered after [`Backend::release`], `/events` and `/stream`
/// never end, `/once` asks to close the connection, a WebSocket echoes. Whatever else gets the name in `x-origin`, and in `x-seen` the
/// value that `x-generation` had in the request.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    origin: Origin,
    gate: Arc<Gate>,
    goodbyes: Arc<Mutex<Vec<Option<u16>>>>,
}

#[derive(Debug, Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Backend {
    pub(crate) fn new(name: &'static str) -> Self {
        let gate = Arc::<Gate>::default();
        let goodbyes = Arc::<Mutex<Vec<Option<u16>>>>::default();
        let (door, heard) = (Arc::clone(&gate), Arc::clone(&goodbyes));
        let origin = Origin::new(move |received| {
            if received.header("upgrade") == "websocket" {
                let heard = Arc::clone(&heard);
                return echo(received, move |code| heard.lock().unwrap().push(code));
            }
            match received.target.as_str() {
                path if path.contains("/events") => stream("text/event-stream"),
                path if path.contains("/stream") => stream("application/octet-stream"),
                path => {
                    if path.contains("/slow") {
                        door.wait();
                    }
                    let seen = received.header("x-generation").to_owned();
                    let mut headers = vec![("x-origin", name.to_owned()), ("x-seen", seen)];
                    if path.contains("/once") {
                        headers.push(("connection", "close".to_owned()));
                    }
                    Reply::Whole(200, headers, name.as_bytes().to_vec())
                }
            }
        });
        Self {
            origin,
            gate,
            goodbyes,
        }
    }

    /// Answers what is held back, and holds back no more.
    pub(crate) fn release(&self) {
        *self.gate.open.lock().unwrap() = true;
        self.gate.opened.notify_all();
    }

    /// The close codes that ended WebSockets; none for one that ended without.
    pub(crate) fn goodbyes(&self) -> Vec<Option<u16>> {
        self.goodbyes.lock().unwrap().clone()
    }

    /// Has a request with this path arrived?
    pub(crate) fn has_seen(&self, path: &str) -> bool {
        let received = self.origin.received();
        received.iter().any(|received| received.target == path)
    }
}

impl Deref for Backend {
    type Target = Origin;

    fn deref(&self) -> &Origin {
        &self.origin
    }
}

impl Gate {
    fn wait(&self) {
        let open = self.open.lock().unwrap();
        let limit = DEADLINE * 2;
        let waited = self
            .opened
            .wait_timeout_while(open, limit, |open| !*open)
            .unwrap();
        drop(waited);
    }
}

/// Numbered events without end, each a chunk of its own.
fn stream(kind: &'static str) -> Reply {
    Reply::Take(Box::new(move |mut to: TcpStream| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let mut open = to.write_all(head.as_bytes()).is_ok();
        for number in 0_u64.. {
            if !open {
                break;
            }
            let event = format!("data: {number}\n\n");
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            open = to.write_all(chunk.as_bytes()).is_ok();
            thread::sleep(PACE);
        }
    }))
}

/// The head that agrees to a WebSocket.
pub(crate) fn switch(received: &Received) -> String {
    let accept = derive_accept_key(received.header("sec-websocket-key").as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    )
}

fn echo(received: &Received, ended: impl FnOnce(Option<u16>) + Send + 'static) -> Reply {
    let head = switch(received);
    Reply::Take(Box::new(move |mut stream: TcpStream| {
        if stream.write_all(head.as_bytes()).is_err() {
            return;
        }
        let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
        let mut code = None;
        while let Ok(message) = socket.read() {
            if let Message::Close(frame) = message {
                code = frame.map(|frame| frame.code.into());
            } else if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                break;
            }
        }
        ended(code);
    }))
}
