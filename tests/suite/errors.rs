//! What the client sees of a failure: a word, an id to ask for, in the form that it asked for.

use serde_json::json;

use crate::harness::{Client, Origin, Proxy, Reply, Response, free_port, request};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// A route to nobody.
fn down() -> String {
    let port = free_port();
    format!(
        "[[route]]\nname = \"down\"\npath = \"/down\"\nupstream = \"http://127.0.0.1:{port}\"\n"
    )
}

#[track_caller]
fn id(response: &Response) -> String {
    let ids = response.all("x-request-id");
    assert_eq!(ids.len(), 1, "{response:?}");
    let hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    assert!(ids[0].len() == 32 && ids[0].chars().all(hex), "{ids:?}");
    ids[0].to_owned()
}

#[test]
fn an_error_comes_in_the_form_that_the_client_asks_for() {
    let (text, json, html) = (
        "text/plain; charset=utf-8",
        "application/json",
        "text/html; charset=utf-8",
    );
    let table = [
        (None, text),
        (Some("*/*"), text),
        (Some("text/plain"), text),
        (Some("text/*"), text),
        (Some("image/png"), text),
        (Some("text/html;q=0.4, */*;q=0.5"), text),
        (Some("application/json"), json),
        (Some("application/problem+json"), json),
        (Some("application/json, text/plain, */*"), json),
        (Some("application/*;q=0.5, text/plain;q=0.4"), json),
        (Some("text/plain;q=0, */*"), json),
        (Some(BROWSER), html),
        (Some("text/html"), html),
        (Some("application/json;q=0.3, text/html;q=0.4"), html),
    ];
    let proxy = Proxy::start(&down());
    for (accept, kind) in table {
        let headers: Vec<_> = accept
            .map(|accept| ("Accept", accept))
            .into_iter()
            .collect();
        let answer = request(proxy.address(), "GET", "/down", &headers, "");
        assert_eq!(answer.header("content-type"), kind, "{accept:?}");
        assert_eq!(answer.header("vary"), "accept");
        assert_eq!(answer.header("x-pointsman-error"), "connect_refused");
        let (body, id) = (answer.text(), id(&answer));
        let message = "the upstream refuses connections";
        if kind == text {
            let expected = format!("502 connect_refused: {message}\nrequest id {id}\n");
            assert_eq!(body, expected);
        } else if kind == json {
            let expected = json!({
                "status": 502, "error": "connect_refused", "message": message, "request_id": id,
            });
            let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(body, expected);
        } else {
            assert!(body.starts_with("<!doctype html>"), "{body}");
            for told in ["<h1>502</h1>", message, "connect_refused", &id] {
                assert!(body.contains(told), "{told}: {body}");
            }
        }
        assert!(!body.contains("127.0.0.1"), "no inner detail: {body}");
    }
}

#[test]
fn a_list_over_several_accept_fields_is_one_list() {
    let proxy = Proxy::start(&down());
    let fields = [
        ("Accept", "text/plain;q=0.1"),
        ("Accept", "application/json"),
    ];
    let answer = request(proxy.address(), "GET", "/down", &fields, "");
    assert_eq!(answer.header("content-type"), "application/json");
}

#[test]
fn every_error_carries_its_word_and_the_id_that_the_log_has() {
    let garbled = Origin::new(|_| Reply::RawClose(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()));
    let silent = Origin::raw(|stream| {
        let _ = std::io::Read::read_to_end(&mut &stream, &mut Vec::new());
    });
    let route = |name: &str, url: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"{url}\"\n\
             timeout.response = \"200ms\"\n"
        )
    };
    let config = [
        down(),
        route("garbled", &garbled.url()),
        route("silent", &silent.url()),
    ];
    let proxy = Proxy::start(&config.concat());
    let table = [
        ("/nowhere", 404, "no_route"),
        ("/a/../b", 400, "bad_path"),
        ("/down", 502, "connect_refused"),
        ("/garbled", 502, "upstream_invalid"),
        ("/silent", 504, "header_timeout"),
    ];
    for (path, status, word) in table {
        let answer = proxy.get(path);
        let seen = (answer.status, answer.header("x-pointsman-error"));
        assert_eq!(seen, (status, word), "{path}");
        let id = id(&answer);
        let line = proxy.wait_for_log("the access line", |line| line["request_id"] == id);
        assert_eq!((&line["why"], &line["path"]), (&word.into(), &path.into()));
    }
}

#[test]
fn the_id_is_the_one_that_the_upstream_was_told_also_without_a_log() {
    let origin = Origin::new(|_| Reply::RawClose(Vec::new()));
    let rule = "request_header = { set = { X-Id = \"{request_id}\" } }\n";
    for log in ["log.access = true\n", "log.access = false\n"] {
        let route = format!("[[route]]\nupstream = \"{}\"\n{rule}", origin.url());
        let proxy = Proxy::start(&format!("{log}{route}"));
        let answer = proxy.get("/");
        assert_eq!(answer.header("x-pointsman-error"), "upstream_reset");
        assert_eq!(id(&answer), origin.last().header("x-id"), "{log}");
        assert_ne!(id(&answer), id(&proxy.get("/")), "each has its own");
    }
}

