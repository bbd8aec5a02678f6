//! A request to the upstream and its answer back: bytes, headers, bodies, errors.

use crate::harness::{Origin, Proxy, Reply, free_port, request};

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
