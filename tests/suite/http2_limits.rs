//! What one client of HTTP/2 may take, and what it costs everybody else when it wants more.

use std::io::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use bytes::Bytes;

use crate::harness::http2::{
    ACK, CONTINUATION, END, GOAWAY, HEADERS, PING, RST_STREAM, RawHttp2, SETTINGS, ask, asks,
    begin, fields, frame, h2, open, read, send, soon,
};
use crate::harness::{Backend, Client, DEADLINE, Origin, Proxy, Reply, Usage, Written};

const ENHANCE_YOUR_CALM: u32 = 11;

fn file(more: &str, upstream: &str) -> String {
    format!(
        "admin.listen = \"127.0.0.1:0\"\nlog.access = false\n[[listener]]\nname = \"web\"\n\
         address = \"127.0.0.1:0\"\n{more}\n[[route]]\nname = \"all\"\nupstream = \"{upstream}\"\n"
    )
}

fn get(stream: u32) -> Vec<u8> {
    let all = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/slow"),
        (":authority", "a"),
    ];
    frame(HEADERS, END, stream, &fields(&all))
}

fn error_of(goaway: &[u8]) -> u32 {
    u32::from_be_bytes(goaway[4..8].try_into().unwrap())
}

/// Sends until it is cut or all is sent, and reads until the end.
fn flood(
    address: SocketAddr,
    frames: impl Iterator<Item = Vec<u8>> + Send + 'static,
) -> Option<u32> {
    let mut client = RawHttp2::open(address);
    let mut writer = client.0.try_clone().unwrap();
    let sending = thread::spawn(move || {
        for bytes in frames {
            if writer.write_all(&bytes).is_err() {
                return;
            }
        }
        let _ = writer.shutdown(std::net::Shutdown::Write);
    });
    let goaway = client.next(GOAWAY);
    while goaway.is_some() && client.frame().is_some() {}
    sending.join().unwrap();
    goaway.map(|goaway| error_of(&goaway))
}

#[test]
fn a_client_that_answers_no_ping_is_cut_and_one_that_does_lives_on() {
    let origin = Origin::named("o");
    let pings = "http2 = { ping_interval = \"100ms\", ping_timeout = \"400ms\" }";
    let proxy = Proxy::with_config(&file(pings, &origin.url()));
    let mut silent = RawHttp2::open(proxy.address());
    assert!(silent.next(PING).is_some(), "it is asked");
    let began = Instant::now();
    while silent.frame().is_some() {}
    assert!(began.elapsed() < DEADLINE, "it is cut");
    proxy.counts("pointsman_connections", &[], 0.0);

    let mut living = RawHttp2::open(proxy.address());
    // Together longer than the time for one answer.
    for _ in 0..10 {
        let ping = living.next(PING).expect("it lives");
        living.send(&frame(PING, ACK, 0, &ping));
    }
    living.send(&get(1));
    assert!(living.next(HEADERS).is_some(), "it is answered");
}

#[test]
fn rapid_resets_are_cut_and_cost_upstreams_little() {
    let backend = Backend::new("origin");
    let proxy = Proxy::with_config(&file("", &backend.url()));
    let before = Usage::of(proxy.id()).memory;
    let reset = |number: u32| {
        let stream = 2 * number + 1;
        [
            get(stream),
            frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()),
        ]
        .concat()
    };
    flood(proxy.address(), (0..100_000).map(reset));
    let asked = backend.received().len();
    assert!(asked <= 500, "{asked} requests reached the origin");
    proxy.counts("pointsman_connections", &[], 0.0);
    proxy.counts("pointsman_requests_in_flight", &[], 0.0);
    let grown = Usage::of(proxy.id()).memory.saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB");
    assert_eq!(crate::harness::get(proxy.address(), "/").status, 200);
}

