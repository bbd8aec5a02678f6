//! Pages of the operator's own for what fails: which one is sent, and what is wrong with one.

use std::fs;

use crate::harness::{Client, Origin, Reply, Site, Written, down, request};

#[test]
fn the_nearest_page_is_sent_with_status_word_and_id_as_ever() {
    let names = [
        "exact",
        "class",
        "default",
        "all-class",
        "all-404",
        "all-400",
    ];
    let pages = names.map(|name| (format!("{name}.html"), format!("page {name} {{status}}")));
    let pages = pages
        .each_ref()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    let site = Site::new(&pages);
    let config = [
        "[error_page]\n5xx = \"pages/all-class.html\"\n404 = \"pages/all-404.html\"\n\
         400 = \"pages/all-400.html\"\n"
            .to_owned(),
        down(
            "three",
            "default = \"pages/default.html\", 5xx = \"pages/class.html\", 502 = \"pages/exact.html\"",
        ),
        down(
            "two",
            "5xx = \"pages/class.html\", default = \"pages/default.html\"",
        ),
        down(
            "one",
            "default = \"pages/default.html\", 504 = \"pages/exact.html\"",
        ),
        down("other", "404 = \"pages/exact.html\""),
        down("none", ""),
    ];
    let proxy = site.serve(&config.concat());
    let table = [
        ("/three", 502, "connect_refused", "page exact 502"),
        ("/two", 502, "connect_refused", "page class 502"),
        ("/one", 502, "connect_refused", "page default 502"),
        ("/other", 502, "connect_refused", "page all-class 502"),
        ("/none", 502, "connect_refused", "page all-class 502"),
        ("/nowhere", 404, "no_route", "page all-404 404"),
        ("/a/../b", 400, "bad_path", "page all-400 400"),
    ];
    for (path, status, word, page) in table {
        let answer = proxy.get(path);
        let seen = (answer.status, answer.header("x-pointsman-error"));
        assert_eq!(seen, (status, word), "{path}");
        assert_eq!(answer.text(), page, "{path}");
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(answer.header("x-request-id").len(), 32);
    }
    let mut client = Client::connect(proxy.address());
    client.send("nonsense\r\n\r\n");
    assert_eq!(client.response().text(), "page all-400 400");
}

#[test]
fn placeholders_are_filled_in_and_escaped_and_all_else_is_sent_as_it_is() {
    let site = Site::new(&[
        (
            "a.html",
            "<style>p{color:red}</style>{status} {error} <p>{message}</p> {request_id} {x}",
        ),
        (
            "a.json",
            "{\"code\":{status},\"why\":\"{message}\",\"id\":\"{request_id}\"}",
        ),
        ("a.txt", "no holes, {only} braces\n"),
    ]);
    let origin = Origin::new(|_| Reply::RawClose(Vec::new()));
    let route = |kind: &str| {
        let url = origin.url();
        format!(
            "[[route]]\npath = \"/{kind}\"\nupstream = \"{url}\"\n\
             error_page.502 = \"pages/a.{kind}\"\n"
        )
    };
    let closing = Origin::new(|_| Reply::RawClose(b"SSH\r\n\r\n".to_vec()));
    let apostrophe = format!(
        "[[route]]\npath = \"/escaped\"\nupstream = \"{}\"\nerror_page.502 = \"pages/a.html\"\n",
        closing.url()
    );
    let routes = ["html", "json", "txt"].map(route).concat();
    let proxy = site.serve(&format!("{routes}{apostrophe}"));
    let message = "the upstream closed the connection before it answered";
    let table = [
        (
            "/html",
            "text/html; charset=utf-8",
            format!("<style>p{{color:red}}</style>502 upstream_reset <p>{message}</p> ID {{x}}"),
        ),
        (
            "/escaped",
            "text/html; charset=utf-8",
            "<style>p{color:red}</style>502 upstream_invalid \
             <p>the upstream&#39;s answer cannot be forwarded</p> ID {x}"
                .to_owned(),
        ),
        (
            "/json",
            "application/json",
            format!("{{\"code\":502,\"why\":\"{message}\",\"id\":\"ID\"}}"),
        ),
        (
            "/txt",
            "text/plain; charset=utf-8",
            "no holes, {only} braces\n".to_owned(),
        ),
    ];
    for (path, kind, expected) in table {
        let answer = proxy.get(path);
        let expected = expected.replace("ID", answer.header("x-request-id"));
        assert_eq!(
            (answer.header("content-type"), answer.text()),
            (kind, expected),
            "{path}"
        );
    }
}