#[test]
fn what_never_became_a_request_is_refused_in_plain_text_with_word_and_id() {
    let proxy = Proxy::start("");
    let table = [
        ("nonsense\r\n\r\n", 400, "bad_request"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
            400,
            "bad_request",
        ),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, "bad_request"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n folded\r\n\r\n",
            400,
            "bad_request",
        ),
    ];
    for (bytes, status, word) in table {
        let mut client = Client::connect(proxy.address());
        client.send(bytes);
        let answer = client.response();
        let seen = (answer.status, answer.header("x-pointsman-error"));
        assert_eq!(seen, (status, word), "{bytes:?}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert!(answer.text().contains(&id(&answer)), "{}", answer.text());
    }
}

#[test]
fn the_answer_to_head_has_the_head_and_nothing_more() {
    let proxy = Proxy::start(&down());
    for accept in ["*/*", "application/json", "text/html"] {
        let get = request(proxy.address(), "GET", "/down", &[("Accept", accept)], "");
        let mut client = Client::connect(proxy.address());
        client.send(format!(
            "HEAD /down HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n"
        ));
        let head = client.head_response();
        for name in ["content-type", "x-pointsman-error", "vary"] {
            assert_eq!(head.header(name), get.header(name), "{accept}: {name}");
        }
        id(&head);
        // Were there a body, it would be taken for the next answer.
        assert_eq!(client.get("a", "/nowhere").status, 404, "{accept}");
    }
}

/// What GET would be told, HEAD is told (RFC 9110 section 9.3.2), whoever of us answers.
#[test]
fn head_is_told_the_same_as_get_by_every_answer_of_our_own() {
    let proxy = Proxy::start(&format!(
        "{}[[route]]\npath = \"/text\"\nrespond = {{ body = \"some text\" }}\n\
         [[route]]\npath = \"/empty\"\nrespond = {{ status = 404 }}\n\
         [[route]]\npath = \"/none\"\nrespond = {{ status = 204 }}\n\
         [[route]]\npath = \"/moved\"\nredirect = {{ to = \"https://a.example/\" }}\n",
        down()
    ));
    let host = "Host: a";
    for (path, line, length) in [
        ("/text", host, Some("9")),
        ("/empty", host, Some("0")),
        ("/none", host, None),
        ("/moved", host, Some("0")),
        ("/down", host, Some("")),
        ("/down", "Host: a\r\nAccept: text/html", Some("")),
        ("/nowhere", host, Some("")),
        ("/a/../b", host, Some("")),
        ("/text", "X: no host", Some("")),
        ("/text", "Host: a\r\nContent-Length: 5, 5", Some("")),
        (
            "/text",
            "Host: a\r\nTransfer-Encoding: gzip, chunked",
            Some(""),
        ),
    ] {
        let asked = |method: &str| {
            let mut client = Client::connect(proxy.address());
            client.send(format!("{method} {path} HTTP/1.1\r\n{line}\r\n\r\n"));
            let mut answer = client.try_response(method == "HEAD").unwrap();
            let of_one = ["date", "x-request-id"];
            answer
                .headers
                .retain(|(name, _)| !of_one.contains(&name.as_str()));
            answer.headers.sort();
            answer
        };
        let (get, head) = (asked("GET"), asked("HEAD"));
        assert_eq!(
            (head.status, &head.headers),
            (get.status, &get.headers),
            "{path} {line:?}"
        );
        let own = get.body.len().to_string();
        let length = length.map(|length| {
            if length.is_empty() {
                own.as_str()
            } else {
                length
            }
        });
        assert_eq!(
            head.all("content-length"),
            Vec::from_iter(length),
            "{path} {line:?}"
        );
    }
}

#[test]
fn head_is_told_no_length_that_the_upstream_did_not_tell() {
    let origin = Origin::new(|_| Reply::Raw(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n".to_vec()));
    let proxy = Proxy::to(&origin.url());
    let head = request(proxy.address(), "HEAD", "/", &[], "");
    assert_eq!((head.status, head.all("content-length")), (200, vec![]));
}

#[test]
fn an_answer_of_the_upstream_is_passed_on_whatever_it_says() {
    let origin = Origin::new(|_| Reply::Whole(502, Vec::new(), b"its own".to_vec()));
    let proxy = Proxy::to(&origin.url());
    let answer = request(proxy.address(), "GET", "/", &[("Accept", BROWSER)], "");
    assert_eq!((answer.status, answer.text().as_str()), (502, "its own"));
    for name in ["x-pointsman-error", "x-request-id", "vary"] {
        assert_eq!(answer.header(name), "", "{name}");
    }
}
