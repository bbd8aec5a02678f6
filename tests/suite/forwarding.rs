//! A request to the upstream and its answer back: bytes, headers, bodies, errors.

use crate::harness::{Client, Origin, Proxy, Reply, free_port, request};

#[test]
fn path_query_and_body_arrive_byte_for_byte() {
    let origin = Origin::new(|received| Reply::text(format!("{} bytes", received.body.len())));
    let proxy = Proxy::to(&origin.url());
    let targets = [
        "/",
        "//double//slash",
        "/a%2Fb/c%20d?",
        "/x?a=1;b=2&c=%zz&d=+%20&e",
        "/%7Euser/caf%C3%A9?q=%2F..",
    ];
    for target in targets {
        let body = "x".repeat(100_000);
        let response = request(proxy.address(), "POST", target, &[], &body);
        assert_eq!(
            (response.status, response.text()),
            (200, "100000 bytes".to_owned())
        );
        let received = origin.last();
        assert_eq!(
            (received.target.as_str(), received.body.len()),
            (target, 100_000)
        );
    }
}

#[test]
fn a_proxy_made_error_says_why_in_a_header_and_in_its_body() {
    let closed = free_port();
    let proxy = Proxy::start(&format!(
        "[[route]]\npath = \"/closed\"\nupstream = \"http://127.0.0.1:{closed}\"\n"
    ));
    for (path, status, why) in [
        ("/closed", 502, "connect_refused"),
        ("/none", 404, "no_route"),
    ] {
        let response = proxy.get(path);
        assert_eq!(
            (response.status, response.header("x-pointsman-error")),
            (status, why)
        );
        assert!(response.text().contains(why), "{}", response.text());
    }
}

#[test]
fn odd_but_sound_targets_arrive_as_they_were_sent() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    let parameters = "&p=%z".repeat(10_001);
    let targets = [
        "/api/v4/projects/a%2Fb".to_owned(),
        "/a/..b/...".to_owned(),
        "/.well-known/acme".to_owned(),
        "//other.example/x".to_owned(),
        "/%ff;v=1/%25".to_owned(),
        format!("/?{parameters}"),
    ];
    for target in targets {
        let name = &target[..target.len().min(40)];
        assert_eq!(proxy.get(&target).status, 200, "{name}");
        let received = origin.last();
        assert!(
            received.target == target,
            "{name} arrived as {}",
            received.target
        );
        assert_eq!(received.all("host"), ["test"], "{name}");
    }
}

/// An origin might read another path than the one that the route was found by.
#[test]
fn paths_with_two_readings_are_refused_and_go_nowhere() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    let targets = [
        "/public/../admin",
        "/public/./admin",
        "/public/..",
        "/public/%2e%2e/admin",
        "/public/.%2E/admin",
        "/public/..%2fadmin",
        "/public/..%5cadmin",
        "/public/..;x=1/admin",
        "/a%00b",
        "/a%0d%0ab",
        "/a%zz",
        "/a%",
    ];
    for target in targets {
        let mut client = Client::connect(proxy.address());
        let response = client.get("test", target);
        let seen = (response.status, response.header("x-pointsman-error"));
        assert_eq!(seen, (400, "bad_path"), "{target}");
        assert_eq!(client.until_closed().unwrap(), b"", "{target}");
    }
    assert_eq!(origin.received(), []);
}

#[test]
fn a_request_without_exactly_one_sound_host_is_refused() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    let heads = [
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n",
        "GET / HTTP/1.1\r\nHost: a:99999\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n",
        "GET / HTTP/1.1\r\nHost: caf\u{e9}\r\n",
        "GET http://user@a/ HTTP/1.1\r\nHost: a\r\n",
    ];
    for head in heads {
        let mut client = Client::connect(proxy.address());
        client.send(format!("{head}\r\n"));
        let response = client.response();
        let seen = (response.status, response.header("x-pointsman-error"));
        assert_eq!(seen, (400, "bad_host"), "{head:?}");
        assert_eq!(client.until_closed().unwrap(), b"", "{head:?}");
    }
    assert_eq!(origin.received(), []);
}

