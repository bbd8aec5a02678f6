//! Upgraded connections: a tunnel begins when the upstream agrees to the one that was asked for,
//! and never otherwise.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use crate::harness::{Client, Origin, Proxy, Reply, route};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade, X-Inner\r\n\
                      Upgrade: websocket\r\nSec-WebSocket-Accept: yes\r\nX-Inner: secret\r\n\r\n";
const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade, X-Internal-Auth\r\n\
                   Upgrade: WebSocket\r\nX-Internal-Auth: 1\r\nSec-WebSocket-Key: key\r\n\
                   Sec-WebSocket-Protocol: chat\r\nProxy-Authorization: Basic x\r\n\r\n";

/// Agrees to every upgrade, with the first bytes of its own in the same write, then echoes. Gives
/// the heads that it received too.
fn echo() -> (Origin, Arc<Mutex<Vec<String>>>) {
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&heads);
    let origin = Origin::raw(move |stream: TcpStream| {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            stream.read_line(&mut head).unwrap();
        }
        seen.lock().unwrap().push(head);
        stream
            .get_mut()
            .write_all(format!("{SWITCH}hello ").as_bytes())
            .unwrap();
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut piece) {
            stream.get_mut().write_all(&piece[..read]).unwrap();
        }
    });
    (origin, heads)
}

fn read(client: &mut Client, length: usize) -> String {
    String::from_utf8(client.bytes(length).unwrap()).unwrap()
}

#[test]
fn a_websocket_carries_bytes_both_ways_from_the_first_one_on() {
    let (origin, heads) = echo();
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    // The client does not wait for the agreement either.
    client.send(format!("{ASK}early "));
    let head = client.try_head().unwrap();
    assert_eq!(head.status, 101);
    assert_eq!(head.header("connection").to_ascii_lowercase(), "upgrade");
    assert_eq!(head.header("upgrade").to_ascii_lowercase(), "websocket");
    assert_eq!(head.all("sec-websocket-accept"), ["yes"]);
    assert_eq!(head.all("x-inner"), [""; 0]);
    assert_eq!(read(&mut client, 12), "hello early ");
    for round in 0..10 {
        let message = format!("message {round}").repeat(100);
        client.send(&message);
        assert_eq!(read(&mut client, message.len()), message);
    }
    proxy.counts("pointsman_tunnels", &[("route", "all")], 1.0);
    drop(client);
    proxy.counts("pointsman_tunnels", &[("route", "all")], 0.0);
    proxy.counts("pointsman_requests_in_flight", &[("route", "all")], 0.0);
    proxy.counts(
        "pointsman_requests_total",
        &[("route", "all"), ("code", "101")],
        1.0,
    );

    let heads = heads.lock().unwrap();
    let lines: Vec<_> = heads[0].lines().map(str::to_ascii_lowercase).collect();
    let of = |name: &str| {
        lines
            .iter()
            .filter(|line| line.starts_with(name))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("connection:"), ["connection: upgrade"]);
    assert_eq!(of("upgrade:"), ["upgrade: websocket"]);
    assert_eq!(
        of("sec-websocket-"),
        ["sec-websocket-key: key", "sec-websocket-protocol: chat"]
    );
    assert_eq!(of("x-forwarded-for:"), ["x-forwarded-for: 127.0.0.1"]);
    for gone in ["x-internal-auth:", "proxy-authorization:"] {
        assert_eq!(of(gone), [""; 0]);
    }
}

#[test]
fn either_side_can_end_a_websocket() {
    let origin = Origin::new(|_| Reply::RawClose(format!("{SWITCH}bye").into_bytes()));
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    client.send(ASK);
    assert_eq!(client.try_head().unwrap().status, 101);
    assert_eq!(client.until_closed().unwrap(), b"bye");
    drop(client);
    proxy.counts("pointsman_tunnels", &[], 0.0);
}

#[test]
fn a_refusal_to_upgrade_reaches_the_client_whole() {
    let origin = Origin::new(|_| Reply::Whole(403, Vec::new(), b"not you".to_vec()));
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    for _ in 0..2 {
        client.send(ASK);
        let response = client.response();
        assert_eq!(
            (response.status, response.text().as_str()),
            (403, "not you")
        );
    }
}

/// Requests within an h2c connection would pass by the routes unseen.
#[test]
fn only_a_websocket_is_asked_for_and_the_rest_is_an_ordinary_request() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    for protocol in ["h2c", "foo", "TLS/1.0", "h2c, foo"] {
        let mut client = Client::connect(proxy.address());
        // The second request must be routed like any other.
        client.send(format!(
            "GET /first HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: {protocol}\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n\
             GET /../second HTTP/1.1\r\nHost: a\r\n\r\n"
        ));
        assert_eq!(client.response().status, 200, "{protocol}");
        let received = origin.last();
        for gone in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(received.all(gone), [""; 0], "{protocol}");
        }
        assert_eq!(
            client.response().header("x-pointsman-error"),
            "bad_path",
            "{protocol}"
        );
    }
}

