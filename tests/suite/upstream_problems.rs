//! What can be wrong with an upstream is told with its place and what to write.

use crate::harness::{Authority, TlsSite, pointsman};

const START: &str =
    "listen = \"127.0.0.1:8080\"\nroute = [{ upstream = \"app\" }]\n[upstream.app]\n";

/// What `check` says of this table, and of the files beside it.
fn said(site: &TlsSite, table: &str) -> (Option<i32>, String) {
    site.write(&format!("{START}{table}"));
    let said = pointsman(&[&"check", &site.config()]);
    (said.code, said.err)
}

#[test]
fn each_problem_of_tls_http_2_and_health_has_its_place_and_its_help() {
    let (authority, site) = (Authority::new(), TlsSite::new(&[]));
    site.put_cert("ca", &authority.pem);
    site.put("me", &authority.client("me", 1));
    site.put_cert("odd", "odd");
    let secure = "server = \"https://app.internal\"\n";
    let pair = "cert = \"tls/me.pem\", key = \"tls/me.key\"";
    let table = [
        (
            "server = \"http://a\"\ntls = {}\n".to_owned(),
            [
                "upstream.app.tls)",
                "no server of this upstream speaks TLS",
                "`https://`",
            ],
        ),
        (
            format!("{secure}tls = {{ ca = \"tls/none.pem\" }}\n"),
            [
                "upstream.app.tls.ca)",
                "`tls/none.pem` is not there",
                "it is looked for at",
            ],
        ),
        (
            format!("{secure}tls = {{ ca = \"tls/odd.pem\" }}\n"),
            [
                "upstream.app.tls.ca)",
                "`tls/odd.pem` holds no certificate",
                "",
            ],
        ),
        (
            format!("{secure}tls = {{ ca = \"tls/ca.pem\", server_name = \"no name\" }}\n"),
            [
                "upstream.app.tls.server_name)",
                "`no name` is no name",
                "app.internal",
            ],
        ),
        (
            format!("{secure}tls = {{ ca = \"tls/ca.pem\", cert = \"tls/me.pem\" }}\n"),
            [
                "upstream.app.tls.cert)",
                "`cert` is nothing without `key`",
                "write `cert =",
            ],
        ),
        (
            format!("{secure}tls = {{ ca = \"tls/ca.pem\", key = \"tls/me.key\" }}\n"),
            [
                "upstream.app.tls.key)",
                "`key` is nothing without `cert`",
                "write `cert =",
            ],
        ),
        (
            format!(
                "{secure}tls = {{ ca = \"tls/ca.pem\", cert = \"tls/odd.pem\", key = \"tls/me.key\" }}\n"
            ),
            [
                "upstream.app.tls.cert)",
                "`tls/odd.pem` holds no certificate",
                "",
            ],
        ),
        (
            format!("{secure}tls = {{ ca = \"tls/ca.pem\", {pair}, insecur = true }}\n"),
            ["upstream.app.tls", "insecur", "did you mean `insecure`?"],
        ),
        (
            "server = \"h2c://a\"\nhttp2 = false\n".to_owned(),
            ["upstream.app.http2)", "speaks nothing else", "`http://`"],
        ),
        (
            "server = \"h2c://a\"\nhttp2 = { max_concurrent_streams = 0 }\n".to_owned(),
            ["http2.max_concurrent_streams)", "from 1 to 10000", ""],
        ),
        (
            "server = \"h2c://a\"\nhttp2 = { stream_window = \"1KiB\" }\n".to_owned(),
            ["http2.stream_window)", "from 64KiB to 64MiB", ""],
        ),
        (
            "server = \"h2c://a\"\nhttp2 = { ping_timeout = \"0s\" }\n".to_owned(),
            ["http2.ping_timeout)", "it cannot be zero", ""],
        ),
        (
            "server = \"http://a\"\nhealth = {}\n".to_owned(),
            [
                "upstream.app.health)",
                "either by HTTP or by gRPC",
                "path = \"/healthz\"",
            ],
        ),
        (
            "server = \"http://a\"\nhealth = { path = \"/\", grpc = \"\" }\n".to_owned(),
            ["upstream.app.health)", "either by HTTP or by gRPC", ""],
        ),
        (
            "server = \"http://a\"\nhealth = { path = \"healthz\" }\n".to_owned(),
            ["health.path)", "such as \"/healthz\"", ""],
        ),
        (
            "server = \"http://a\"\nhealth = { grpc = \"\" }\n".to_owned(),
            ["health.grpc)", "`h2c://` and `https://` only", ""],
        ),
        (
            "server = \"h2c://a\"\nhealth = { grpc = \"a/b\" }\n".to_owned(),
            ["health.grpc)", "name of a service", ""],
        ),
        (
            "server = \"http://a\"\nhealth = { path = \"/\", interval = \"0s\" }\n".to_owned(),
            ["health.interval)", "it cannot be zero", ""],
        ),
        (
            "server = \"http://a\"\nhealth = { path = \"/\", unhealthy = 0 }\n".to_owned(),
            ["health.unhealthy)", "it cannot be zero", ""],
        ),
        (
            "server = \"wss://a\"\n".to_owned(),
            ["upstream.app.server", "not http, https or h2c", ""],
        ),
    ];
    for (text, parts) in table {
        let (code, said) = said(&site, &text);
        assert_eq!(code, Some(1), "{text}");
        assert!(said.starts_with("error: "), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part}\n{said}");
        }
    }
    let good = format!("{secure}tls = {{ ca = \"tls/ca.pem\", {pair} }}\n");
    assert_eq!(said(&site, &good), (Some(0), String::new()));
}

#[test]
fn what_is_insecure_is_allowed_and_warned_of() {
    let site = TlsSite::new(&[]);
    let text = "server = \"https://127.0.0.1\"\ntls = { insecure = true }\n";
    let (code, said) = said(&site, text);
    assert_eq!(code, Some(0));
    assert!(
        said.contains("warning: servers are not asked who they are"),
        "{said}"
    );
    assert!(said.contains("(upstream.app.tls.insecure)"), "{said}");
}

#[test]
fn methods_of_grpc_are_named_as_their_paths_are() {
    let site = TlsSite::new(&[]);
    for (methods, code) in [
        ("\"shop.Cart/Add\"", 0),
        ("\"/shop.Cart/Add\"", 1),
        ("\"Add\"", 1),
    ] {
        site.write(&format!(
            "listen = \"127.0.0.1:8080\"\n[[route]]\nupstream = \"h2c://a\"\n\
             grpc_methods = [{methods}]\n"
        ));
        let said = pointsman(&[&"check", &site.config()]);
        assert_eq!(said.code, Some(code), "{methods}");
        if code == 1 {
            assert!(
                said.err.contains("4:17 (route[0].grpc_methods[0])"),
                "{}",
                said.err
            );
            assert!(said.err.contains("is no method of gRPC"), "{}", said.err);
            assert!(said.err.contains("\"shop.Cart/Add\""), "{}", said.err);
        }
    }
}