#[test]
fn the_authority_of_an_absolute_target_is_the_host() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    client.send("GET http://right.example:81/x?y HTTP/1.1\r\nHost: wrong.example\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let received = origin.last();
    assert_eq!(received.target, "/x?y");
    assert_eq!(received.all("host"), ["right.example:81"]);
    assert_eq!(received.all("x-forwarded-host"), ["right.example:81"]);
}

#[test]
fn an_old_client_need_not_say_the_host() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    client.send("GET /x HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().text(), "o");
    assert_eq!(origin.last().all("host"), [origin.address.to_string()]);
}

#[test]
fn a_chunked_body_arrives_whatever_the_method() {
    let origin =
        Origin::new(|received| Reply::text(String::from_utf8_lossy(&received.body).into_owned()));
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PROPFIND"] {
        client.send(format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
        client.send("3\r\nsea\r\n4\r\nrch!\r\n0\r\n\r\n");
        let response = client.try_response(method == "HEAD").unwrap();
        assert_eq!(response.status, 200, "{method}");
        let received = origin.last();
        assert_eq!(received.all("transfer-encoding"), ["chunked"]);
        assert_eq!(
            (received.method.as_str(), received.body),
            (method, b"search!".to_vec())
        );
    }
}

#[test]
fn an_encoded_body_passes_bit_by_bit() {
    let origin = Origin::new(|_| {
        // No decoder would take it for gzip: whoever decodes it is caught.
        let body: Vec<u8> = (0..100_000_u32)
            .map(|number| number.to_le_bytes()[0])
            .collect();
        let headers = vec![
            ("content-encoding", "gzip".to_owned()),
            ("etag", "\"e\"".to_owned()),
        ];
        Reply::Whole(200, headers, body)
    });
    let proxy = Proxy::to(&origin.url());
    let headers = [("Accept-Encoding", "br;q=1.0, gzip")];
    let response = request(proxy.address(), "GET", "/", &headers, "");
    assert_eq!(origin.last().all("accept-encoding"), ["br;q=1.0, gzip"]);
    assert_eq!(response.all("content-encoding"), ["gzip"]);
    assert_eq!(response.all("content-length"), ["100000"]);
    assert_eq!(response.all("etag"), ["\"e\""]);
    assert!(
        response
            .body
            .iter()
            .zip(0_u32..)
            .all(|(byte, number)| *byte == number.to_le_bytes()[0])
    );
}

#[test]
fn redirects_are_for_the_client_to_follow() {
    let origin = Origin::new(|received| {
        let status = received.target[1..].parse().unwrap();
        Reply::Whole(
            status,
            vec![("location", "/elsewhere?a=b#c".to_owned())],
            Vec::new(),
        )
    });
    let proxy = Proxy::to(&origin.url());
    for status in [301, 302, 303, 307, 308] {
        let response = proxy.get(&format!("/{status}"));
        assert_eq!(
            (response.status, response.header("location")),
            (status, "/elsewhere?a=b#c")
        );
    }
    assert_eq!(origin.received().len(), 5);
}

#[test]
fn answers_without_a_body_leave_the_connection_in_step() {
    let origin = Origin::new(|received| match received.target.as_str() {
        "/head" => Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n".to_vec()),
        "/204" => Reply::Raw(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        "/304" => Reply::Raw(b"HTTP/1.1 304 Not Modified\r\netag: \"e\"\r\n\r\n".to_vec()),
        "/304-length" => {
            Reply::Raw(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 77\r\n\r\n".to_vec())
        }
        _ => Reply::text("in step"),
    });
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    for (method, target, status, length) in [
        ("HEAD", "/head", 200, "12345"),
        ("GET", "/204", 204, ""),
        ("GET", "/304", 304, ""),
        ("HEAD", "/304", 304, ""),
        ("GET", "/304-length", 304, ""),
    ] {
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let response = client.head_response();
        assert_eq!(response.status, status, "{method} {target}");
        assert_eq!(response.all("transfer-encoding"), [""; 0]);
        // A 304 may keep the length of what it stands for.
        if status != 304 {
            assert_eq!(response.header("content-length"), length);
        }
        assert_eq!(
            client.get("a", "/next").text(),
            "in step",
            "after {method} {target}"
        );
    }
}
