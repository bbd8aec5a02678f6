//! WebSockets as streams of HTTP/2 (RFC 8441): how they are asked for, agreed to and refused, and what
//! they carry to an origin that knows HTTP/1.1 only.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use serde_json::Value;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::harness::extended::{Tunnel, connects, told};
use crate::harness::http2::{
    Answer, HEADERS, RST_STREAM, RawHttp2, SETTINGS, ask, asks, begin, fields, frame, h2, open,
    part, read,
};
use crate::harness::{Backend, Frames, Origin, Proxy, Received, Reply, eventually, route};

const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\n";

/// Agrees to each WebSocket, in the words that this gives for its key and path, and says `hello`.
fn agreeing(accept: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> Origin {
    Origin::new(move |received| {
        let key = received.header("sec-websocket-key");
        let right = derive_accept_key(key.as_bytes());
        let fields = accept(&right, &received.target);
        Reply::RawClose(format!("HTTP/1.1 101 Yes\r\n{fields}\r\nhello").into_bytes())
    })
}

fn proof(key: &str) -> String {
    format!("{UPGRADE}sec-websocket-accept: {key}\r\n")
}

/// What one extended CONNECT gets that becomes no tunnel.
fn refused(proxy: &Proxy, protocol: &'static str, path: &str) -> Answer {
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        told(&requests).await;
        let (response, _stream) = begin(&requests, connects(protocol, path), false).await;
        read(response.await.unwrap()).await.unwrap()
    })
}

fn why(answer: &Answer) -> (u16, &str) {
    let why = answer.headers.get("x-pointsman-error");
    let why = why.map_or("", |why| why.to_str().unwrap());
    (answer.status.as_u16(), why)
}

fn settings(proxy: &Proxy) -> Vec<(u16, u32)> {
    let settings = RawHttp2::open(proxy.address()).next(SETTINGS).unwrap();
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
    };
    let setting = |bytes: &[u8]| (number(&bytes[..2]) as u16, number(&bytes[2..]));
    settings.chunks(6).map(setting).collect()
}

/// SETTINGS_ENABLE_CONNECT_PROTOCOL, by RFC 8441 section 3.
const ENABLE_CONNECT_PROTOCOL: u16 = 8;

#[test]
fn it_is_advertised_exactly_where_it_is_served() {
    let origin = Origin::named("origin");
    let listener = |more: &str| {
        format!(
            "admin.listen = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n{more}\n{}",
            route("all", "/*", &origin.url())
        )
    };
    let proxy = Proxy::with_config(&listener(""));
    assert!(settings(&proxy).contains(&(ENABLE_CONNECT_PROTOCOL, 1)));

    let proxy = Proxy::with_config(&listener("http2 = { websocket = false }"));
    let advertised = settings(&proxy);
    let ids: Vec<u16> = advertised.iter().map(|(id, _)| *id).collect();
    assert!(
        !ids.is_empty() && !ids.contains(&ENABLE_CONNECT_PROTOCOL),
        "{advertised:?}"
    );
    // Who asks all the same breaks a rule of HTTP/2.
    let asked = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
    ];
    let mut client = RawHttp2::open(proxy.address());
    client.send(&frame(HEADERS, 0x4, 1, &fields(&asked)));
    assert_eq!(
        client.next(RST_STREAM),
        Some(vec![0, 0, 0, 1]),
        "PROTOCOL_ERROR"
    );
    assert_eq!(origin.received(), []);
}

