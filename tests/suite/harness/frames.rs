//! WebSocket frames one by one, as a library does not show them.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameSocket};

use super::backend::switch;
use super::{DEADLINE, Origin, Reply};

/// One end of an open WebSocket.
#[derive(Debug)]
pub(crate) struct Frames {
    socket: FrameSocket<TcpStream>,
    /// What is sent by a client is masked.
    mask: Option<[u8; 4]>,
}

impl Frames {
    /// The client's end.
    pub(crate) fn open(address: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the proxy accepts connections");
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a read timeout");
        stream
            .set_write_timeout(Some(DEADLINE))
            .expect("a write timeout");
        stream.set_nodelay(true).expect("no delay");
        let url = format!("ws://{address}{path}");
        let (mut socket, _) = tungstenite::client::client(url, stream).expect("an upgrade");
        let stream = socket.get_mut().try_clone().expect("the same stream");
        Self {
            socket: FrameSocket::new(stream),
            mask: Some([0x17, 0x2e, 0xc5, 0x98]),
        }
    }

    /// An origin that agrees to each WebSocket and hands the closure its end, and the path.
    pub(crate) fn origin(serve: impl Fn(Self, &str) + Clone + Send + Sync + 'static) -> Origin {
        Origin::new(move |received| {
            let (head, path) = (switch(received), received.target.clone());
            let serve = serve.clone();
            Reply::Take(Box::new(move |mut stream| {
                stream.write_all(head.as_bytes()).expect("the head");
                let socket = FrameSocket::new(stream);
                serve(Self { socket, mask: None }, &path);
            }))
        })
    }

    /// An origin that sends every frame back, and ends after a close.
    pub(crate) fn mirror() -> Origin {
        Self::origin(|mut frames, _| {
            while let Some(frame) = frames.read() {
                let last = is_close(&frame);
                frames.send(frame);
                if last {
                    break;
                }
            }
        })
    }

    #[track_caller]
    pub(crate) fn send(&mut self, frame: Frame) {
        self.send_in_pieces(frame, usize::MAX);
    }

    /// The same, whether or not anybody takes it.
    pub(crate) fn try_send(&mut self, mut frame: Frame) {
        frame.header_mut().mask = self.mask;
        let mut bytes = Vec::new();
        frame.format(&mut bytes).expect("the bytes of a frame");
        let _ = self.socket.get_mut().write_all(&bytes);
    }

    /// The frame's bytes, no more than `size` of them at a time.
    #[track_caller]
    pub(crate) fn send_in_pieces(&mut self, mut frame: Frame, size: usize) {
        frame.header_mut().mask = self.mask;
        let mut bytes = Vec::new();
        frame.format(&mut bytes).expect("the bytes of a frame");
        for piece in bytes.chunks(size) {
            let sent = self.socket.get_mut().write_all(piece);
            sent.expect("the frame is taken");
        }
    }

    /// Half of a frame, and once this is done the rest.
    #[track_caller]
    pub(crate) fn send_in_halves(&mut self, mut frame: Frame, between: impl FnOnce()) {
        frame.header_mut().mask = self.mask;
        let mut bytes = Vec::new();
        frame.format(&mut bytes).expect("the bytes of a frame");
        let (one, two) = bytes.split_at(bytes.len() / 2);
        let stream = self.socket.get_mut();
        stream.write_all(one).expect("the first half is taken");
        between();
        stream.write_all(two).expect("the second half is taken");
    }

    /// A close with this payload.
    #[track_caller]
    pub(crate) fn close(&mut self, payload: &[u8]) {
        let header = Frame::close(None).header().clone();
        self.send(Frame::from_payload(header, payload.to_vec().into()));
    }

    /// The next frame, its mask taken off; none once the other side has ended.
    #[track_caller]
    pub(crate) fn read(&mut self) -> Option<Frame> {
        let frame = self.socket.read(None).expect("a frame or an end")?;
        let mut header = frame.header().clone();
        let Some(mask) = header.mask.take() else {
            return Some(frame);
        };
        let masked = frame.payload().iter().zip(mask.iter().cycle());
        let payload: Vec<u8> = masked.map(|(byte, mask)| byte ^ mask).collect();
        Some(Frame::from_payload(header, payload.into()))
    }

    /// The same connection, to be read while this end sends.
    pub(crate) fn reader(&self) -> Self {
        let stream = self.socket.get_ref().try_clone().expect("the same stream");
        Self {
            socket: FrameSocket::new(stream),
            mask: self.mask,
        }
    }
}

pub(crate) fn is_close(frame: &Frame) -> bool {
    frame.header().opcode == OpCode::Control(Control::Close)
}
