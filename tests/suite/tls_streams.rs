//! Bytes over TLS: all of them, in any pieces, at any pace, and no end that nobody has said.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::harness::{
    Authority, Backend, Client, DEADLINE, Origin, Proxy, Reply, TlsClient, TlsSite, eventually,
    route, trusting,
};
use crate::proxy_protocol::LINE;

const HOST: &str = "a.example";

struct Secure {
    proxy: Proxy,
    config: Arc<ClientConfig>,
    _site: TlsSite,
}

impl Secure {
    fn with(more: &str, upstream: &str, keys: &str) -> Self {
        let authority = Authority::new();
        let pair = authority.issue(&[HOST]);
        let site = TlsSite::new(&[("a", &pair)]);
        let text = TlsSite::text(&["a"], more, &(route("all", "/*", upstream) + keys));
        Self {
            proxy: site.serve(&text),
            config: Arc::new(trusting(&authority)),
            _site: site,
        }
    }

    fn to(origin: &Origin) -> Self {
        Self::with("", &origin.url(), "")
    }

    fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    fn client(&self) -> TlsClient {
        TlsClient::secured(self.address(), &self.config, HOST)
    }
}

/// Bytes that are not the same anywhere.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn echo() -> Origin {
    Origin::new(|received| Reply::Whole(200, Vec::new(), received.body.clone()))
}

#[test]
fn large_bodies_pass_whole_both_ways_on_one_connection() {
    let origin = echo();
    let secure = Secure::to(&origin);
    let mut client = secure.client();
    for length in [
        0,
        1,
        16 * 1024 - 1,
        16 * 1024,
        16 * 1024 + 1,
        70_000,
        20 << 20,
    ] {
        let body = noise(length);
        let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n");
        client.send(head);
        client.send(&body);
        let response = client.response();
        assert_eq!(response.status, 200, "{length}");
        assert!(response.body == body, "{length} bytes came back as others");
        let chunked =
            format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(chunked);
        for chunk in body.chunks(50_001) {
            client.send(format!("{:x}\r\n", chunk.len()));
            client.send(chunk);
            client.send("\r\n");
        }
        client.send("0\r\n\r\n");
        assert!(client.response().body == body, "{length} bytes in chunks");
    }
}

#[test]
fn a_reader_that_takes_little_at_a_time_gets_all_of_it_and_is_not_taken_for_gone() {
    let body = noise(8 << 20);
    let sent = body.clone();
    let origin = Origin::new(move |_| Reply::Whole(200, Vec::new(), sent.clone()));
    let secure = Secure::with("timeout.write = \"1s\"\n", &origin.url(), "");
    let mut client = secure.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    let head = client.try_head().unwrap();
    assert_eq!(head.header("content-length"), body.len().to_string());
    let mut read = 0;
    // At first too little for the socket's own buffers to have room again for long.
    for piece in body.chunks(8 * 1024) {
        if read < 2 << 20 {
            thread::sleep(Duration::from_millis(10));
        }
        let got = client.bytes(piece.len()).unwrap();
        assert!(got == piece, "at {read}");
        read += piece.len();
    }
    assert_eq!(client.get(HOST, "/").body.len(), body.len());
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let origin = Origin::new(|_| Reply::Whole(200, Vec::new(), vec![0; 64 << 20]));
    let secure = Secure::with("timeout.write = \"300ms\"\n", &origin.url(), "");
    let mut client = secure.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    let stalled = [("route", "all"), ("why", "client_stalled")];
    secure.proxy.counts("pointsman_errors_total", &stalled, 1.0);
}

/// Sends each byte that TLS makes in a packet of its own.
struct Dripping(TcpStream);