const OFFERED: &str = "permessage-deflate; client_max_window_bits, x-own;a=\"b\"";
const CHOSEN: &str = "permessage-deflate; server_no_context_takeover";
/// It has no meaning over HTTP/2, and would decide what the origin has to answer.
const OWN_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What the client is told that agrees on these.
async fn agrees_on_offers(proxy: &Proxy) -> HeaderMap {
    let (requests, connection) = open(proxy.address()).await;
    told(&requests).await;
    let mut request = connects("websocket", "/chat?a=b");
    for (name, value) in [
        ("sec-websocket-protocol", "chat, superchat"),
        ("sec-websocket-protocol", "v2.Chat"),
        ("sec-websocket-extensions", OFFERED),
        ("sec-websocket-key", OWN_KEY),
    ] {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let (response, send) = begin(&requests, request, false).await;
    let mut tunnel = Tunnel::of(response, send).await;
    tunnel.finish();
    assert_eq!(tunnel.hear_all().await.unwrap(), b"hello");
    let headers = tunnel.headers;
    drop((tunnel.send, tunnel.receive));
    part(requests, connection).await;
    headers
}

/// How the origin was asked; gives the key.
fn asked_as_http_1_1_asks(seen: &Received) -> String {
    assert_eq!((&seen.method[..], &seen.target[..]), ("GET", "/chat?a=b"));
    for (name, values) in [
        ("connection", &["upgrade"][..]),
        ("upgrade", &["websocket"]),
        ("host", &["a.example"]),
        ("sec-websocket-version", &["13"]),
        ("sec-websocket-protocol", &["chat, superchat", "v2.Chat"]),
        ("sec-websocket-extensions", &[OFFERED]),
        ("origin", &["http://a.example"]),
        ("via", &["2.0 pointsman"]),
        ("content-length", &[]),
        ("transfer-encoding", &[]),
    ] {
        assert_eq!(seen.all(name), values, "{name}");
    }
    let [key] = seen.all("sec-websocket-key")[..] else {
        panic!("{seen:?}");
    };
    assert_eq!((key.len(), &key[22..]), (24, "=="), "16 bytes in base64");
    key.to_owned()
}

#[test]
fn an_origin_is_asked_as_http_1_1_asks_and_its_agreement_is_a_success() {
    let origin = agreeing(|right, _| {
        let inner = "connection: x-inner\r\nx-inner: 1\r\nkeep-alive: 5\r\ncontent-length: 5\r\n";
        let chosen =
            format!("sec-websocket-protocol: v2.Chat\r\nsec-websocket-extensions: {CHOSEN}\r\n");
        format!("{}{inner}{chosen}x-own: 2\r\n", proof(right))
    });
    let proxy = Proxy::to(&origin.url());
    let mut keys = vec![OWN_KEY.to_owned()];
    for _ in 0..2 {
        let headers = h2(agrees_on_offers(&proxy));
        assert_eq!(headers["sec-websocket-protocol"], "v2.Chat");
        assert_eq!(headers["sec-websocket-extensions"], CHOSEN);
        assert_eq!(headers["x-own"], "2");
        let hop = ["connection", "upgrade", "keep-alive", "x-inner"];
        let handshake = [
            "sec-websocket-accept",
            "content-length",
            "transfer-encoding",
        ];
        for gone in hop.iter().chain(&handshake) {
            assert_eq!(headers.get(*gone), None, "{gone}");
        }
        let key = asked_as_http_1_1_asks(&origin.last());
        assert!(!keys.contains(&key), "{keys:?}");
        keys.push(key);
    }
    let line = proxy.wait_for_log("the tunnel", |line| line["path"] == "/chat");
    let told = ["method", "status", "protocol", "why", "bytes_out"].map(|name| &line[name]);
    let expected: [Value; 5] = [
        "GET".into(),
        101.into(),
        "HTTP/2.0".into(),
        "ok".into(),
        5.into(),
    ];
    assert_eq!(told, expected.each_ref());
    let ended = [("route", "all"), ("code", "101")];
    proxy.counts("pointsman_requests_total", &ended, 2.0);
    proxy.counts("pointsman_tunnels", &[], 0.0);
}

#[test]
fn an_agreement_without_its_proof_is_none() {
    let origin = agreeing(|right, path| match path {
        "/missing" => UPGRADE.to_owned(),
        "/wrong" => proof(&derive_accept_key(b"another key")),
        "/twice" => proof(right) + &format!("sec-websocket-accept: {right}\r\n"),
        "/other" => proof(right).replace("websocket\r\n", "h2c\r\n"),
        "/unnamed" => format!("connection: upgrade\r\nsec-websocket-accept: {right}\r\n"),
        _ => proof(right),
    });
    let proxy = Proxy::to(&origin.url());
    for path in ["/missing", "/wrong", "/twice", "/other", "/unnamed"] {
        let answer = refused(&proxy, "websocket", path);
        assert_eq!(why(&answer), (502, "upstream_invalid"), "{path}");
    }
    proxy.counts(
        "pointsman_errors_total",
        &[("why", "upstream_invalid")],
        5.0,
    );
    proxy.counts("pointsman_tunnels", &[], 0.0);
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let mut tunnel = Tunnel::open(&requests, "/right").await;
        assert_eq!(tunnel.hear_all().await.unwrap(), b"hello");
    });
}