#[test]
fn of_several_pages_the_client_gets_the_kind_that_it_takes_or_a_built_in_one() {
    let site = Site::new(&[
        ("a.html", "own html"),
        ("a.json", "own json"),
        ("b.txt", "own text"),
    ]);
    let proxy = site.serve(&format!(
        "{}{}",
        down("both", "502 = [\"pages/a.html\", \"pages/a.json\"]"),
        down("html", "502 = \"pages/a.html\", default = \"pages/b.txt\""),
    ));
    let table = [
        ("/both", "*/*", "own html"),
        ("/both", "application/json, */*;q=0.5", "own json"),
        (
            "/both",
            "text/html;q=0.5, application/json;q=0.4",
            "own html",
        ),
        ("/both", "text/plain", "502 connect_refused"),
        ("/html", "*/*", "own html"),
        ("/html", "text/plain", "own text"),
        ("/html", "application/json", "{\"status\":502"),
    ];
    for (path, accept, begins) in table {
        let answer = request(proxy.address(), "GET", path, &[("Accept", accept)], "");
        let text = answer.text();
        assert!(text.starts_with(begins), "{path} {accept}: {text}");
    }
}

#[test]
fn answers_that_are_no_errors_of_the_proxy_are_left_alone() {
    let site = Site::new(&[("a.html", "own page")]);
    let origin = Origin::new(|_| Reply::Whole(502, Vec::new(), b"the upstream's".to_vec()));
    let proxy = site.serve(&format!(
        "error_page.default = \"pages/a.html\"\n\
         [[route]]\npath = \"/app\"\nupstream = \"{}\"\n\
         [[route]]\npath = \"/closed\"\nrespond = {{ status = 503, body = \"the operator's\" }}\n",
        origin.url()
    ));
    for (path, text) in [
        ("/app", "the upstream's"),
        ("/closed", "the operator's"),
        ("/nowhere", "own page"),
    ] {
        assert_eq!(proxy.get(path).text(), text);
    }
}

/// Checks a file with this line in either table, and this `page.html` beside it.
#[track_caller]
fn assert_refused(line: &str, page: Option<&[u8]>, message: &str, help: &str) {
    let tables = [
        ("[error_page]\n", "error_page", 3),
        (
            "[[route]]\nrespond = {}\n[route.error_page]\n",
            "route[0].error_page",
            5,
        ),
    ];
    for (before, key, number) in tables {
        let text = format!("listen = \"127.0.0.1:0\"\n{before}{line}\n");
        let written = Written::new(&text);
        if let Some(page) = page {
            fs::write(written.path.with_file_name("page.html"), page).unwrap();
        }
        let said = written.check();
        assert_eq!(said.code, Some(1), "{text}");
        let status = line.split(' ').next().unwrap_or_default();
        let place = format!("pointsman.toml:{number}:7 ({key}.{status})");
        for part in [message, help, &place] {
            assert!(said.err.contains(part), "{part}: {}", said.err);
        }
    }
}

#[test]
fn a_page_that_cannot_be_sent_is_told_with_its_place_and_where_to_write_it() {
    let large = [b'x'; 1024 * 1024 + 1];
    let table: [(Option<&[u8]>, &str); 4] = [
        (None, "is not there"),
        (Some(b""), "is empty"),
        (Some(b"\xff"), "is not UTF-8 text"),
        (Some(&large), "is larger than 1048576 bytes"),
    ];
    for (page, why) in table {
        let message = format!("the page `page.html` {why}");
        let help = "/page.html, or take this key away";
        assert_refused("502 = \"page.html\"", page, &message, help);
    }
    assert_refused(
        "502 = \"/.html\"",
        None,
        "the page `/.html` is not there",
        "write it to /.html",
    );
}

#[test]
fn a_key_or_name_that_says_nothing_is_told_with_what_to_write() {
    let table = [
        ("502 = \".\"", "does not tell", ".html, .json or .txt"),
        (
            "502 = \"page.png\"",
            "does not tell",
            ".html, .json or .txt",
        ),
        (
            "200 = \"page.html\"",
            "`200` is not the status",
            "4xx, 5xx or default",
        ),
        (
            "6xx = \"page.html\"",
            "`6xx` is not the status",
            "4xx, 5xx or default",
        ),
    ];
    for (line, message, help) in table {
        assert_refused(line, Some(b"x"), message, help);
    }
}