#[test]
fn an_upgrade_is_known_however_its_fields_are_written() {
    let (origin, heads) = echo();
    let proxy = Proxy::to(&origin.url());
    for fields in [
        "Connection: Upgrade\r\nUpgrade: websocket",
        "connection: keep-alive, UPGRADE\r\nupgrade: WEBSOCKET",
        "Connection: keep-alive\r\nConnection: upgrade\r\nUpgrade: WebSocket",
        "CONNECTION: ,upgrade ,\r\nUpgrade: websocket",
        "Upgrade: h2c\r\nConnection: Upgrade,HTTP2-Settings\r\nUpgrade: websocket, foo",
    ] {
        let mut client = Client::connect(proxy.address());
        client.send(format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\nearly"
        ));
        assert_eq!(client.try_head().unwrap().status, 101, "{fields}");
        assert_eq!(read(&mut client, 11), "hello early", "{fields}");
        let head = heads.lock().unwrap().pop().unwrap().to_ascii_lowercase();
        assert!(
            head.contains("\r\nconnection: upgrade\r\nupgrade: websocket\r\n"),
            "{head}"
        );
        assert_eq!(head.matches("upgrade: ").count(), 1, "{head}");
    }
}

#[test]
fn a_request_that_cannot_switch_is_an_ordinary_one() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    for request in [
        "GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Content-Length: 1\r\n\r\nx",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let mut client = Client::connect(proxy.address());
        client.send(request);
        assert_eq!(client.response().status, 200, "{request}");
        assert_eq!(origin.last().all("upgrade"), [""; 0], "{request}");
    }
}

#[test]
fn a_route_allows_the_protocols_of_its_list_and_no_others() {
    let (origin, heads) = echo();
    let url = origin.url();
    let proxy = Proxy::start(
        &[
            route("none", "/none", &url) + "upgrade = []\n",
            route("all", "/all", &url) + "upgrade = [\"Foo/1\", \"websocket\"]\n",
        ]
        .concat(),
    );
    for (path, asked, passed) in [
        ("/none", "websocket", None),
        ("/all", "bar", None),
        ("/all", "foo", None),
        ("/all", "websocket", Some("websocket")),
        ("/all", "bar, FOO/1, websocket", Some("FOO/1")),
    ] {
        let mut client = Client::connect(proxy.address());
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {asked}\r\n\r\n"
        ));
        // The origin says 101 and `websocket` whatever it is asked: that agrees with one of them.
        let agreed = passed == Some("websocket");
        let status = client.try_head().unwrap().status;
        assert_eq!(status, if agreed { 101 } else { 502 }, "{path} {asked}");
        let head = heads.lock().unwrap().pop().unwrap();
        let mut lines = head.lines();
        let seen = lines.find_map(|line| line.strip_prefix("upgrade: "));
        assert_eq!(seen, passed, "{path} {asked}");
    }
}

#[test]
fn a_switch_that_was_not_asked_for_is_no_answer() {
    let table = [
        ("", SWITCH.to_owned()),
        (
            "Connection: Upgrade\r\nUpgrade: h2c\r\n",
            SWITCH.replace("websocket", "h2c"),
        ),
        (
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            SWITCH.replace("websocket", "h2c"),
        ),
        ("Upgrade: websocket\r\n", SWITCH.to_owned()),
    ];
    for (ask, answer) in table {
        let answer = answer.into_bytes();
        let origin = Origin::new(move |_| Reply::Raw(answer.clone()));
        let proxy = Proxy::to(&origin.url());
        let mut client = Client::connect(proxy.address());
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{ask}\r\n"));
        let response = client.response();
        let seen = (response.status, response.header("x-pointsman-error"));
        assert_eq!(seen, (502, "upstream_invalid"), "{ask:?}");
        proxy.counts("pointsman_tunnels", &[], 0.0);
    }
}

#[test]
fn an_upstream_that_resets_a_tunnel_is_told_as_its_fault() {
    let origin = Origin::new(|_| {
        Reply::Take(Box::new(|mut stream| {
            let agreed = "HTTP/1.1 101 Yes\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            stream.write_all(agreed.as_bytes()).unwrap();
            // Not before the tunnel carries.
            stream.read_exact(&mut [0]).unwrap();
            let socket = socket2::Socket::from(stream);
            socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
        }))
    });
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    client.send(ASK);
    assert_eq!(client.try_head().unwrap().status, 101);
    client.send("x");
    let reset = [("route", "all"), ("why", "upstream_reset")];
    proxy.counts("pointsman_errors_total", &reset, 1.0);
}
