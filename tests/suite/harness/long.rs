//! Clients of what lasts: WebSockets and event streams.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use super::{Client, DEADLINE, eventually};

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: WebSocket<TcpStream>,
    sent: u64,
}

impl Socket {
    pub(crate) fn open(address: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the proxy accepts connections");
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a read timeout");
        stream.set_nodelay(true).expect("no delay");
        let url = format!("ws://{address}{path}");
        let (socket, _) = tungstenite::client::client(url, stream).expect("an upgrade");
        Self { socket, sent: 0 }
    }

    /// Sends something that was not sent before and waits for it to come back.
    pub(crate) fn try_echo(&mut self) -> tungstenite::Result<()> {
        self.sent += 1;
        let message = Message::text(format!("message {}", self.sent));
        self.socket.send(message.clone())?;
        let echoed = self.socket.read()?;
        assert_eq!(echoed, message, "another message came back");
        Ok(())
    }

    /// Sends this and gives the next message.
    #[track_caller]
    pub(crate) fn exchange(&mut self, message: Message) -> Message {
        self.socket.send(message).expect("the message is taken");
        self.socket.read().expect("an answer")
    }

    #[track_caller]
    pub(crate) fn echo(&mut self) {
        self.try_echo().expect("the same message back");
    }

    /// Reads to the end: the code of the close frame, or none if the connection ended without.
    pub(crate) fn goodbye(&mut self) -> Option<u16> {
        loop {
            match self.socket.read() {
                Ok(Message::Close(frame)) => {
                    let code = frame.map(|frame| frame.code.into());
                    // Answers the close and waits for the connection to end.
                    while self.socket.read().is_ok() {}
                    return code;
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

/// A stream of numbered events, read on a thread of its own until it ends.
#[derive(Debug)]
pub(crate) struct Events {
    seen: Arc<AtomicU64>,
    reader: JoinHandle<io::Result<()>>,
}

impl Events {
    /// Returns once the first event is there.
    pub(crate) fn open(address: SocketAddr, path: &str) -> Self {
        let mut client = Client::connect(address);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        let head = client.try_head().expect("the head of a stream");
        assert_eq!(head.status, 200);
        let seen = Arc::<AtomicU64>::default();
        let count = Arc::clone(&seen);
        let events = Self {
            seen,
            reader: thread::spawn(move || read(&mut client, &count)),
        };
        events.flows();
        events
    }

    /// Waits for one event more.
    #[track_caller]
    pub(crate) fn flows(&self) {
        let before = self.seen.load(Ordering::Relaxed);
        eventually("the next event", || {
            assert!(!self.has_ended(), "the stream has ended");
            self.seen.load(Ordering::Relaxed) > before
        });
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.reader.is_finished()
    }

    /// Waits for the end; an error if it is not one that HTTP knows.
    pub(crate) fn end(self) -> io::Result<()> {
        self.reader.join().expect("every event in its order")
    }
}

fn read(client: &mut Client, seen: &AtomicU64) -> io::Result<()> {
    let mut text = String::new();
    loop {
        let chunk = client.chunk()?;
        if chunk.is_empty() {
            return Ok(());
        }
        text.push_str(&String::from_utf8_lossy(&chunk));
        while let Some((event, rest)) = text.split_once("\n\n") {
            let number = seen.load(Ordering::Relaxed);
            assert_eq!(event, format!("data: {number}"), "an event was lost");
            seen.store(number + 1, Ordering::Relaxed);
            text = rest.to_owned();
        }
    }
}
