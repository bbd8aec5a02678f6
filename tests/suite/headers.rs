//! Header fields: what stops at the proxy, what passes as it is, what the proxy says itself.

use std::collections::BTreeSet;
use std::thread;

use crate::harness::{Client, Origin, Proxy, Received, Reply, request};

const OURS: [&str; 4] = [
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "via",
];

/// Sends these lines and gives back what the origin received of them.
fn sent(proxy: &Proxy, origin: &Origin, lines: &[&str]) -> Received {
    let mut client = Client::connect(proxy.address());
    let lines = lines.join("\r\n");
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: a.example:81\r\n{lines}\r\n\r\n"
    ));
    assert_eq!(client.response().status, 200, "{lines}");
    origin.last()
}

#[test]
fn nothing_is_added_to_a_request_but_who_asks() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    let received = sent(&proxy, &origin, &["Accept: text/html", "X-Own: 1"]);
    let names: BTreeSet<_> = received
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let expected = ["host", "accept", "x-own"]
        .into_iter()
        .chain(OURS)
        .collect();
    assert_eq!(names, expected);
    assert_eq!(received.headers.len(), names.len());
}

#[test]
fn nothing_is_added_to_an_answer_but_a_date() {
    let answer = "HTTP/1.1 200 OK\r\nX-Own: 1\r\nset-cookie: a\r\nset-cookie: b\r\n\
                  server: o/1\r\ncontent-length: 1\r\n\r\nx";
    let origin = Origin::new(|_| Reply::Raw(answer.as_bytes().to_vec()));
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    let mut response = client.get("a", "/");
    response.headers.retain(|(name, _)| name != "date");
    response.headers.sort();
    let expected = [
        ("content-length", "1"),
        ("server", "o/1"),
        ("set-cookie", "a"),
        ("set-cookie", "b"),
        ("x-own", "1"),
    ];
    assert_eq!(
        response.headers,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn fields_of_one_connection_and_those_it_nominates_are_not_passed_on() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    let table: [(&[&str], &[&str]); 6] = [
        (
            &[
                "Keep-Alive: timeout=5",
                "Proxy-Connection: keep-alive",
                "Proxy-Authorization: Basic x",
                "Proxy-Authenticate: Basic",
                "TE: gzip",
                "Upgrade: h2c",
                "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
            ],
            &[],
        ),
        (
            &["Connection: close , X-Foo", "X-Foo: 1", "X-Bar: 2"],
            &["x-bar"],
        ),
        (&["Connection:", "connection: X-FOO", "x-Foo: 1"], &[]),
        (
            &[
                "Connection: Authorization, Cookie",
                "Connection: x-real-ip",
                "Cookie: a=b",
                "Authorization: Basic x",
                "X-Real-IP: 6.6.6.6",
            ],
            &[],
        ),
        (
            &["Connection: Host, Content-Length, Via, X-Forwarded-For, X-Forwarded-Host"],
            &[],
        ),
        (
            &[
                "TE: trailers, deflate;q=0.5",
                "Connection: TE",
                "Trailer: X-Sum",
            ],
            &["te", "connection", "trailer"],
        ),
    ];
    for (lines, left) in table {
        let received = sent(&proxy, &origin, lines);
        let names: BTreeSet<_> = received
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let expected = left.iter().copied().chain(["host"]).chain(OURS).collect();
        assert_eq!(names, expected, "{lines:?}");
        assert_eq!(received.all("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(received.all("host"), ["a.example:81"]);
    }
}

#[test]
fn a_body_keeps_its_length_though_the_client_nominates_it_away() {
    let origin = Origin::new(|received| Reply::text(format!("{}", received.body.len())));
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\n");
    client.send("Content-Length: 5\r\n\r\nhello");
    assert_eq!(client.response().text(), "5");
    assert_eq!(origin.last().all("content-length"), ["5"]);
}

#[test]
fn fields_that_the_upstream_nominates_stop_at_the_proxy() {
    let answer = "HTTP/1.1 200 OK\r\nConnection:\r\nConnection: X-Inner, keep-alive\r\n\
                  X-Inner: secret\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
                  X-Outer: 1\r\ncontent-length: 1\r\n\r\nx";
    let origin = Origin::new(|_| Reply::Raw(answer.as_bytes().to_vec()));
    let proxy = Proxy::to(&origin.url());
    let response = Client::connect(proxy.address()).get("a", "/");
    assert_eq!(response.text(), "x");
    for gone in ["x-inner", "keep-alive", "proxy-connection", "connection"] {
        assert_eq!(response.all(gone), [""; 0], "{gone}");
    }
    assert_eq!(response.all("x-outer"), ["1"]);
}

#[test]
fn clients_that_close_do_not_close_the_connections_to_the_upstream() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    let address = proxy.address();
    let four = || {
        for _ in 0..50 {
            assert_eq!(request(address, "GET", "/", &[], "").status, 200);
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(four);
        }
    });
    assert_eq!(origin.received().len(), 200);
    let connections = origin.connections();
    assert!(
        connections <= 16,
        "{connections} connections for 4 clients at a time"
    );
}

const CLAIMS: [&str; 6] = [
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Port: 443",
    "X-Real-IP: 6.6.6.6",
    "Forwarded: for=6.6.6.6",
];

#[test]
fn what_a_stranger_claims_is_replaced_by_what_is_true() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    let received = sent(&proxy, &origin, &CLAIMS);
    assert_eq!(received.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(received.all("x-forwarded-proto"), ["http"]);
    assert_eq!(received.all("x-forwarded-host"), ["a.example:81"]);
    assert_eq!(received.all("via"), ["1.1 pointsman"]);
    for gone in ["x-forwarded-port", "x-real-ip", "forwarded"] {
        assert_eq!(received.all(gone), [""; 0], "{gone}");
    }
}

/// CGI, WSGI and PHP fold these spellings into the same variable.
#[test]
fn a_strangers_claim_does_not_pass_in_another_spelling() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    let lines = [
        "X_Forwarded_For: 6.6.6.6",
        "X-Forwarded_Proto: https",
        "x.forwarded.host: evil.example",
        "X_Real.IP: 6.6.6.6",
        "access_key: k",
    ];
    let received = sent(&proxy, &origin, &lines);
    let odd = received.headers.iter().map(|(name, _)| name.as_str());
    let odd: Vec<_> = odd.filter(|name| name.contains(['_', '.'])).collect();
    assert_eq!(odd, ["access_key"]);
}

