//! What is different for a site that is asked by HTTPS: what its apps are told, and what browsers are.

use std::sync::Arc;

use crate::harness::{
    Authority, Client, Origin, Proxy, TlsClient, TlsSite, get, request, route, trusting,
};

const CLEAR: &str = "[[listener]]\nname = \"clear\"\naddress = \"127.0.0.1:0\"\n";

struct Site {
    proxy: Proxy,
    origin: Origin,
    client: TlsClient,
    _site: TlsSite,
}

/// A listener `tls` and one `clear`, each with further keys.
fn serve(top: &str, tls: &str, clear: &str, keys: &str) -> Site {
    let authority = Authority::new();
    let pair = authority.issue(&["a.example"]);
    let (site, origin) = (TlsSite::new(&[("a", &pair)]), Origin::named("one"));
    let all = route("all", "/*", &origin.url()) + keys;
    let text = TlsSite::text(&["a"], tls, &format!("{CLEAR}{clear}{all}"));
    let proxy = site.serve(&format!("{top}{text}"));
    let address = proxy.listener("tls");
    let client = TlsClient::secured(address, &Arc::new(trusting(&authority)), "a.example");
    Site {
        proxy,
        origin,
        client,
        _site: site,
    }
}

#[test]
fn an_app_is_told_that_its_client_asks_by_https_and_nobody_else_can_say_so() {
    let keys = "forwarded = true\nrequest_header = { set = { X-Scheme = \"{scheme}\" } }\n";
    let mut site = serve("", "", "", keys);
    let claim = "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Proto: http\r\n\r\n";
    site.client.send(claim);
    assert_eq!(site.client.response().status, 200);
    let seen = site.origin.last();
    assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.header("x-scheme"), "https");
    assert_eq!(
        seen.header("forwarded"),
        "for=127.0.0.1;proto=https;host=\"a.example\""
    );
    let claim = [("X-Forwarded-Proto", "https"), ("Host", "a.example")];
    request(site.proxy.listener("clear"), "GET", "/", &claim, "");
    let seen = site.origin.last();
    assert_eq!(seen.all("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.header("x-scheme"), "http");
    assert!(seen.header("forwarded").contains("proto=http;"));
}

#[test]
fn what_a_trusted_proxy_says_of_its_client_is_told_on() {
    let keys = "request_header = { set = { X-Scheme = \"{scheme}\" } }\n";
    let trusted = "server.trusted_proxies = [\"127.0.0.1\"]\n";
    let site = serve(trusted, "", "redirect_to_https = true\n", keys);
    let address = site.proxy.listener("clear");
    let claim = [("X-Forwarded-Proto", "https"), ("Host", "a.example")];
    assert_eq!(request(address, "GET", "/", &claim, "").status, 200);
    let seen = site.origin.last();
    assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.header("x-scheme"), "https");
    let claim = [("X-Forwarded-Proto", "http"), ("Host", "a.example")];
    assert_eq!(request(address, "GET", "/", &claim, "").status, 308);
}

#[test]
fn a_listener_in_clear_can_send_everybody_to_https() {
    let table = [
        ("redirect_to_https = true\n", "https://a.example"),
        ("redirect_to_https = 8443\n", "https://a.example:8443"),
        ("redirect_to_https = 443\n", "https://a.example"),
    ];
    for (key, to) in table {
        let mut site = serve("", "", key, "");
        let address = site.proxy.listener("clear");
        let ask = |method, path, host, body| {
            let response = request(address, method, path, &[("Host", host)], body);
            (response.status, response.header("location").to_owned())
        };
        let expected = (308, format!("{to}/x/%2F?y=1&z"));
        let head = request(address, "HEAD", "/", &[("Host", "a.example")], "");
        assert_eq!(head.header("content-length"), "0", "as GET is told");
        assert_eq!(ask("GET", "/x/%2F?y=1&z", "A.example:80", ""), expected);
        assert_eq!(
            ask("POST", "/", "a.example", "body"),
            (308, format!("{to}/"))
        );
        assert_eq!(ask("GET", "/..", "a.example", "").0, 400);
        let absolute = ask("GET", "http://a.example/x", "a.example", "");
        assert_eq!(absolute, (308, format!("{to}/x")));
        // Another address is not another host.
        let six = ask("GET", "/", "[::1]:80", "");
        assert_eq!(six.1, to.replace("a.example", "[::1]") + "/");
        let mut old = Client::connect(address);
        old.send("GET / HTTP/1.0\r\n\r\n");
        assert_eq!(old.response().status, 400);
        assert_eq!(site.origin.received().len(), 0);
        assert_eq!(site.client.get("a.example", "/").status, 200);
    }
    let mut site = serve("", "", "redirect_to_https = false\n", "");
    assert_eq!(get(site.proxy.listener("clear"), "/").status, 200);
    assert_eq!(site.client.get("a.example", "/").status, 200);
}

#[test]
fn browsers_are_told_over_tls_alone_to_ask_by_https_only() {
    let table = [
        ("hsts = \"365d\"\n", "max-age=31536000"),
        (
            "hsts = { max_age = \"1d\", include_subdomains = true, preload = true }\n",
            "max-age=86400; includeSubDomains; preload",
        ),
    ];
    for (key, expected) in table {
        let keys = "[[route]]\npath = \"/own\"\nrespond = {}\n\
                    response_header.set = { Strict-Transport-Security = \"max-age=1\" }\n\
                    [[route]]\npath = \"/down\"\nupstream = \"http://127.0.0.1:1\"\n";
        let mut site = serve("", key, "", keys);
        let mut said = |path| {
            let response = site.client.get("a.example", path);
            let said = response.all("strict-transport-security");
            said.into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(said("/"), [expected]);
        assert_eq!(said("/down"), [expected], "of an error, too");
        assert_eq!(
            said("/own"),
            ["max-age=1"],
            "who says it himself is believed"
        );
        let clear = get(site.proxy.listener("clear"), "/");
        assert_eq!(clear.header("strict-transport-security"), "");
    }
}
