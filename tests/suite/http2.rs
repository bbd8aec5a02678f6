//! Requests by HTTP/2 in clear, and what upstreams see of them.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};

use crate::harness::http2::{
    Answer, END, HEADERS, RST_STREAM, RawHttp2, SETTINGS, ask, asks, begin, fields, frame, h2,
    open, read, send, status,
};
use crate::harness::{Client, Origin, Proxy, Reply};
use crate::trailers::chunked;

fn asked_with(
    origin: &Origin,
    proxy: &Proxy,
    request: Request<()>,
) -> (Answer, crate::harness::Received) {
    let answer = h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        ask(&requests, request).await.unwrap()
    });
    (answer, origin.last())
}

#[test]
fn a_request_reaches_an_origin_of_http_1_1_and_its_answer_comes_back() {
    let origin = Origin::named("origin");
    let proxy = Proxy::to(&origin.url());
    let (answer, seen) = asked_with(&origin, &proxy, asks("GET", "/a?b=c"));
    assert_eq!(
        (answer.status.as_u16(), &answer.body[..]),
        (200, &b"origin"[..])
    );
    assert_eq!(answer.headers["x-origin"], "origin");
    assert!(!answer.headers.contains_key("connection"));
    assert_eq!((&seen.method[..], &seen.target[..]), ("GET", "/a?b=c"));
    assert_eq!(seen.all("host"), ["a.example"]);
    assert_eq!(seen.header("via"), "2.0 pointsman");
    assert_eq!(seen.header("x-forwarded-host"), "a.example");
    let line = proxy.wait_for_log("the request", |line| line["path"] == "/a");
    assert_eq!(line["protocol"], "HTTP/2.0");
    assert_eq!(
        (&line["why"], &line["bytes_out"]),
        (&"ok".into(), &6.into())
    );
    proxy.counts("pointsman_requests_total", &[], 1.0);
}

#[test]
fn via_says_what_a_request_came_by() {
    let origin = Origin::named("origin");
    let proxy = Proxy::to(&origin.url());
    for (version, via) in [("1.0", "1.0 pointsman"), ("1.1", "1.1 pointsman")] {
        let mut client = Client::connect(proxy.address());
        client.send(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n"));
        assert_eq!(client.response().status, 200);
        assert_eq!(origin.last().header("via"), via);
    }
}

#[test]
fn crumbs_of_cookies_are_joined() {
    let origin = Origin::named("origin");
    let proxy = Proxy::to(&origin.url());
    let mut request = asks("GET", "/");
    for crumb in ["a=1", "b=2", "c=\"3\""] {
        request
            .headers_mut()
            .append("cookie", HeaderValue::from_static(crumb));
    }
    let (_, seen) = asked_with(&origin, &proxy, request);
    assert_eq!(seen.all("cookie"), ["a=1; b=2; c=\"3\""]);
}

#[test]
fn host_and_authority_agree_or_the_request_is_refused() {
    let origin = Origin::named("origin");
    let proxy = Proxy::to(&origin.url());
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a [u8]);
    let table: [Row<'_>; 9] = [
        (&[(":authority", "a")], b"200"),
        (&[(":authority", "a"), ("host", "a")], b"200"),
        (&[(":authority", "a"), ("host", "A:80")], b"200"),
        (&[(":authority", "a:80"), ("host", "a")], b"200"),
        (&[("host", "a")], b"200"),
        (&[(":authority", "a"), ("host", "b")], b"400"),
        (&[(":authority", "a"), ("host", "a:81")], b"400"),
        (&[(":authority", "u@a")], b"400"),
        (&[("host", "a"), ("host", "a")], b"400"),
    ];
    for (own, status) in table {
        let said = answered(&proxy, "/", own);
        assert_eq!(said, Said::Status(status.to_vec()), "{own:?}");
    }
    let seen = origin.received();
    let hosts: Vec<_> = seen.iter().map(|seen| seen.all("host")).collect();
    // Where both are there, the one that counts.
    assert_eq!(hosts, [["a"], ["a"], ["a"], ["a:80"], ["a"]]);
    assert_eq!(answered(&proxy, "/", &[]), Said::Status(b"400".to_vec()));
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Status(Vec<u8>),
    Reset,
    Goaway,
}

/// What one request gets, with `own` fields after its pseudo-fields.
fn answered(proxy: &Proxy, path: &str, own: &[(&str, &str)]) -> Said {
    let pseudo = [(":method", "GET"), (":scheme", "http"), (":path", path)];
    let mut client = RawHttp2::open(proxy.address());
    let all = [&pseudo[..], own].concat();
    said(&mut client, &all)
}