#[test]
fn requests_that_are_taken_back_one_by_one_are_cut_too() {
    let backend = Backend::new("origin");
    let proxy = Proxy::with_config(&file("", &backend.url()));
    let taken = h2(async {
        let (requests, connection) = open(proxy.address()).await;
        for number in 0..1000 {
            let Ok(mut ready) = requests.clone().ready().await else {
                return number;
            };
            let Ok((_, mut stream)) = ready.send_request(asks("GET", "/slow"), true) else {
                return number;
            };
            let seen = backend.connections();
            soon("it arrives, or all ends", || {
                backend.connections() > seen || connection.is_finished()
            })
            .await;
            stream.send_reset(h2::Reason::CANCEL);
        }
        1000
    });
    assert!((200..300).contains(&taken), "{taken} requests");
}

#[test]
fn continuations_without_end_are_cut() {
    let proxy = Proxy::with_config(&file("", &Origin::named("origin").url()));
    let begin = frame(HEADERS, 0, 1, &fields(&[(":method", "GET")]));
    let more = std::iter::repeat_with(|| frame(CONTINUATION, 0, 1, &[])).take(1_000_000);
    let error = flood(proxy.address(), std::iter::once(begin).chain(more));
    assert_eq!(error, Some(ENHANCE_YOUR_CALM));
}

#[test]
fn settings_and_pings_without_end_take_no_memory_and_nobody_else_waits() {
    let proxy = Proxy::with_config(&file("", &Origin::named("origin").url()));
    let before = Usage::of(proxy.id()).memory;
    for flood in [frame(SETTINGS, 0, 0, &[]), frame(PING, 0, 0, &[0; 8])] {
        // Nothing of what comes back is read.
        let client = RawHttp2::open(proxy.address());
        client.0.set_nonblocking(true).unwrap();
        let many = flood.repeat(10_000);
        let mut sent = 0;
        for _ in 0..200 {
            sent += (&client.0).write(&many).unwrap_or_default();
            let mut other = Client::connect(proxy.address());
            assert_eq!(other.get("a", "/").status, 200);
        }
        assert!(sent > 0);
    }
    let grown = Usage::of(proxy.id()).memory.saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB");
}

#[test]
fn no_more_streams_are_taken_than_the_listener_allows() {
    let backend = Backend::new("origin");
    let more = "http2 = { max_concurrent_streams = 2 }";
    let proxy = Proxy::with_config(&file(more, &backend.url()));
    let mut client = RawHttp2::open(proxy.address());
    for stream in [1, 3, 5] {
        client.send(&get(stream));
    }
    // REFUSED_STREAM, of the one that was too much.
    let refused = loop {
        let (kind, _, stream, payload) = client.frame().unwrap();
        if kind == RST_STREAM {
            break (stream, payload);
        }
    };
    assert_eq!(refused, (5, vec![0, 0, 0, 7]));
}

#[test]
fn heads_have_the_limits_of_the_listener() {
    let origin = Origin::named("origin");
    let more = "limit = { head = \"1KiB\", target = \"512B\", fields = 8 }";
    let proxy = Proxy::with_config(&file(more, &origin.url()));
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let long = |length: usize| asks("GET", &format!("/{}", "a".repeat(length)));
        let with = |count: usize, value: &str| {
            let mut request = asks("GET", "/");
            for number in 0..count {
                let name: http::HeaderName = format!("x-{number}").parse().unwrap();
                request.headers_mut().insert(name, value.parse().unwrap());
            }
            request
        };
        for (request, status) in [
            (long(500), 200),
            (long(600), 414),
            (with(8, "a"), 200),
            (with(9, "a"), 431),
            (with(1, &"a".repeat(900)), 200),
            (with(1, &"a".repeat(1100)), 431),
        ] {
            let fields = request.headers().len();
            let answer = ask(&requests, request).await.unwrap();
            assert_eq!(answer.status.as_u16(), status, "{fields} fields");
        }
        // What is many times too long is not even read.
        let error = ask(&requests, with(8, &"a".repeat(1000)))
            .await
            .unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
    });
}