#[test]
fn any_other_answer_is_relayed_unless_it_would_say_that_there_is_a_tunnel() {
    let origin = Origin::new(|received| {
        let status = received.target[1..].parse().unwrap();
        let fields = vec![("x-origin", "own".to_owned())];
        Reply::Whole(status, fields, b"the origin's own words".to_vec())
    });
    let proxy = Proxy::to(&origin.url());
    for status in [302, 400, 401, 403, 404, 426, 500, 503] {
        let answer = refused(&proxy, "websocket", &format!("/{status}"));
        assert_eq!(why(&answer), (status, ""));
        assert_eq!(answer.headers["x-origin"], "own");
        assert_eq!(answer.body, b"the origin's own words", "{status}");
    }
    proxy.counts("pointsman_errors_total", &[], 0.0);
    for status in [200, 204, 206, 299] {
        let answer = refused(&proxy, "websocket", &format!("/{status}"));
        assert_eq!(why(&answer), (502, "upstream_invalid"), "{status}");
    }
    proxy.counts("pointsman_tunnels", &[], 0.0);
}

#[test]
fn routes_allow_it_or_refuse_it_as_they_do_by_http_1_1() {
    let origin = agreeing(|right, _| proof(right));
    let url = origin.url();
    let proxy = Proxy::start(
        &[
            route("none", "/none", &url) + "upgrade = []\n",
            route("other", "/other", &url) + "upgrade = \"mqtt\"\n",
            route("all", "/all", &url) + "upgrade = [\"mqtt\", \"connect-udp\", \"WebSocket\"]\n",
            route("get", "/get", &url) + "method = \"GET\"\nheader = { Upgrade = \"websocket\" }\n",
            "[[route]]\npath = \"/page\"\nrespond = { body = \"page\" }\n".to_owned(),
            "[[route]]\npath = \"/gone\"\nrespond = { status = 410 }\n".to_owned(),
            "[[route]]\npath = \"/moved\"\nredirect = { to = \"/all\", status = 307 }\n".to_owned(),
        ]
        .concat(),
    );
    for (protocol, path, expected) in [
        ("websocket", "/none", (501, "unsupported")),
        ("websocket", "/other", (501, "unsupported")),
        ("mqtt", "/other", (501, "unsupported")),
        ("mqtt", "/all", (501, "unsupported")),
        ("connect-udp", "/all", (501, "unsupported")),
        ("websocket", "/page", (501, "unsupported")),
        ("websocket", "/gone", (410, "")),
        ("websocket", "/moved", (307, "")),
        ("websocket", "/nowhere", (404, "no_route")),
        ("websocket", "/all/../all", (400, "bad_path")),
    ] {
        let answer = refused(&proxy, protocol, path);
        assert_eq!(why(&answer), expected, "{protocol} {path}");
    }
    assert_eq!(origin.received(), [], "nothing of it reached the origin");
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        told(&requests).await;
        for (protocol, path) in [("websocket", "/all"), ("WebSocket", "/get")] {
            let (response, send) = begin(&requests, connects(protocol, path), false).await;
            let mut tunnel = Tunnel::of(response, send).await;
            assert_eq!(tunnel.hear_all().await.unwrap(), b"hello", "{path}");
        }
    });
}

