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

/// What is wrong, with what is told of it.
type Wrong<'a> = (&'a str, [&'a str; 3]);

fn refuses(site: &TlsSite, table: &[Wrong<'_>]) {
    for (text, parts) in table {
        let (code, said) = said(site, text);
        assert_eq!(code, Some(1), "{text}");
        assert!(said.starts_with("error: "), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part}\n{said}");
        }
    }
}

/// What `tls` of a server of `https://` may not be.
const TLS: [Wrong<'_>; 7] = [
    (
        "ca = \"tls/none.pem\"",
        [
            "upstream.app.tls.ca)",
            "`tls/none.pem` is not there",
            "it is looked for at",
        ],
    ),
    (
        "ca = \"tls/odd.pem\"",
        [
            "upstream.app.tls.ca)",
            "`tls/odd.pem` holds no certificate",
            "",
        ],
    ),
    (
        "ca = \"tls/ca.pem\", server_name = \"no name\"",
        [
            "upstream.app.tls.server_name)",
            "`no name` is no name",
            "app.internal",
        ],
    ),
    (
        "ca = \"tls/ca.pem\", cert = \"tls/me.pem\"",
        [
            "upstream.app.tls.cert)",
            "`cert` is nothing without `key`",
            "write `cert =",
        ],
    ),
    (
        "ca = \"tls/ca.pem\", key = \"tls/me.key\"",
        [
            "upstream.app.tls.key)",
            "`key` is nothing without `cert`",
            "write `cert =",
        ],
    ),
    (
        "ca = \"tls/ca.pem\", cert = \"tls/me.pem\", key = \"tls/me.key\", insecur = true",
        ["upstream.app.tls", "insecur", "did you mean `insecure`?"],
    ),
    (
        "ca = \"tls/ca.pem\", cert = \"tls/odd.pem\", key = \"tls/me.key\"",
        [
            "upstream.app.tls.cert)",
            "`tls/odd.pem` holds no certificate",
            "",
        ],
    ),
];

#[test]
fn each_problem_of_tls_has_its_place_and_its_help() {
    let (authority, site) = (Authority::new(), TlsSite::new(&[]));
    site.put_cert("ca", &authority.pem);
    site.put("me", &authority.client("me", 1));
    site.put_cert("odd", "odd");
    for (tls, parts) in TLS {
        let text = format!("server = \"https://app.internal\"\ntls = {{ {tls} }}\n");
        refuses(&site, &[(&text, parts)]);
    }
    refuses(
        &site,
        &[
            (
                "server = \"http://a\"\ntls = {}\n",
                [
                    "upstream.app.tls)",
                    "no server of this upstream speaks TLS",
                    "`https://`",
                ],
            ),
            (
                "server = \"wss://a\"\n",
                ["upstream.app.server", "not http, https or h2c", ""],
            ),
        ],
    );
    let good = "server = \"https://app.internal\"\n\
                tls = { ca = \"tls/ca.pem\", cert = \"tls/me.pem\", key = \"tls/me.key\" }\n";
    assert_eq!(said(&site, good), (Some(0), String::new()));
}

#[test]
fn each_problem_of_http_2_has_its_place_and_its_rule() {
    let table = [
        (
            "server = \"h2c://a\"\nhttp2 = false\n",
            ["upstream.app.http2)", "speaks nothing else", "`http://`"],
        ),
        (
            "server = \"h2c://a\"\nhttp2 = { max_concurrent_streams = 0 }\n",
            ["http2.max_concurrent_streams)", "from 1 to 10000", ""],
        ),
        (
            "server = \"h2c://a\"\nhttp2 = { stream_window = \"1KiB\" }\n",
            ["http2.stream_window)", "from 64KiB to 64MiB", ""],
        ),
        (
            "server = \"h2c://a\"\nhttp2 = { ping_timeout = \"0s\" }\n",
            ["http2.ping_timeout)", "it cannot be zero", ""],
        ),
    ];
    refuses(&TlsSite::new(&[]), &table);
}

#[test]
fn each_problem_of_health_has_its_place_and_its_rule() {
    let table = [
        (
            "server = \"http://a\"\nhealth = {}\n",
            [
                "upstream.app.health)",
                "either by HTTP or by gRPC",
                "path = \"/healthz\"",
            ],
        ),
        (
            "server = \"http://a\"\nhealth = { path = \"/\", grpc = \"\" }\n",
            ["upstream.app.health)", "either by HTTP or by gRPC", ""],
        ),
        (
            "server = \"http://a\"\nhealth = { path = \"healthz\" }\n",
            ["health.path)", "such as \"/healthz\"", ""],
        ),
        (
            "server = \"http://a\"\nhealth = { grpc = \"\" }\n",
            ["health.grpc)", "`h2c://` and `https://` only", ""],
        ),
        (
            "server = \"h2c://a\"\nhealth = { grpc = \"a/b\" }\n",
            ["health.grpc)", "name of a service", ""],
        ),
        (
            "server = \"http://a\"\nhealth = { path = \"/\", interval = \"0s\" }\n",
            ["health.interval)", "it cannot be zero", ""],
        ),
        (
            "server = \"http://a\"\nhealth = { path = \"/\", unhealthy = 0 }\n",
            ["health.unhealthy)", "it cannot be zero", ""],
        ),
    ];
    refuses(&TlsSite::new(&[]), &table);
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