impl Read for Dripping {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Dripping {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        thread::yield_now();
        self.0.write(&bytes[..1.min(bytes.len())])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn a_handshake_and_a_request_may_come_byte_by_byte_also_behind_a_proxy_header() {
    let origin = echo();
    for header in ["", LINE] {
        let more = "proxy_protocol = { from = [\"127.0.0.1\"] }\n";
        let more = if header.is_empty() { "" } else { more };
        let secure = Secure::with(more, &origin.url(), "");
        let stream = TcpStream::connect(secure.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut stream = Dripping(stream);
        stream.write_all(header.as_bytes()).unwrap();
        let name = HOST.try_into().unwrap();
        let tls = ClientConnection::new(Arc::clone(&secure.config), name).unwrap();
        let mut client = Client::over(StreamOwned::new(tls, stream));
        for _ in 0..2 {
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 3\r\n\r\nabc"
            ));
            assert_eq!(client.response().text(), "abc");
        }
        let who = if header.is_empty() {
            "127.0.0.1"
        } else {
            "192.0.2.7"
        };
        assert_eq!(origin.last().header("x-forwarded-for"), who);
    }
}

#[test]
fn requests_that_come_together_with_the_end_of_the_handshake_are_all_answered() {
    let origin = echo();
    let secure = Secure::to(&origin);
    let stream = TcpStream::connect(secure.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let tls = ClientConnection::new(Arc::clone(&secure.config), HOST.try_into().unwrap());
    let mut stream = StreamOwned::new(tls.unwrap(), stream);
    let body = noise(40_000);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // Kept by rustls until it may be sent, and then sent with the last message of the handshake.
    for _ in 0..3 {
        stream.conn.writer().write_all(head.as_bytes()).unwrap();
        stream.conn.set_buffer_limit(None);
        stream.conn.writer().write_all(&body).unwrap();
    }
    let mut client = Client::over(stream);
    for _ in 0..3 {
        assert!(client.response().body == body);
    }
}

#[test]
fn a_websocket_works_over_tls_and_says_goodbye_there() {
    let backend = Backend::new("one");
    let secure = Secure::with("", &backend.url(), "");
    let open = || {
        let stream = TcpStream::connect(secure.address()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let tls = ClientConnection::new(Arc::clone(&secure.config), HOST.try_into().unwrap());
        let stream = StreamOwned::new(tls.unwrap(), stream);
        let url = format!("wss://{HOST}/socket");
        tungstenite::client::client(url, stream).unwrap().0
    };
    let mut socket = open();
    for length in [0, 1, 1000, 70_000, 4 << 20] {
        let message = Message::binary(noise(length));
        socket.send(message.clone()).unwrap();
        assert!(socket.read().unwrap() == message, "{length}");
    }
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    drop(socket);
    eventually("its end", || backend.goodbyes().len() == 1);
    secure.proxy.counts("pointsman_tunnels", &[], 0.0);
    // One whose route goes is told, and its connection ends by the rules of TLS.
    let mut socket = open();
    socket.send(Message::text("a")).unwrap();
    socket.read().unwrap();
    let text = std::fs::read_to_string(secure.proxy.config()).unwrap();
    let text = text.split("[[route]]").next().unwrap().to_owned();
    let text = format!("reload.drain_timeout = \"100ms\"\n{text}[[route]]\nrespond = {{}}\n");
    secure.proxy.write_all(&text);
    let Message::Close(Some(frame)) = socket.read().unwrap() else {
        panic!("no goodbye");
    };
    assert_eq!(u16::from(frame.code), 1001);
}

#[test]
fn a_tunnel_that_was_cut_is_not_taken_for_finished() {
    let backend = Backend::new("one");
    let secure = Secure::with("", &backend.url(), "");
    let open = || {
        let mut client = secure.client();
        client.send(format!(
            "GET /socket HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
        assert_eq!(client.try_head().unwrap().status, 101);
        client
    };
    let gone = [("route", "all"), ("why", "client_gone")];
    let mut client = open();
    client.inner().conn.send_close_notify();
    client.inner().flush().unwrap();
    client.inner().sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(
        client.until_closed().unwrap(),
        b"",
        "a goodbye for a goodbye"
    );
    drop(client);
    secure.proxy.counts("pointsman_tunnels", &[], 0.0);
    secure.proxy.counts("pointsman_errors_total", &gone, 0.0);
    let mut client = open();
    client.inner().sock.shutdown(Shutdown::Write).unwrap();
    secure.proxy.counts("pointsman_errors_total", &gone, 1.0);
}

#[test]
fn an_upload_that_was_cut_is_not_taken_for_whole() {
    let origin = Origin::named("one");
    let secure = Secure::to(&origin);
    for head in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let mut client = secure.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{head}\r\n\r\n"));
        client.send("5\r\nab");
        // Without a word, as whoever is in the middle could do it.
        client.inner().sock.shutdown(Shutdown::Write).unwrap();
        let answer = client.until_closed().unwrap_or_default();
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
    let gone = [("route", "all"), ("why", "client_gone")];
    secure.proxy.counts("pointsman_errors_total", &gone, 2.0);
    assert!(origin.received().is_empty(), "{:?}", origin.received());
}

#[test]
fn an_answer_has_a_goodbye_after_it_if_and_only_if_it_is_whole() {
    let body = |whole: bool| {
        let text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
        let end = if whole { "0\r\n\r\n" } else { "" };
        Reply::RawClose(format!("{text}{end}").into_bytes())
    };
    let origin = Origin::new(move |received| body(received.target == "/whole"));
    let secure = Secure::to(&origin);
    let read = |path| {
        let mut client = secure.client();
        // Only the end of the connection ends the answer.
        client.send(format!("GET {path} HTTP/1.0\r\nHost: {HOST}\r\n\r\n"));
        client.try_head().unwrap();
        client.until_closed().map_err(|error| error.kind())
    };
    assert_eq!(read("/whole"), Ok(b"abc".to_vec()));
    let cut = read("/cut").expect_err("no end");
    assert!(matches!(
        cut,
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
    ));
    // A connection that was idle for too long ends with one, too.
    let secure = Secure::with("timeout.idle = \"50ms\"\n", &origin.url(), "");
    let mut client = secure.client();
    assert_eq!(client.get(HOST, "/whole").text(), "abc");
    assert_eq!(client.until_closed().unwrap(), b"");
}
