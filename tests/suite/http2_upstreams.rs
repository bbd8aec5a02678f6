//! HTTP/2 to upstreams: requests and answers of every kind, and connections that are shared.

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};

use crate::harness::http2::{ask, asks, begin, h2, open, read, send};
use crate::harness::{Asked, Client, Http2Origin, Origin, Proxy, Ways, eventually, get, route};

/// Answers with all that it was asked, one thing a line, and gives trailers back.
async fn echo(mut asked: Asked) {
    let head = asked.request.headers().clone();
    let mut told = format!("{} {}\n", asked.request.method(), asked.request.uri());
    for (name, value) in &head {
        told += &format!("{name}: {}\n", value.to_str().unwrap());
    }
    let Ok((body, trailers)) = asked.body().await else {
        return;
    };
    told += &format!("\n{}", String::from_utf8(body).unwrap());
    let response = Response::builder().header("x-origin", "h2");
    let Ok(mut stream) = asked
        .respond
        .send_response(response.body(()).unwrap(), false)
    else {
        return;
    };
    let _ = stream.send_data(Bytes::from(told), trailers.is_none());
    if let Some(trailers) = trailers {
        let _ = stream.send_trailers(trailers);
    }
}

fn to(origin: &Http2Origin) -> Proxy {
    Proxy::start(&route("all", "/*", &origin.url()))
}

#[test]
fn a_request_of_http_1_becomes_one_of_http_2_and_its_answer_comes_back() {
    let origin = Http2Origin::new(echo);
    let proxy = to(&origin);
    let mut client = Client::connect(proxy.address());
    client.send(
        "PUT /a%20b?q=1 HTTP/1.1\r\nHost: shop.example:81\r\nX-A: 1\r\nX-A: 2\r\n\
         Connection: x-b\r\nX-B: 3\r\nCookie: a=b\r\nContent-Length: 5\r\n\r\nhello",
    );
    let answer = client.response();
    assert_eq!((answer.status, answer.header("x-origin")), (200, "h2"));
    let text = answer.text();
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap(),
        "PUT http://shop.example:81/a%20b?q=1"
    );
    let expected = [
        "x-a: 1",
        "x-a: 2",
        "cookie: a=b",
        "content-length: 5",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: shop.example:81",
        "x-forwarded-proto: http",
        "via: 1.1 pointsman",
    ];
    let mut head: Vec<&str> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    head.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(head, expected);
    assert_eq!(lines.next().unwrap(), "hello");
}

#[test]
fn bodies_of_unknown_length_and_trailers_pass_both_ways() {
    let origin = Http2Origin::new(echo);
    let proxy = to(&origin);
    let mut client = Client::connect(proxy.address());
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\
         Trailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n",
    );
    let head = client.try_head().unwrap();
    assert_eq!(
        (head.status, head.header("transfer-encoding")),
        (200, "chunked")
    );
    let mut body = Vec::new();
    loop {
        let chunk = client.chunk().unwrap();
        if chunk.is_empty() {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    let body = String::from_utf8(body).unwrap();
    assert!(
        body.contains("\nte: trailers\n") && body.ends_with("\nabc"),
        "{body}"
    );
    assert!(!body.contains("transfer-encoding"), "{body}");
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let (response, mut stream) = begin(&requests, asks("POST", "/"), false).await;
        send(&mut stream, Bytes::from_static(b"abc")).await.unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("6"));
        stream.send_trailers(trailers.clone()).unwrap();
        let answer = read(response.await.unwrap()).await.unwrap();
        assert!(answer.body.ends_with(b"\nabc"));
        assert_eq!(answer.trailers, Some(trailers));
    });
}

#[test]
fn requests_of_many_clients_share_a_connection_and_more_are_made_when_it_is_full() {
    let mut ways = Ways::default();
    ways.builder.max_concurrent_streams(4);
    // Nobody is answered before twelve have asked.
    let gate = Arc::new(tokio::sync::Barrier::new(12));
    let origin = Http2Origin::with(ways, move |mut asked| {
        let gate = Arc::clone(&gate);
        async move {
            if asked.request.uri().path() == "/together" {
                gate.wait().await;
            }
            asked.answer(Response::new(()), "ok");
        }
    });
    let config = format!("server.workers = 1\n{}", route("all", "/*", &origin.url()));
    let proxy = Proxy::start(&config);
    for _ in 0..20 {
        assert_eq!(proxy.get("/").text(), "ok");
    }
    assert_eq!(origin.connections(), 1);
    let together: Vec<_> = (0..12)
        .map(|_| {
            let address = proxy.address();
            thread::spawn(move || get(address, "/together").text())
        })
        .collect();
    for answer in together {
        assert_eq!(answer.join().unwrap(), "ok");
    }
    assert_eq!(origin.connections(), 3);
    proxy.counts("pointsman_upstream_connections", &[], 3.0);
    // As idle as connections of HTTP/1.1, they are let go.
    proxy.counts("pointsman_upstream_connections", &[], 0.0);
    eventually("the origin sees them end", || origin.open() == 0);
    assert_eq!(origin.errors(), [""; 0]);
}

