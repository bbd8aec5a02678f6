//! What the machine around the process may do to it: ports taken, files that are none, pipes that
//! nobody empties.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::{BINARY, Client, Origin, Proxy, Reply, Written, eventually, get, within};

#[test]
fn a_port_that_is_taken_at_the_start_is_told_and_ends_the_process() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!("listen = \"{address}\"\nadmin.listen = \"127.0.0.1:0\"\n");
    let said = Written::new(text).run();
    assert_eq!(said.code, Some(1));
    assert!(
        said.err.contains(&format!("cannot listen on {address}")),
        "{}",
        said.err
    );
}

#[test]
fn what_is_no_text_file_is_refused_and_told_and_an_edit_mends_it() {
    let proxy = Proxy::start("[[route]]\nrespond = { body = \"one\" }\n");
    let path = proxy.config();
    let refused = |why: &str| {
        eventually(why, || {
            let refused = proxy.status()["refused"].to_string();
            refused.contains(why)
        });
        assert_eq!(
            proxy
                .metrics()
                .sum("pointsman_config_last_reload_successful", &[]),
            0.0
        );
        assert_eq!(proxy.get("/").text(), "one");
    };
    std::fs::write(path, b"# caf\xe9\n").unwrap();
    refused("is not UTF-8 text");
    std::fs::remove_file(path).unwrap();
    let pipe = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(pipe.success());
    refused("is not a regular file");
    assert_eq!(proxy.ask_reload().0, 422);
    std::fs::remove_file(path).unwrap();
    proxy.write("[[route]]\nrespond = { body = \"two\" }\n");
    eventually("the mended file serves", || proxy.get("/").text() == "two");
}

#[test]
fn a_broken_file_that_its_writer_holds_open_is_told_all_the_same() {
    use std::io::Write;
    let proxy = Proxy::start("reload.max_wait = \"300ms\"\n[[route]]\nrespond = {}\n");
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(proxy.config())
        .unwrap();
    file.write_all(b"upstraem = 1\n").unwrap();
    eventually("it is refused while it is held", || {
        proxy.status()["refused"].to_string().contains("upstraem")
    });
    drop(file);
}

#[test]
fn a_log_that_nobody_reads_does_not_keep_the_process_from_ending() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("pointsman.toml");
    let (listen, admin) = (crate::harness::free_port(), crate::harness::free_port());
    let text = format!(
        "listen = \"127.0.0.1:{listen}\"\nadmin.listen = \"127.0.0.1:{admin}\"\n\
         [[route]]\nrespond = {{}}\n"
    );
    std::fs::write(&file, text).unwrap();
    let mut process = Command::new(BINARY)
        .args(["run", "--config"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let address = ([127, 0, 0, 1], listen).into();
    eventually("it serves", || {
        std::net::TcpStream::connect(address).is_ok()
    });
    let mut client = Client::connect(address);
    // More than a pipe holds.
    for _ in 0..2000 {
        assert_eq!(client.get("a", "/").status, 200);
    }
    let id = process.id().to_string();
    assert!(Command::new("kill").arg(&id).status().unwrap().success());
    within(Duration::from_secs(10), "it ends", || {
        process.try_wait().unwrap().is_some()
    });
}

#[test]
fn ten_thousand_problems_are_told_in_part_and_hold_nothing_up() {
    let proxy = Proxy::start("[[route]]\nrespond = {}\n");
    let route = |n: usize| format!("[[route]]\npath = \"/{n}\"\nupstream = \"none\"\n");
    let text: String = (0..10_000).map(route).collect();
    let (status, outcome) = proxy.reload(&text);
    assert_eq!(status, 422);
    let problems = outcome["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 50);
    assert!(
        problems[49]["help"].as_str().unwrap().contains("9950 more"),
        "{}",
        problems[49]
    );
}

#[test]
fn a_path_of_very_many_segments_is_refused_and_not_walked() {
    let proxy = Proxy::start("[[route]]\nrespond = {}\n");
    let deep = "/a".repeat(60_000);
    let (status, outcome) =
        proxy.reload(&format!("[[route]]\npath = \"{deep}\"\nrespond = {{}}\n"));
    assert_eq!(status, 422, "{}", outcome["result"]);
    assert_eq!(proxy.get(&"/a".repeat(10_000)).status, 200);
}

#[test]
fn the_log_names_the_host_that_was_routed() {
    let origin = Origin::new(|_| Reply::text("x"));
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    client.send("GET http://a.example/absolute HTTP/1.1\r\nHost: b.example\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let line = proxy.wait_for_log("the request", |line| line["path"] == "/absolute");
    assert_eq!(line["host"], "a.example");
}

#[test]
fn a_fixed_answer_that_has_no_body_is_not_a_client_that_left() {
    let proxy = Proxy::start("[[route]]\nname = \"r\"\nrespond = { status = 204, body = \"x\" }\n");
    assert_eq!(get(proxy.address(), "/").status, 204);
    proxy.counts(
        "pointsman_requests_total",
        &[("route", "r"), ("code", "204")],
        1.0,
    );
}

#[test]
fn an_upstream_that_is_the_proxy_itself_is_refused() {
    for (listen, server) in [
        ("127.0.0.1:18080", "http://127.0.0.1:18080"),
        ("0.0.0.0:18080", "http://localhost:18080/x"),
        ("[::1]:80", "http://[::1]"),
    ] {
        let inline = format!("listen = \"{listen}\"\nroute = [{{ upstream = \"{server}\" }}]\n");
        let named = format!(
            "listen = \"{listen}\"\nroute = [{{ upstream = \"a\" }}]\n\
             [upstream.a]\nserver = [\"{server}\"]\n"
        );
        for text in [inline, named] {
            let said = Written::new(text).check();
            assert_eq!(said.code, Some(1), "{server}");
            assert!(said.err.contains("is this proxy itself"), "{}", said.err);
        }
    }
}