#[test]
fn a_trusted_peer_is_believed_and_added_to_the_trail() {
    let origin = Origin::named("o");
    let proxy = Proxy::start(&format!(
        "server.trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n\
         [[route]]\nupstream = \"{}\"\nforwarded = true\n\
         request_header.set = {{ X-Client = \"{{client_ip}}\" }}\n",
        origin.url()
    ));
    let long = format!("X-Forwarded-For: {}", "x".repeat(10_000));
    let table: [(&[&str], &str); 7] = [
        (&[], "127.0.0.1"),
        (&["X-Forwarded-For: 6.6.6.6, 1.1.1.1"], "1.1.1.1"),
        (
            &[
                "X-Forwarded-For: 6.6.6.6",
                "X-Forwarded-For: 1.1.1.1, 10.0.0.2",
            ],
            "1.1.1.1",
        ),
        (
            &["X-Forwarded-For: [2001:db8::1]:443, 10.0.0.2"],
            "2001:db8::1",
        ),
        (&["X-Forwarded-For: 1.1.1.1:80"], "1.1.1.1"),
        (&["X-Forwarded-For: 1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2"),
        (&[&long], "127.0.0.1"),
    ];
    for (lines, client) in table {
        let received = sent(&proxy, &origin, lines);
        let claimed = lines
            .iter()
            .map(|line| line.split_once(": ").map_or("", |line| line.1));
        let trail: Vec<_> = claimed.chain(["127.0.0.1"]).collect();
        assert_eq!(received.all("x-forwarded-for"), [trail.join(", ")]);
        assert_eq!(received.all("x-client"), [client], "{lines:?}");
    }
    let received = sent(&proxy, &origin, &CLAIMS);
    assert_eq!(received.all("x-forwarded-proto"), ["https"]);
    assert_eq!(received.all("x-forwarded-host"), ["evil.example"]);
    let forwarded = "for=6.6.6.6, for=127.0.0.1;proto=http;host=\"a.example:81\"";
    assert_eq!(received.all("forwarded"), [forwarded]);
}

#[test]
fn forwarded_is_sent_where_the_route_asks_for_it() {
    let origin = Origin::named("o");
    let url = origin.url();
    let proxy = Proxy::start(&format!(
        "[[route]]\nupstream = \"{url}\"\nforwarded = true\n"
    ));
    let received = sent(&proxy, &origin, &["Via: 1.0 outer"]);
    let forwarded = "for=127.0.0.1;proto=http;host=\"a.example:81\"";
    assert_eq!(received.all("forwarded"), [forwarded]);
    assert_eq!(received.all("via"), ["1.0 outer, 1.1 pointsman"]);
}

#[test]
fn the_rules_of_a_route_hold_for_what_the_proxy_adds_itself() {
    let origin = Origin::named("o");
    let proxy = Proxy::start(&format!(
        "[[route]]\nupstream = \"{}\"\nrequest_header = {{ remove = [\"Via\", \"X-Forwarded-Host\"], \
         set = {{ X-Forwarded-Proto = \"https\" }}, add = {{ X-Forwarded-For = \"last\" }} }}\n",
        origin.url()
    ));
    let received = sent(&proxy, &origin, &["Accept: */*"]);
    let ours = OURS.map(|name| received.all(name));
    let expected: [&[&str]; 4] = [&["127.0.0.1", "last"], &[], &["https"], &[]];
    assert_eq!(ours, expected);
}

#[test]
fn the_upstream_sees_the_host_that_the_route_says() {
    let origin = Origin::named("o");
    let own = origin.address.to_string();
    let table = [
        ("", "a.example:81"),
        ("preserve", "a.example:81"),
        ("upstream", own.as_str()),
        ("inner.example:82", "inner.example:82"),
    ];
    for (policy, host) in table {
        let policy = match policy {
            "" => String::new(),
            policy => format!("upstream_host = \"{policy}\"\n"),
        };
        let url = origin.url();
        let proxy = Proxy::start(&format!("[[route]]\nupstream = \"{url}\"\n{policy}"));
        let received = sent(&proxy, &origin, &["Accept: */*"]);
        assert_eq!(received.all("host"), [host]);
        assert_eq!(received.all("x-forwarded-host"), ["a.example:81"]);
    }
}