#[test]
fn a_server_that_says_goodbye_now_and_then_costs_no_request() {
    let ways = Ways {
        streams: 10,
        ..Ways::default()
    };
    let origin = Http2Origin::with(ways, echo);
    let proxy = to(&origin);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let address = proxy.address();
            thread::spawn(move || {
                h2(async {
                    let (requests, _connection) = open(address).await;
                    for _ in 0..50 {
                        let (response, mut stream) =
                            begin(&requests, asks("POST", "/"), false).await;
                        stream.send_data(Bytes::from_static(b"abc"), true).unwrap();
                        let answer = read(response.await.unwrap()).await.unwrap();
                        assert_eq!(answer.status, 200);
                        assert!(answer.body.ends_with(b"\n\nabc"));
                    }
                });
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    // More than ten on each, because some are on their way when the goodbye is said.
    assert!(origin.connections() >= 10, "{}", origin.connections());
    proxy.counts("pointsman_requests_total", &[("code", "200")], 400.0);
}

#[test]
fn an_answer_without_a_body_has_none() {
    let origin = Http2Origin::new(|mut asked: Asked| async move {
        let status = asked.request.uri().path()[1..].parse().unwrap_or(200_u16);
        let response = Response::builder()
            .status(status)
            .header("content-length", "7");
        let response = match status {
            204 => Response::builder().status(204),
            _ => response,
        };
        asked.answer(response.body(()).unwrap(), "");
    });
    let proxy = to(&origin);
    let mut client = Client::connect(proxy.address());
    for (method, path, status) in [
        ("HEAD", "/", 200),
        ("GET", "/204", 204),
        ("GET", "/304", 304),
    ] {
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let head = client.try_head().unwrap();
        assert_eq!(head.status, status);
        let length = if status == 204 { "" } else { "7" };
        assert_eq!(head.header("content-length"), length, "{path}");
    }
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let answer = ask(&requests, asks("HEAD", "/")).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    });
}

#[test]
fn a_base_path_and_a_host_of_ones_own_are_told_too() {
    let origin = Http2Origin::new(echo);
    let proxy = Proxy::start(&format!(
        "[[route]]\npath = \"/own\"\nupstream = \"{0}/base\"\nupstream_host = \"upstream\"\n\
         [[route]]\npath = \"/named\"\nupstream = \"{0}\"\nupstream_host = \"named.example\"\n",
        origin.url()
    ));
    let first = |path| proxy.get(path).text().lines().next().unwrap().to_owned();
    assert_eq!(
        first("/own"),
        format!("GET http://{}/base/own", origin.address)
    );
    assert_eq!(first("/named"), "GET http://named.example/named");
}