#[test]
fn messages_of_a_mebibyte_are_echoed_beside_requests_and_each_other() {
    let backend = Backend::new("origin");
    let proxy = Proxy::to(&backend.url());
    let large: Vec<u8> = (0..1_u32 << 18)
        .flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let text: String = "Hello-µ@ßöäüàá-κόσμε-😀-UTF-8!!"
        .chars()
        .cycle()
        .take(500_000)
        .collect();
    let messages = Arc::new([
        Message::binary(large),
        Message::text(text),
        Message::text(""),
        Message::binary(vec![0xfe; 65_536]),
    ]);
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let mut talks = tokio::task::JoinSet::new();
        for number in 0..4 {
            let path = format!("/socket/{number}");
            let mut socket = Tunnel::open(&requests, &path).await.socket().await;
            let messages = Arc::clone(&messages);
            talks.spawn(async move {
                for _ in 0..3 {
                    for message in &*messages {
                        socket.send(message.clone()).await.unwrap();
                        let echo = socket.next().await.unwrap().unwrap();
                        assert!(echo == *message, "another message came back");
                    }
                }
                socket
                    .send(Message::Ping("are you there".into()))
                    .await
                    .unwrap();
                let pong = socket.next().await.unwrap().unwrap();
                assert_eq!(pong, Message::Pong("are you there".into()));
                socket.close(None).await.unwrap();
                while socket.next().await.is_some_and(|read| read.is_ok()) {}
            });
        }
        while !talks.is_empty() {
            let answer = ask(&requests, asks("GET", "/")).await.unwrap();
            assert_eq!(answer.body, b"origin");
            if let Some(ended) = talks.try_join_next() {
                ended.unwrap();
            }
        }
    });
    proxy.counts("pointsman_tunnels", &[], 0.0);
    proxy.counts("pointsman_errors_total", &[], 0.0);
    assert_eq!(proxy.metrics().sum("pointsman_connections_total", &[]), 1.0);
}

#[test]
fn close_codes_arrive_whoever_says_them_first() {
    let backend = Backend::new("origin");
    // Says the close that it is given as a message, and ends with the answer to it.
    let first = Frames::origin(|mut frames, _| {
        let payload = frames.read().unwrap().into_payload();
        frames.close(&payload);
        assert_eq!(frames.read().unwrap().payload(), &payload[..]);
    });
    let routes = [
        route("all", "/*", &backend.url()),
        route("first", "/first", &first.url()),
    ];
    let proxy = Proxy::start(&routes.concat());
    let codes = [1000_u16, 1001, 1003, 1008, 1011, 3000, 4999];
    h2(async {
        let (requests, connection) = open(proxy.address()).await;
        for code in codes {
            let frame = CloseFrame {
                code: code.into(),
                reason: "see you".into(),
            };
            let mut socket = Tunnel::open(&requests, "/socket").await.socket().await;
            socket.close(Some(frame.clone())).await.unwrap();
            let answer = socket.next().await.unwrap().unwrap();
            assert_eq!(answer, Message::Close(Some(frame.clone())));
            assert!(socket.next().await.is_none(), "the end comes after it");
            socket.get_mut().finish();

            let mut socket = Tunnel::open(&requests, "/first").await.socket().await;
            let payload = [&code.to_be_bytes()[..], b"see you"].concat();
            socket.send(Message::binary(payload)).await.unwrap();
            let close = socket.next().await.unwrap().unwrap();
            assert_eq!(close, Message::Close(Some(frame)));
            let end = socket.next().await;
            assert!(
                matches!(end, None | Some(Err(Error::ConnectionClosed))),
                "{end:?}"
            );
            socket.get_mut().finish();
        }
        part(requests, connection).await;
    });
    eventually("the origin has heard them", || {
        backend.goodbyes() == codes.map(Some)
    });
    proxy.counts("pointsman_tunnels", &[], 0.0);
    proxy.counts("pointsman_errors_total", &[], 0.0);
}
