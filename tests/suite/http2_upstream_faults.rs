//! HTTP/2 to upstreams that goes wrong: servers that say goodbye, refuse, break off, freeze or stall, and
//! clients that leave or do not read.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use http::Response;
use tokio::sync::Notify;

use crate::harness::http2::{ask, asks, begin, h2, open, read, send, soon};
use crate::harness::{Asked, Client, Http2Origin, Origin, Proxy, Ways, eventually, route};

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200`, as HPACK has it in its table.
const OK: &[u8] = &[0x88];

/// A server's side of a connection, frame by frame.
struct Frames(TcpStream);

impl Frames {
    fn begin(mut stream: TcpStream) -> Self {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).unwrap();
        let mut frames = Self(stream);
        frames.write(SETTINGS, 0, 0, &[]);
        frames
    }

    fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        frame.extend_from_slice(payload);
        // Whoever connected may have gone.
        let _ = self.0.write_all(&frame);
    }

    /// The next frame; none at the end.
    fn read(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some((head[3], head[4], stream, payload))
    }

    /// The stream of the next request; none at the end.
    fn asked(&mut self) -> Option<u32> {
        loop {
            match self.read()? {
                (HEADERS, _, stream, _) => return Some(stream),
                (SETTINGS, 0, ..) => self.write(SETTINGS, ACK, 0, &[]),
                (PING, 0, _, payload) => self.write(PING, ACK, 0, &payload),
                _ => {}
            }
        }
    }

    fn answer(&mut self, stream: u32) {
        self.write(HEADERS, END_STREAM | END_HEADERS, stream, OK);
    }

    fn goodbye(&mut self, last: u32) {
        let payload = [last.to_be_bytes(), 0_u32.to_be_bytes()].concat();
        self.write(GOAWAY, 0, 0, &payload);
    }
}

fn h2c(origin: &Origin) -> String {
    format!("h2c://{}", origin.address)
}

/// Each connection answers one request, and says of the next that it did not look at it.
#[test]
fn what_a_goodbye_says_was_not_looked_at_is_asked_again_elsewhere() {
    let origin = Origin::raw(|stream| {
        let mut frames = Frames::begin(stream);
        let Some(first) = frames.asked() else { return };
        frames.answer(first);
        if frames.asked().is_some() {
            frames.goodbye(first);
        }
        while frames.asked().is_some() {}
    });
    let proxy = Proxy::start(&format!(
        "server.workers = 1\n{}",
        route("all", "/*", &h2c(&origin))
    ));
    let mut client = Client::connect(proxy.address());
    for _ in 0..10 {
        // With a body, so that nothing but the goodbye allows it.
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(origin.connections(), 10);
}

#[test]
fn a_refused_stream_is_tried_again_and_not_for_ever() {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let origin = Http2Origin::new(move |mut asked: Asked| {
        let count = Arc::clone(&count);
        async move {
            let always = asked.request.uri().path() == "/always";
            if always || count.fetch_add(1, Ordering::Relaxed) < 3 {
                asked.respond.send_reset(Reason::REFUSED_STREAM);
                return;
            }
            let (body, _) = asked.body().await.unwrap();
            asked.answer(Response::new(()), body);
        }
    });
    let proxy = Proxy::start(&route("all", "/*", &origin.url()));
    let mut client = Client::connect(proxy.address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    let answer = client.response();
    assert_eq!((answer.status, answer.text().as_str()), (200, "abc"));
    let before = origin.streams();
    let answer = proxy.get("/always");
    assert_eq!(answer.status, 502);
    assert_eq!(answer.header("x-pointsman-error"), "upstream_reset");
    assert_eq!(origin.streams() - before, 6);
}

#[test]
fn a_post_that_may_have_been_looked_at_is_not_sent_twice() {
    let origin = Origin::raw(|stream| {
        let mut frames = Frames::begin(stream);
        let Some(first) = frames.asked() else { return };
        frames.answer(first);
        // And breaks off with the second before it.
        let _ = frames.asked();
    });
    let proxy = Proxy::start(&format!(
        "server.workers = 1\n{}",
        route("all", "/*", &h2c(&origin))
    ));
    let mut client = Client::connect(proxy.address());
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (request, status, connections) in [(get, 200, 1), (get, 200, 2), (post, 502, 2)] {
        client.send(request);
        assert_eq!(client.response().status, status, "{request}");
        assert_eq!(origin.connections(), connections, "{request}");
    }
}

#[test]
fn an_answer_that_is_reset_half_way_never_looks_whole() {
    // The head and half of the body have arrived.
    let arrived = Arc::new(Notify::new());
    let told = Arc::clone(&arrived);
    let origin = Http2Origin::new(move |mut asked: Asked| {
        let arrived = Arc::clone(&arrived);
        async move {
            let mut response = Response::builder();
            if asked.request.uri().path() == "/length" {
                response = response.header("content-length", "10");
            }
            let response = response.body(()).unwrap();
            let mut stream = asked.respond.send_response(response, false).unwrap();
            stream
                .send_data(Bytes::from_static(b"half"), false)
                .unwrap();
            arrived.notified().await;
            stream.send_reset(match asked.request.uri().query() {
                Some("cancel") => Reason::CANCEL,
                Some("none") => Reason::NO_ERROR,
                _ => Reason::INTERNAL_ERROR,
            });
        }
    });
    let proxy = Proxy::start(&route("all", "/*", &origin.url()));
    let cases = [
        "/",
        "/?cancel",
        "/?none",
        "/length",
        "/length?cancel",
        "/length?none",
    ];
    for path in cases {
        let mut client = Client::connect(proxy.address());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.try_head().unwrap().status, 200);
        told.notify_one();
        let rest = client.until_closed();
        let rest = rest.map(|rest| String::from_utf8(rest).unwrap());
        let whole = rest.is_ok_and(|rest| rest.ends_with("0\r\n\r\n") || rest.len() == 10);
        assert!(!whole, "{path}");
        h2(async {
            let (requests, _connection) = open(proxy.address()).await;
            let (response, _) = begin(&requests, asks("GET", path), true).await;
            let response = response.await.unwrap();
            told.notify_one();
            let error = read(response).await.unwrap_err();
            assert!(error.is_reset(), "{path}: {error}");
        });
    }
    let cut = [("why", "upstream_truncated")];
    proxy.counts("pointsman_errors_total", &cut, 2.0 * cases.len() as f64);
}

#[test]
fn a_client_that_leaves_resets_its_stream_and_no_other() {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&ended);
    let origin = Http2Origin::new(move |mut asked: Asked| {
        let told = Arc::clone(&told);
        async move {
            let path = asked.request.uri().path().to_owned();
            if path == "/whole" {
                return asked.answer(Response::new(()), "ok");
            }
            let reset = match path.as_str() {
                "/before" => poll_fn(|cx| asked.respond.poll_reset(cx)).await,
                _ => {
                    let response = Response::new(());
                    let mut stream = asked.respond.send_response(response, false).unwrap();
                    stream.send_data(Bytes::from_static(b"a"), false).unwrap();
                    poll_fn(|cx| stream.poll_reset(cx)).await
                }
            };
            told.lock().unwrap().push((path, reset.ok()));
        }
    });
    let proxy = Proxy::start(&format!(
        "server.workers = 1\n{}",
        route("all", "/*", &origin.url())
    ));
    let seen = |path: &str| {
        let ended = ended.lock().unwrap();
        ended.contains(&(path.to_owned(), Some(Reason::CANCEL)))
    };
    let mut one = Client::connect(proxy.address());
    one.send("GET /before HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is asked", || origin.streams() == 1);
    drop(one);
    eventually("its stream is reset", || seen("/before"));
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let (response, _) = begin(&requests, asks("GET", "/within"), true).await;
        drop(response.await.unwrap());
        soon("its stream is reset", || seen("/within")).await;
        let answer = ask(&requests, asks("GET", "/whole")).await.unwrap();
        assert_eq!(answer.body, b"ok");
    });
    assert_eq!(origin.connections(), 1);
    proxy.counts("pointsman_requests_in_flight", &[], 0.0);
}

/// Nobody reads from its connections after the first request.
#[test]
fn a_server_that_freezes_is_found_out_and_the_next_connection_is_another() {
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    let origin = Origin::raw(move |stream| {
        let mut frames = Frames::begin(stream);
        let freezes = count.fetch_add(1, Ordering::Relaxed) == 0;
        while let Some(stream) = frames.asked() {
            frames.answer(stream);
            if freezes {
                std::thread::park();
            }
        }
    });
    let proxy = Proxy::start(&format!(
        "server.workers = 1\n{}[upstream.app]\nserver = \"{}\"\n\
         http2 = {{ ping_interval = \"300ms\", ping_timeout = \"300ms\" }}\n",
        route("all", "/*", "app"),
        h2c(&origin)
    ));
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let began = Instant::now();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    let answer = client.response();
    assert_eq!(answer.header("x-pointsman-error"), "upstream_reset");
    // Long before it would be by the time of the route.
    assert!(began.elapsed() < Duration::from_secs(15));
    // One that changes nothing would have been sent again by itself.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(accepted.load(Ordering::Relaxed), 2);
}

/// It answers one ping, and then nothing.
#[test]
fn a_server_that_freezes_after_it_was_asked_is_asked_again_for_the_next_request() {
    let pinged = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&pinged);
    let origin = Origin::raw(move |stream| {
        let mut frames = Frames::begin(stream);
        while let Some((kind, flags, _, payload)) = frames.read() {
            let first = || count.fetch_add(1, Ordering::Relaxed) == 0;
            match (kind, flags) {
                (SETTINGS, 0) => frames.write(SETTINGS, ACK, 0, &[]),
                (PING, 0) if first() => frames.write(PING, ACK, 0, &payload),
                _ => {}
            }
        }
    });
    let proxy = Proxy::start(&format!(
        "server.workers = 1\n{}timeout = {{ response = \"1h\" }}\n[upstream.app]\nserver = \"{}\"\n\
         http2 = {{ ping_interval = \"200ms\", ping_timeout = \"300ms\" }}\n",
        route("all", "/*", "app"),
        h2c(&origin)
    ));
    let mut first = Client::connect(proxy.address());
    first.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    eventually("it is asked", || pinged.load(Ordering::Relaxed) == 1);
    let mut second = Client::connect(proxy.address());
    second.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    for client in [&mut first, &mut second] {
        let answer = client.response();
        assert_eq!(answer.header("x-pointsman-error"), "upstream_reset");
    }
    assert_eq!(pinged.load(Ordering::Relaxed), 2);
}

#[test]
fn a_connection_to_a_server_that_takes_nothing_ends_all_the_same() {
    let origin = Origin::raw(|mut stream| {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).unwrap();
        // Windows as wide as they can be, and then nobody reads.
        let mut frames = Frames(stream);
        frames.write(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
        frames.write(WINDOW_UPDATE, 0, 0, &0x7f00_0000_u32.to_be_bytes());
        std::thread::park();
    });
    let proxy = Proxy::start(&format!(
        "{}timeout = {{ response = \"1s\" }}\n[upstream.app]\nserver = \"{}\"\n\
         pool.idle_timeout = \"500ms\"\nhttp2.ping_interval = \"0s\"\n",
        route("all", "/*", "app"),
        h2c(&origin)
    ));
    let mut client = Client::connect(proxy.address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16000000\r\n\r\n");
    // Until nothing more is taken.
    client
        .stream()
        .set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    while client.try_send([b'x'; 64 * 1024]).is_ok() {}
    drop(client);
    proxy.counts("pointsman_requests_in_flight", &[], 0.0);
    proxy.counts("pointsman_upstream_connections", &[], 0.0);
}

/// Neither is one that a client may be told.
#[test]
fn an_answer_that_http_1_could_read_otherwise_is_refused() {
    let origin = Origin::raw(|stream| {
        let mut frames = Frames::begin(stream);
        while let Some(stream) = frames.asked() {
            // `:status` by its name in the table, with a value as it is.
            let switching = [&[0x08, 3][..], b"101"].concat();
            frames.write(HEADERS, END_HEADERS, stream, &switching);
            frames.answer(stream);
        }
    });
    let lengths = Http2Origin::new(|mut asked: Asked| async move {
        let response = Response::builder().header("content-length", "2");
        let response = response.header("content-length", "2");
        asked.answer(response.body(()).unwrap(), "ok");
    });
    let proxy = Proxy::start(&format!(
        "{}{}",
        route("switching", "/switching", &h2c(&origin)),
        route("lengths", "/lengths", &lengths.url())
    ));
    for path in ["/switching", "/lengths"] {
        let answer = proxy.get(path);
        let seen = (answer.status, answer.header("x-pointsman-error"));
        assert_eq!(seen, (502, "upstream_invalid"), "{path}");
    }
}

#[test]
fn a_silent_server_that_lives_is_left_to_work_and_asked_once() {
    let pings = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&pings);
    let origin = Origin::raw(move |stream| {
        let mut frames = Frames::begin(stream);
        let Some(stream) = frames.asked() else { return };
        let socket = frames.0.try_clone().unwrap();
        let count = Arc::clone(&count);
        // Answers pings for ten times as long as they are waited for, and then the request.
        let end = Instant::now() + Duration::from_secs(2);
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let mut head = [0; 9];
        while Instant::now() < end {
            if socket.peek(&mut head).is_err() {
                continue;
            }
            match frames.read() {
                Some((PING, 0, _, payload)) => {
                    count.fetch_add(1, Ordering::Relaxed);
                    frames.write(PING, ACK, 0, &payload);
                }
                Some(_) => {}
                None => return,
            }
        }
        frames.answer(stream);
        let _ = frames.0.read(&mut head);
    });
    let proxy = Proxy::start(&format!(
        "{}[upstream.app]\nserver = \"{}\"\n\
         http2 = {{ ping_interval = \"100ms\", ping_timeout = \"10s\" }}\n",
        route("all", "/*", "app"),
        h2c(&origin)
    ));
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(pings.load(Ordering::Relaxed), 1);
}

#[test]
fn clients_that_do_not_read_hold_up_no_other() {
    let origin = Http2Origin::new(|mut asked: Asked| async move {
        let size = match asked.request.uri().path() {
            "/large" => 8 << 20,
            _ => 2,
        };
        let response = Response::new(());
        let Ok(mut stream) = asked.respond.send_response(response, false) else {
            return;
        };
        if send(&mut stream, Bytes::from(vec![b'x'; size]))
            .await
            .is_ok()
        {
            let _ = stream.send_data(Bytes::new(), true);
        }
    });
    let proxy = Proxy::start(&format!(
        "server.workers = 1\n{}",
        route("all", "/*", &origin.url())
    ));
    let stuck: Vec<_> = (0..60)
        .map(|_| {
            let mut client = Client::connect(proxy.address());
            client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.try_head().unwrap().status, 200);
            client
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(proxy.get("/small").text(), "xx");
    }
    assert_eq!(origin.connections(), 1);
    drop(stuck);
    proxy.counts("pointsman_requests_in_flight", &[], 0.0);
    assert_eq!(proxy.get("/small").text(), "xx");
}

#[test]
fn a_server_that_does_not_read_makes_the_client_wait_and_nothing_grow() {
    let origin = Http2Origin::new(|asked: Asked| async move {
        // Takes the request, and nothing of its body.
        let _asked = asked;
        std::future::pending::<()>().await;
    });
    let proxy = Proxy::start(&route("all", "/*", &origin.url()));
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    client
        .set_write_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let piece = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while let Ok(written) = client.write(&piece) {
        sent += written;
        assert!(sent < 64 << 20, "the proxy takes it all");
    }
}

#[test]
fn an_answer_before_the_end_of_the_upload_arrives_whole() {
    let origin = Http2Origin::new(|mut asked: Asked| async move {
        let response = Response::builder().status(413).body(()).unwrap();
        let mut stream = asked.respond.send_response(response, false).unwrap();
        send(&mut stream, Bytes::from(vec![b'x'; 100_000]))
            .await
            .unwrap();
        stream.send_data(Bytes::new(), true).unwrap();
        // With the last handle h2 says that it wants no more of the request.
    });
    let proxy = Proxy::start(&route("all", "/*", &origin.url()));
    for _ in 0..20 {
        let mut client = Client::connect(proxy.address());
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc");
        let answer = client.response();
        assert_eq!((answer.status, answer.body.len()), (413, 100_000));
    }
}

#[test]
fn whoever_speaks_no_http_2_is_no_upstream_and_no_upgrade_begins_on_it() {
    let http1 = Origin::new(|_| crate::harness::Reply::text("ok"));
    let http2 = Http2Origin::with(Ways::default(), |mut asked: Asked| async move {
        asked.answer(Response::new(()), "ok");
    });
    let proxy = Proxy::start(&format!(
        "{}{}",
        route("old", "/old", &h2c(&http1)),
        route("new", "/new", &http2.url())
    ));
    let answer = proxy.get("/old");
    assert_eq!(
        (answer.status, answer.header("x-pointsman-error")),
        (502, "upstream_invalid")
    );
    let mut client = Client::connect(proxy.address());
    client.send(
        "GET /new HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    );
    let answer = client.response();
    assert_eq!(
        (answer.status, answer.header("x-pointsman-error")),
        (501, "unsupported")
    );
}

#[test]
fn a_broken_upload_is_told_to_both_sides() {
    let reset = Arc::new(Mutex::new(None));
    let told = Arc::clone(&reset);
    let origin = Http2Origin::new(move |mut asked: Asked| {
        let told = Arc::clone(&told);
        async move {
            let ended = asked.body().await;
            *told.lock().unwrap() = ended.err().and_then(|error| error.reason());
        }
    });
    let proxy = Proxy::start(&format!(
        "{}limit = {{ body = \"1KiB\" }}\n",
        route("all", "/*", &origin.url())
    ));
    let mut client = Client::connect(proxy.address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("400\r\n{}\r\n400\r\n", "x".repeat(1024)));
    client.send("x".repeat(1024));
    let answer = client.response();
    assert_eq!(
        (answer.status, answer.header("x-pointsman-error")),
        (413, "body_too_large")
    );
    eventually("the origin is told", || {
        *reset.lock().unwrap() == Some(Reason::CANCEL)
    });
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let (response, mut stream) = begin(&requests, asks("POST", "/"), false).await;
        send(&mut stream, Bytes::from(vec![0; 4096])).await.unwrap();
        let answer = read(response.await.unwrap()).await.unwrap();
        assert_eq!(answer.status, 413);
    });
}