#[test]
fn options_of_the_server_as_a_whole_have_no_path() {
    let origin = Http2Origin::new(echo);
    let proxy = to(&origin);
    let mut client = Client::connect(proxy.address());
    client.send("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let text = client.response().text();
    // As a URI is written of an authority and a path that is `*`.
    assert_eq!(text.lines().next().unwrap(), "OPTIONS http://a.example*");
}

#[test]
fn interim_answers_are_passed_on() {
    let seen = Arc::new(Mutex::new(0));
    let count = Arc::clone(&seen);
    let origin = Http2Origin::new(move |mut asked: Asked| {
        *count.lock().unwrap() += 1;
        async move {
            let hints = Response::builder().status(103).header("link", "</a.css>");
            asked
                .respond
                .send_informational(hints.body(()).unwrap())
                .unwrap();
            asked.answer(Response::new(()), "ok");
        }
    });
    let proxy = to(&origin);
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let hints = client.try_head().unwrap();
    assert_eq!((hints.status, hints.header("link")), (103, "</a.css>"));
    assert_eq!(client.response().text(), "ok");
    assert_eq!(*seen.lock().unwrap(), 1);
}

#[test]
fn bodies_larger_than_any_window_pass_whole_both_ways() {
    let origin = Http2Origin::new(|mut asked: Asked| async move {
        let Ok((body, _)) = asked.body().await else {
            return;
        };
        let response = asked.respond.send_response(Response::new(()), false);
        let Ok(mut stream) = response else { return };
        if send(&mut stream, Bytes::from(body)).await.is_ok() {
            let _ = stream.send_data(Bytes::new(), true);
        }
    });
    let proxy = to(&origin);
    let sent: Vec<u8> = (0..40_000_000_u32).map(|at| (at / 7) as u8).collect();
    let mut client = Client::connect(proxy.address());
    let length = sent.len();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
    ));
    client.send(&sent);
    assert!(client.response().body == sent);
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let (response, mut stream) = begin(&requests, asks("POST", "/"), false).await;
        send(&mut stream, Bytes::from(sent.clone())).await.unwrap();
        stream.send_data(Bytes::new(), true).unwrap();
        let answer = read(response.await.unwrap()).await.unwrap();
        assert!(answer.body == sent);
    });
}

#[test]
fn what_is_configured_is_told_to_the_server_and_kept() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let said = Arc::clone(&told);
    let raw = Origin::raw(move |mut stream| {
        // The preface, and two frames of the connection's own.
        let mut bytes = [0; 24 + 9 + 64];
        let mut read = 0;
        while read < bytes.len() {
            match stream.read(&mut bytes[read..]) {
                Ok(more @ 1..) => read += more,
                Ok(0) | Err(_) => break,
            }
        }
        said.lock().unwrap().extend_from_slice(&bytes[..read]);
    });
    let gate = Arc::new(tokio::sync::Barrier::new(6));
    let origin = Http2Origin::new(move |mut asked: Asked| {
        let gate = Arc::clone(&gate);
        async move {
            gate.wait().await;
            asked.answer(Response::new(()), "ok");
        }
    });
    let settings = "http2 = { max_concurrent_streams = 2, stream_window = \"1MiB\" }\n";
    let proxy = Proxy::start(&format!(
        "server.workers = 1\n{}{}[upstream.raw]\nserver = \"h2c://{}\"\n{settings}\
         [upstream.app]\nserver = \"{}\"\n{settings}",
        route("raw", "/raw", "raw"),
        route("app", "/app", "app"),
        raw.address,
        origin.url()
    ));
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let address = proxy.address();
            thread::spawn(move || get(address, "/app").text())
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap(), "ok");
    }
    assert_eq!(origin.connections(), 3);
    let _ = proxy.get("/raw");
    let told = told.lock().unwrap();
    // SETTINGS_INITIAL_WINDOW_SIZE, and a WINDOW_UPDATE to twice of it from the 65,535 that RFC 9113 begins with.
    let window = [&[0, 4][..], &(1_u32 << 20).to_be_bytes()].concat();
    let more = [
        &[0, 0, 4, 8, 0, 0, 0, 0, 0][..],
        &((2_u32 << 20) - 65_535).to_be_bytes(),
    ]
    .concat();
    for part in [window, more] {
        let found = told.windows(part.len()).any(|bytes| bytes == part);
        assert!(found, "{part:?} in {told:?}");
    }
}

#[test]
fn the_connections_of_an_upstream_that_is_gone_end_once_nobody_uses_them() {
    let release = Arc::new(tokio::sync::Notify::new());
    let released = Arc::clone(&release);
    let origin = Http2Origin::new(move |mut asked: Asked| {
        let release = Arc::clone(&released);
        async move {
            if asked.request.uri().path() == "/slow" {
                release.notified().await;
            }
            asked.answer(Response::new(()), "ok");
        }
    });
    let lasting = "pool.idle_timeout = \"1h\"\n";
    let proxy = Proxy::start(&format!(
        "server.workers = 1\n{}[upstream.app]\nserver = \"{}\"\n{lasting}",
        route("all", "/*", "app"),
        origin.url()
    ));
    let mut slow = Client::connect(proxy.address());
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is asked", || origin.streams() == 1);
    proxy.apply("server.workers = 1\n[[route]]\nrespond = {}\n");
    assert_eq!(origin.open(), 1);
    release.notify_one();
    assert_eq!(slow.response().text(), "ok");
    eventually("its connection ends", || origin.open() == 0);
    assert_eq!(origin.errors(), [""; 0]);
}
