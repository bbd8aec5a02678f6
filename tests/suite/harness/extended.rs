//! WebSockets on streams of HTTP/2 (RFC 8441), by the crate h2.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::http2::{asks, begin, soon};

/// What a client asks with that wants a tunnel of this protocol.
pub(crate) fn connects(protocol: &'static str, path: &str) -> Request<()> {
    let mut request = asks("CONNECT", path);
    let extensions = request.extensions_mut();
    extensions.insert(Protocol::from_static(protocol));
    let fields = request.headers_mut();
    fields.insert("sec-websocket-version", "13".parse().expect("a value"));
    fields.insert("origin", "http://a.example".parse().expect("a value"));
    request
}

/// May be asked for only by a client that was told so.
pub(crate) async fn told(requests: &SendRequest<Bytes>) {
    let said = || requests.is_extended_connect_protocol_enabled();
    soon("the extension is advertised", said).await;
}

/// Begins to ask for a WebSocket.
pub(crate) async fn wants(
    requests: &SendRequest<Bytes>,
    path: &str,
) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    told(requests).await;
    begin(requests, connects("websocket", path), false).await
}

/// A tunnel that stands.
pub(crate) struct Tunnel {
    pub(crate) headers: HeaderMap,
    pub(crate) send: SendStream<Bytes>,
    pub(crate) receive: RecvStream,
    read: Bytes,
}

impl Tunnel {
    pub(crate) async fn open(requests: &SendRequest<Bytes>, path: &str) -> Self {
        let (response, send) = wants(requests, path).await;
        Self::of(response, send).await
    }

    pub(crate) async fn of(response: h2::client::ResponseFuture, send: SendStream<Bytes>) -> Self {
        let response = response.await.expect("an answer");
        assert_eq!(response.status(), 200, "{response:?}");
        let (head, receive) = response.into_parts();
        Self {
            headers: head.headers,
            send,
            receive,
            read: Bytes::new(),
        }
    }

    /// The client's end of it, by a library.
    pub(crate) async fn socket(self) -> WebSocketStream<Self> {
        WebSocketStream::from_raw_socket(self, Role::Client, None).await
    }

    pub(crate) async fn say(&mut self, bytes: impl Into<Bytes>) -> Result<(), h2::Error> {
        super::http2::send(&mut self.send, bytes.into()).await
    }

    pub(crate) fn finish(&mut self) {
        self.send.send_data(Bytes::new(), true).expect("an end");
    }

    /// The next bytes; none if the other side has finished.
    pub(crate) async fn hear(&mut self) -> Result<Option<Bytes>, h2::Error> {
        let Some(data) = self.receive.data().await.transpose()? else {
            return Ok(None);
        };
        self.receive.flow_control().release_capacity(data.len())?;
        Ok(Some(data))
    }

    /// What comes up to that length, or to the end.
    pub(crate) async fn hear_at_least(&mut self, length: usize) -> Result<Vec<u8>, h2::Error> {
        let mut heard = Vec::new();
        while heard.len() < length {
            let Some(data) = self.hear().await? else {
                break;
            };
            heard.extend_from_slice(&data);
        }
        Ok(heard)
    }

    pub(crate) async fn hear_all(&mut self) -> Result<Vec<u8>, h2::Error> {
        self.hear_at_least(usize::MAX).await
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.read.is_empty() {
            match ready!(self.receive.poll_data(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(data) => self.read = data.map_err(io::Error::other)?,
            }
        }
        let length = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..length]);
        self.read.advance(length);
        let taken = self.receive.flow_control().release_capacity(length);
        Poll::Ready(taken.map_err(io::Error::other))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.send.reserve_capacity(bytes.len());
        let room = ready!(self.send.poll_capacity(cx));
        let room = room.unwrap_or_else(|| Err(Reason::CANCEL.into()));
        let length = room.map_err(io::Error::other)?.min(bytes.len());
        let data = Bytes::copy_from_slice(&bytes[..length]);
        let sent = self.send.send_data(data, false);
        Poll::Ready(sent.map(|()| length).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = self.send.send_data(Bytes::new(), true);
        Poll::Ready(sent.map_err(io::Error::other))
    }
}
