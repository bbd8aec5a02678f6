//! Which clients may pass, by their addresses.

use std::fs;

use serde_json::json;

use crate::harness::{Client, Proxy, Site, eventually, pointsman, request};

const TRUSTED: &str = "server.trusted_proxies = [\"127.0.0.1\"]\n";

fn guarded(name: &str, access: &str) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nrespond = {{ body = \"in\" }}\n\
         access = {access}\n"
    )
}

/// The status that a client gets for whom a trusted proxy asks.
fn asks(proxy: &Proxy, client: &str, path: &str) -> u16 {
    let headers = [("X-Forwarded-For", client)];
    request(proxy.address(), "GET", path, &headers, "").status
}

#[test]
fn the_clients_address_decides_and_deny_beats_allow() {
    let proxy = Proxy::start(&format!(
        "{TRUSTED}{}{}{}{}",
        guarded(
            "office",
            "{ allow = [\"192.0.2.0/24\", \"2001:db8::/32\"] }"
        ),
        guarded("most", "{ deny = \"192.0.2.7\" }"),
        guarded(
            "both",
            "{ allow = \"192.0.2.0/24\", deny = [\"192.0.2.128/25\"] }"
        ),
        guarded("sockets", "{ allow = \"unix:\" }"),
    ));
    let nobody = Proxy::start(&guarded("nobody", "{ allow = [] }"));
    assert_eq!(nobody.get("/nobody").status, 403);
    for (client, office, most, both) in [
        ("192.0.2.1", 200, 200, 200),
        ("192.0.2.7", 200, 403, 200),
        ("192.0.2.200", 200, 200, 403),
        ("::ffff:192.0.2.200", 200, 200, 403),
        ("2001:db8::9", 200, 200, 403),
        ("198.51.100.1", 403, 200, 403),
        // Whoever writes something else is not known, and so it is the proxy that asks.
        ("nonsense", 403, 200, 403),
    ] {
        assert_eq!(asks(&proxy, client, "/office"), office, "{client}");
        assert_eq!(asks(&proxy, client, "/most"), most, "{client}");
        assert_eq!(asks(&proxy, client, "/both"), both, "{client}");
        assert_eq!(asks(&proxy, client, "/sockets"), 403, "{client}");
    }
    let answer = proxy.get("/office");
    assert_eq!(
        (answer.status, answer.header("x-pointsman-error")),
        (403, "denied_ip")
    );
    let denied = [
        ("gate", "access"),
        ("mode", "enforce"),
        ("route", "sockets"),
    ];
    proxy.counts("pointsman_gate_denied_total", &denied, 7.0);
    let line = proxy.wait_for_log("it is told", |line| line["why"] == "denied_ip");
    assert_eq!(line["status"], 403);
}

#[test]
fn what_a_stranger_says_of_itself_is_not_believed() {
    let proxy = Proxy::start(&guarded("office", "{ allow = \"192.0.2.0/24\" }"));
    assert_eq!(asks(&proxy, "192.0.2.1", "/office"), 403);
}

#[test]
fn the_gate_of_a_listener_is_before_all_routes_and_its_connections_outlive_an_edit() {
    let config = |access: &str| {
        format!(
            "admin.listen = \"127.0.0.1:0\"\n[[listener]]\nname = \"web\"\n\
             address = \"127.0.0.1:0\"\n{access}[[route]]\nrespond = {{ body = \"in\" }}\n"
        )
    };
    let proxy = Proxy::with_config(&config("access = { allow = \"127.0.0.1\" }\n"));
    let mut client = Client::connect(proxy.listener("web"));
    assert_eq!(client.get("a", "/").text(), "in");
    proxy.write_all(&config("access = { deny = \"127.0.0.0/8\" }\n"));
    assert_eq!(proxy.ask_reload().1["result"], "applied");
    let answer = client.get("a", "/");
    assert_eq!((answer.status, answer.header("connection")), (403, ""));
    let denied = [("listener", "web"), ("gate", "access")];
    proxy.counts("pointsman_gate_denied_total", &denied, 1.0);
    proxy.write_all(&config(""));
    assert_eq!(proxy.ask_reload().1["result"], "applied");
    assert_eq!(client.get("a", "/").text(), "in");
    proxy.counts("pointsman_connections_total", &[("listener", "web")], 1.0);
}