#[test]
fn a_stream_that_is_not_read_holds_no_other_and_little_memory() {
    let origin = Origin::new(|received| match received.target.as_str() {
        "/large" => Reply::Whole(200, Vec::new(), vec![0; 32 << 20]),
        _ => Reply::text("small"),
    });
    let proxy = Proxy::with_config(&file("", &origin.url()));
    let before = Usage::of(proxy.id()).memory;
    h2(async {
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(64 << 20);
        let (requests, connection) =
            crate::harness::http2::connect(proxy.address(), &mut builder).await;
        let _connection = tokio::spawn(connection);
        let mut stalled = Vec::new();
        for _ in 0..10 {
            let (response, _) = begin(&requests, asks("GET", "/large"), true).await;
            stalled.push(response.await.unwrap());
        }
        for _ in 0..20 {
            let answer = ask(&requests, asks("GET", "/")).await.unwrap();
            assert_eq!(answer.body, b"small");
        }
        let grown = Usage::of(proxy.id()).memory.saturating_sub(before);
        assert!(grown < 32 << 10, "{grown} KiB for 320 MiB");
        let answer = read(stalled.pop().unwrap()).await.unwrap();
        assert_eq!(answer.body.len(), 32 << 20);
    });
}

#[test]
fn a_request_that_its_origin_does_not_read_holds_no_other() {
    let origin = Origin::new(|_| Reply::text("small"));
    let stuck = Origin::raw(|stream| {
        // Kept open, never read.
        std::mem::forget(stream);
    });
    let routes = format!(
        "{}[[route]]\nname = \"stuck\"\npath = \"/stuck\"\nupstream = \"{}\"\n",
        file("", &origin.url()),
        stuck.url()
    );
    let proxy = Proxy::with_config(&routes);
    let before = Usage::of(proxy.id()).memory;
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let (_response, mut stream) = begin(&requests, asks("POST", "/stuck"), false).await;
        let sending = tokio::spawn(async move {
            let _ = send(&mut stream, Bytes::from(vec![0; 64 << 20])).await;
        });
        soon("it arrives", || stuck.connections() == 1).await;
        for _ in 0..20 {
            let (response, mut stream) = begin(&requests, asks("POST", "/"), false).await;
            send(&mut stream, Bytes::from(vec![0; 200_000]))
                .await
                .unwrap();
            stream.send_data(Bytes::new(), true).unwrap();
            assert_eq!(response.await.unwrap().status(), 200);
        }
        assert!(!sending.is_finished());
        let grown = Usage::of(proxy.id()).memory.saturating_sub(before);
        assert!(grown < 32 << 10, "{grown} KiB for 64 MiB");
    });
}

#[test]
fn windows_and_streams_that_cannot_work_are_refused() {
    for (http2, key, message) in [
        (
            "{ max_concurrent_streams = 0 }",
            "max_concurrent_streams",
            "from 1 to 10000",
        ),
        (
            "{ stream_window = \"1KiB\" }",
            "stream_window",
            "from 64KiB to 64MiB",
        ),
        (
            "{ connection_window = \"1GiB\" }",
            "connection_window",
            "from 64KiB to 64MiB",
        ),
        (
            "{ connection_window = \"128KiB\" }",
            "connection_window",
            "at least `stream_window`",
        ),
        (
            "{ ping_timeout = \"0s\" }",
            "ping_timeout",
            "cannot be zero",
        ),
        ("{ streams = 5 }", "streams", "unknown key"),
        ("3", "http2", "`false`, or a table"),
    ] {
        let said = Written::new(file(&format!("http2 = {http2}"), "http://127.0.0.1:9")).check();
        assert_eq!(said.code, Some(1), "{http2}");
        let text = format!("{}{}", said.out, said.err);
        assert!(
            text.contains(key) && text.contains(message),
            "{http2}\n{text}"
        );
    }
}

#[test]
fn a_listener_without_http_2_takes_its_preface_for_a_bad_request() {
    let proxy = Proxy::with_config(&file("http2 = false", "http://127.0.0.1:9"));
    let mut client = Client::connect(proxy.address());
    client.send(crate::harness::http2::PREFACE);
    assert_eq!(client.response().status, 505);
}
