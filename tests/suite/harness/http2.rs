//! Clients of HTTP/2: the crate h2 for what is sound, and bytes for what is not.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};

use super::DEADLINE;

/// Runs a client to its end, which must come before the deadline.
pub(crate) fn h2<F: Future>(client: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let limited = tokio::time::timeout(DEADLINE * 2, client).await;
        limited.expect("the client comes to its end")
    })
}

/// Waits for a condition while the client goes on.
pub(crate) async fn soon(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Requests on one connection in clear, which is served beside them; and how it ends.
pub(crate) async fn open(
    address: SocketAddr,
) -> (
    SendRequest<Bytes>,
    tokio::task::JoinHandle<Result<(), h2::Error>>,
) {
    let (requests, connection) = connect(address, &mut h2::client::Builder::new()).await;
    (requests, tokio::spawn(connection))
}

pub(crate) async fn connect(
    address: SocketAddr,
    builder: &mut h2::client::Builder,
) -> (SendRequest<Bytes>, Connection<tokio::net::TcpStream, Bytes>) {
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("a connection");
    builder.handshake(stream).await.expect("HTTP/2")
}

/// Ends a connection in order, so that whatever was sent on it arrives.
pub(crate) async fn part(
    requests: SendRequest<Bytes>,
    connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
) {
    drop(requests);
    let ended = connection.await.expect("the connection's task");
    ended.expect("an end in order");
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

pub(crate) fn asks(method: &str, path: &str) -> Request<()> {
    let uri = format!("http://a.example{path}");
    let request = Request::builder().method(method).uri(uri);
    request.body(()).expect("a request")
}

/// Begins a request, with a body if there is a stream to send it by.
pub(crate) async fn begin(
    requests: &SendRequest<Bytes>,
    request: Request<()>,
    whole: bool,
) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    let mut ready = requests.clone().ready().await.expect("room for a request");
    ready.send_request(request, whole).expect("it is sent")
}

pub(crate) async fn ask(
    requests: &SendRequest<Bytes>,
    request: Request<()>,
) -> Result<Answer, h2::Error> {
    let (response, _) = begin(requests, request, true).await;
    read(response.await?).await
}

pub(crate) async fn read(response: Response<RecvStream>) -> Result<Answer, h2::Error> {
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        body.extend_from_slice(&data);
        stream.flow_control().release_capacity(data.len())?;
    }
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body,
        trailers: stream.trailers().await?,
    })
}

/// Sends as much as there is, as the other side takes it.
pub(crate) async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let room = room.unwrap_or_else(|| Err(Reason::CANCEL.into()))?;
        stream.send_data(data.split_to(room.min(data.len())), false)?;
    }
    Ok(())
}

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames, by RFC 9113 section 6.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

/// Of a PING or SETTINGS that answers one.
pub(crate) const ACK: u8 = 0x1;
/// The end of a stream, and of its fields.
pub(crate) const END: u8 = 0x1 | 0x4;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Fields as literals that no table remembers (RFC 7541 section 6.2.2).
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "short enough for one byte");
            block.push(text.len() as u8);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// The status in a block as h2 encodes it: by its place in the static table, or as a literal of three
/// digits.
pub(crate) fn status(block: &[u8]) -> Vec<u8> {
    let known = ["200", "204", "206", "304", "400", "404", "500"];
    let block = after_sizes(block);
    match block[0] {
        place @ 0x88..=0x8e => known[usize::from(place - 0x88)].as_bytes().to_vec(),
        // Huffman codes of digits 0 to 2 have five bits, those of 3 to 9 six.
        _ => huffman_digits(&block[2..2 + usize::from(block[1] & 0x7f)]),
    }
}

/// Changes of the table's size come first (RFC 7541 section 6.3).
fn after_sizes(mut block: &[u8]) -> &[u8] {
    while block[0] & 0xe0 == 0x20 {
        let long = block[0] & 0x1f == 0x1f;
        let more = block[1..].iter().take_while(|byte| **byte >= 0x80).count();
        block = &block[if long { 2 + more } else { 1 }..];
    }
    block
}

fn huffman_digits(bytes: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |sum, bit| sum << 1 | bit);
    let (mut at, mut digits) = (0, Vec::new());
    while digits.len() < 3 {
        let five = number(&bits[at..at + 5]);
        if five < 3 {
            digits.push(b'0' + five);
            at += 5;
        } else {
            digits.push(b'3' + number(&bits[at..at + 6]) - 0x19);
            at += 6;
        }
    }
    digits
}

/// A client that sends whatever bytes it likes.
pub(crate) struct RawHttp2<S = TcpStream>(pub(crate) S);

impl RawHttp2 {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let mut client = Self(stream);
        client.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        client
    }
}

impl<S: Read + Write> RawHttp2<S> {
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("it is sent");
    }

    /// Type, flags, stream and payload of the next frame; none if the connection has ended.
    pub(crate) fn frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        self.try_frame().ok()
    }

    /// The same, or why there is none.
    pub(crate) fn try_frame(&mut self) -> std::io::Result<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload)?;
        Ok((head[3], head[4], stream, payload))
    }

    /// The payload of the next frame of that kind; none if the connection ends before.
    pub(crate) fn next(&mut self, wanted: u8) -> Option<Vec<u8>> {
        loop {
            let (kind, _, _, payload) = self.frame()?;
            if kind == wanted {
                return Some(payload);
            }
        }
    }
}