#[test]
fn lists_are_followed_without_an_edit_and_the_last_good_one_serves() {
    let site = Site::new(&[("office.txt", "# nobody\n")]);
    let access = "{ allow = [{ file = \"pages/office.txt\" }, \"203.0.113.1\"] }";
    let proxy = site.serve(&format!("{TRUSTED}{}", guarded("office", access)));
    let list = site.page("office.txt");
    assert_eq!(asks(&proxy, "192.0.2.1", "/office"), 403);
    assert_eq!(asks(&proxy, "203.0.113.1", "/office"), 200);
    fs::write(&list, "192.0.2.0/24 # the office\n\n2001:db8::1\n").unwrap();
    eventually("it is let in", || {
        asks(&proxy, "192.0.2.1", "/office") == 200
    });
    assert_eq!(asks(&proxy, "2001:db8::1", "/office"), 200);
    // Nobody, for now; and then as some editors begin a file.
    fs::write(&list, "").unwrap();
    eventually("it is shut out", || {
        asks(&proxy, "192.0.2.1", "/office") == 403
    });
    fs::write(&list, "\u{feff}192.0.2.0/24\r\n").unwrap();
    eventually("it is let in", || {
        asks(&proxy, "192.0.2.1", "/office") == 200
    });
    let generation = proxy.generation();
    fs::write(&list, "192.0.2.0/24\n192.0.2.300\n").unwrap();
    let refused = proxy.wait_for_log("it is refused", |line| {
        line["message"]
            .as_str()
            .is_some_and(|told| told.contains("is wrong in line 2"))
    });
    assert!(refused["message"].as_str().unwrap().contains("192.0.2.300"));
    assert_eq!(
        (proxy.generation(), asks(&proxy, "192.0.2.1", "/office")),
        (generation, 200)
    );
}

#[test]
fn whom_a_gate_that_observes_would_refuse_passes_and_is_told_of() {
    let access = "{ allow = \"192.0.2.0/24\", mode = \"observe\" }";
    let proxy = Proxy::start(&guarded("office", access));
    assert_eq!(proxy.get("/office").text(), "in");
    let denied = [("gate", "access"), ("mode", "observe"), ("route", "office")];
    proxy.counts("pointsman_gate_denied_total", &denied, 1.0);
    let line = proxy.wait_for_log("it is told", |line| line["path"] == "/office");
    assert_eq!(
        (&line["observed"], &line["why"]),
        (&json!("access"), &json!("ok"))
    );
    proxy.counts("pointsman_errors_total", &[], 0.0);
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_to_write() {
    let site = Site::new(&[]);
    let check = |access: &str| {
        let file = site.page("check.toml");
        fs::write(
            &file,
            format!("listen = \"127.0.0.1:8080\"\n{}", guarded("a", access)),
        )
        .unwrap();
        let said = pointsman(&[&"check", &file]);
        (said.code, said.err)
    };
    for (access, parts) in [
        (
            "{ allow = \"10.0.0.0/33\" }",
            ["6:20", "`10.0.0.0/33` is not a network", "10.0.0.0/8"],
        ),
        (
            "{ allow = { file = \"none.txt\" } }",
            [
                "6:20 (route[0].access.allow)",
                "`none.txt` is not there",
                "looked for at",
            ],
        ),
        (
            "{ allow = \"10.0.0.0/8\", mode = \"watch\" }",
            ["6:", "`watch`", "\"observe\""],
        ),
        (
            "{ alow = \"10.0.0.0/8\" }",
            ["6:", "alow", "did you mean `allow`?"],
        ),
    ] {
        let (code, said) = check(access);
        assert_eq!(code, Some(1), "{access}");
        for part in parts {
            assert!(said.contains(part), "{part}\n{said}");
        }
    }
    let (code, said) = check("{}");
    assert_eq!(code, Some(0));
    assert!(said.contains("warning: nobody is shut out by it"), "{said}");
    let (code, said) = check("{ allow = [] }");
    let told = "warning: `allow` is empty: nobody may pass";
    assert!(code == Some(0) && said.contains(told), "{said}");
}