fn said(client: &mut RawHttp2, all: &[(&str, &str)]) -> Said {
    client.send(&frame(HEADERS, END, 1, &fields(all)));
    loop {
        match client.frame() {
            Some((HEADERS, _, 1, block)) => return Said::Status(status(&block)),
            Some((RST_STREAM, ..)) => return Said::Reset,
            Some((7, ..)) => return Said::Goaway,
            Some((SETTINGS | 8, ..)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_http_1_1_could_read_otherwise_is_answered_and_goes_nowhere() {
    let origin = Origin::named("origin");
    let proxy = Proxy::to(&origin.url());
    let refused: [&[(&str, &str)]; 6] = [
        &[("content-length", "0"), ("content-length", "0")],
        &[("content-length", "+0")],
        &[("x", " a")],
        &[("x", "a\t")],
        &[("host", "b")],
        &[("host", "")],
    ];
    for own in refused {
        let own = [&[(":authority", "a")], own].concat();
        let said = answered(&proxy, "/", &own);
        let refused = said == Said::Status(b"400".to_vec());
        assert!(refused || said == Said::Reset, "{own:?}: {said:?}");
    }
    for path in [
        "a",
        "*",
        "/a/../b",
        "/a\\b",
        "/%2e%2e/",
        "/%zz",
        "http://b/",
    ] {
        let said = answered(&proxy, path, &[(":authority", "a")]);
        let refused = said == Said::Status(b"400".to_vec());
        assert!(refused || said == Said::Reset, "{path:?}: {said:?}");
    }
    assert_eq!(origin.received(), []);
}

#[test]
fn connect_is_not_done() {
    let proxy = Proxy::to(&Origin::named("origin").url());
    let plain = [(":method", "CONNECT"), (":authority", "a:443")];
    let mut client = RawHttp2::open(proxy.address());
    assert_eq!(said(&mut client, &plain), Said::Status(b"501".to_vec()));
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let origin = Origin::new(|received| match received.target.as_str() {
        "/204" => Reply::Raw(b"HTTP/1.1 204 No\r\n\r\n".to_vec()),
        "/304" => Reply::Raw(b"HTTP/1.1 304 No\r\ncontent-length: 9\r\n\r\n".to_vec()),
        _ => Reply::text("body"),
    });
    let own = "[[route]]\npath = \"/own\"\nrespond = { body = \"four\" }\n";
    let proxy = Proxy::start(&format!(
        "[[route]]\nupstream = \"{}\"\n{own}",
        origin.url()
    ));
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        for (method, path, status, length) in [
            ("HEAD", "/", 200, Some("4")),
            ("HEAD", "/own", 200, Some("4")),
            ("GET", "/204", 204, None),
            ("GET", "/304", 304, Some("9")),
        ] {
            let answer = ask(&requests, asks(method, path)).await.unwrap();
            let said = answer.headers.get("content-length");
            let said = said.map(|length| length.to_str().unwrap());
            assert_eq!((answer.status.as_u16(), said), (status, length), "{path}");
            assert_eq!(answer.body, b"", "{path}");
        }
    });
    proxy.counts("pointsman_errors_total", &[], 0.0);
    proxy.counts("pointsman_requests_in_flight", &[], 0.0);
}

#[test]
fn trailers_go_both_ways() {
    let (origin, seen) = chunked();
    let proxy = Proxy::to(&origin.url());
    let with = |name: &'static str| {
        HeaderMap::from_iter([(
            http::HeaderName::from_static(name),
            HeaderValue::from_static("1"),
        )])
    };
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let (response, mut stream) = begin(&requests, asks("POST", "/"), false).await;
        send(&mut stream, Bytes::from_static(b"hello"))
            .await
            .unwrap();
        stream.send_trailers(with("x-sum")).unwrap();
        let answer = read(response.await.unwrap()).await.unwrap();
        assert_eq!(answer.body, b"ok");
        assert_eq!(answer.trailers.unwrap()["x-status"], "fine");
        assert_eq!(*seen.lock().unwrap(), ["x-sum: 1\r\n"]);

        let (response, mut stream) = begin(&requests, asks("POST", "/"), false).await;
        stream.send_trailers(with("host")).unwrap();
        let status = response.await.map(|response| response.status().as_u16());
        assert_eq!(status.unwrap(), 400);
    });
}

#[test]
fn large_bodies_go_both_ways_unchanged() {
    let origin = Origin::new(|received| Reply::Whole(200, Vec::new(), received.body.clone()));
    let proxy = Proxy::to(&origin.url());
    let body: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        for known in [false, true] {
            let mut request = asks("POST", "/");
            if known {
                let length = HeaderValue::from(body.len());
                request.headers_mut().insert("content-length", length);
            }
            let (response, mut stream) = begin(&requests, request, false).await;
            send(&mut stream, Bytes::from(body.clone())).await.unwrap();
            stream.send_data(Bytes::new(), true).unwrap();
            let answer = read(response.await.unwrap()).await.unwrap();
            assert!(answer.body == body, "known: {known}");
        }
    });
    proxy.counts("pointsman_errors_total", &[], 0.0);
}

#[test]
fn a_hundred_requests_at_once_get_each_their_answer() {
    let origin = Origin::new(|received| Reply::text(received.target.clone()));
    let proxy = Proxy::to(&origin.url());
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let paths: Vec<String> = (0..100).map(|number| format!("/{number}")).collect();
        let all = paths.iter().map(|path| ask(&requests, asks("GET", path)));
        for (path, answer) in paths.iter().zip(futures_util::future::join_all(all).await) {
            assert_eq!(answer.unwrap().body, path.as_bytes());
        }
    });
    proxy.counts("pointsman_requests_total", &[], 100.0);
    assert_eq!(proxy.metrics().sum("pointsman_connections_total", &[]), 1.0);
}

#[test]
fn a_fragment_is_cut_off_for_routing_and_forwarding_alike() {
    let origin = Origin::named("origin");
    let proxy = Proxy::to(&origin.url());
    let said = answered(
        &proxy,
        "/a#/../b",
        &[(":authority", "a"), ("te", "trailers")],
    );
    assert_eq!(said, Said::Status(b"200".to_vec()));
    assert_eq!(origin.last().target, "/a");
    assert_eq!(origin.last().header("te"), "trailers");
}
