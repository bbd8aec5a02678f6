//! The log: a line a request that machines can read and terminals can bear, never in the way.

use std::io::{BufRead, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Client, Metrics, Origin, Proxy, Reply, Told, eventually, get, request};

fn of_path(proxy: &Proxy, path: &str) -> Value {
    proxy.wait_for_log(path, |line| line["path"] == path)
}

#[test]
fn one_json_line_tells_all_about_a_request() {
    let origin = Origin::new(|_| Reply::Whole(201, Vec::new(), b"created".to_vec()));
    let proxy = Proxy::start(&format!(
        "[[route]]\nname = \"api\"\npath = \"/api/*\"\nupstream = \"app\"\n\
         [upstream.app]\nserver = \"{}\"\n",
        origin.url()
    ));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers = [
        ("traceparent", traceparent.as_str()),
        ("Host", "A.example:81"),
    ];
    request(
        proxy.address(),
        "POST",
        "/api/x?token=secret",
        &headers,
        "hello",
    );

    let line = of_path(&proxy, "/api/x");
    let expected = [
        ("level", Value::from("info")),
        ("service", "pointsman".into()),
        ("trace_id", trace.into()),
        ("message", "POST /api/x 201".into()),
        ("client_ip", "127.0.0.1".into()),
        ("method", "POST".into()),
        ("host", "A.example:81".into()),
        ("protocol", "HTTP/1.1".into()),
        ("status", 201.into()),
        ("route", "api".into()),
        ("upstream", "app".into()),
        ("generation", 1.into()),
        ("why", "ok".into()),
        ("bytes_in", 5.into()),
        ("bytes_out", 7.into()),
    ];
    for (field, value) in expected {
        assert_eq!(line[field], value, "{field} in {line:#}");
    }
    assert_eq!(line["request_id"].as_str().map(str::len), Some(32));
    let at = line["timestamp"].as_str().unwrap();
    assert!(
        at.len() >= 20 && at.starts_with("20") && at.ends_with('Z'),
        "{at}"
    );
    let [total, upstream] =
        ["duration_ms", "upstream_ms"].map(|field| line[field].as_f64().unwrap());
    assert!(total >= upstream && upstream > 0.0, "{total} {upstream}");
    assert!(
        !line.to_string().contains("secret"),
        "the query is logged: {line:#}"
    );
    assert_eq!(origin.last().header("traceparent"), traceparent);
}

#[test]
fn a_request_without_a_sound_trace_has_an_id_of_its_own() {
    let proxy = Proxy::start("[[route]]\nrespond = {}\n");
    for (path, headers) in [
        ("/none", &[][..]),
        ("/bad", &[("traceparent", "00-xyz-1-01")]),
    ] {
        request(proxy.address(), "GET", path, headers, "");
        let line = of_path(&proxy, path);
        assert_eq!(line["trace_id"], line["request_id"]);
    }
}

#[test]
fn each_line_says_how_the_request_ended() {
    let closing = Origin::new(|_| Reply::RawClose(Vec::new()));
    let silent = Origin::raw(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let proxy = Proxy::start(&format!(
        "[[route]]\nname = \"closing\"\npath = \"/closing\"\nupstream = \"{}\"\n\
         [[route]]\nname = \"silent\"\npath = \"/silent\"\nupstream = \"{}\"\n",
        closing.url(),
        silent.url()
    ));
    for path in ["/closing", "/nowhere", "/../x"] {
        proxy.get(path);
    }
    let mut client = Client::connect(proxy.address());
    client.send("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the origin is asked", || silent.connections() == 1);
    drop(client);
    let table = [
        ("/closing", 502, "closing", "upstream_reset"),
        ("/nowhere", 404, "_unmatched", "no_route"),
        ("/../x", 400, "_unmatched", "bad_path"),
        ("/silent", 499, "silent", "client_gone"),
    ];
    for (path, status, route, why) in table {
        let line = of_path(&proxy, path);
        assert_eq!(line["status"], status, "{line:#}");
        assert_eq!((&line["route"], &line["why"]), (&route.into(), &why.into()));
    }
}

/// The whole file, for a proxy that is known by what it tells people.
fn file(directory: &TempDir, rest: &str) {
    let text = format!(
        "listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\n{rest}[[route]]\nrespond = {{}}\n"
    );
    std::fs::write(directory.path().join("pointsman.toml"), text).unwrap();
}

#[test]
fn a_client_cannot_write_to_the_operators_terminal() {
    let directory = TempDir::new().unwrap();
    file(&directory, "log.format = \"text\"\n");
    let mut proxy = Told::start(directory.path(), &["run", "--config", "pointsman.toml"]);
    let mut client = Client::connect(proxy.address());
    // CSI as one character, and a tab; others do not get through the parser.
    client.send(b"GET /x\xc2\x9b31mred HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 200);
    client.send("GET /%1b[31m HTTP/1.1\r\nHost: a\tb\r\n\r\n");
    assert_eq!(client.response().status, 400);
    client = Client::connect(proxy.address());
    assert_eq!(client.get("a", "/last").status, 200);

    let lines = proxy.output().lines().map(Result::unwrap);
    let mut seen = Vec::new();
    for line in lines {
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        seen.push(line);
        if seen.last().is_some_and(|line| line.contains("/last")) {
            break;
        }
    }
    let red = seen.iter().find(|line| line.contains("red")).unwrap();
    assert!(
        red.contains("info GET /x\\u{9b}31mred 200")
            || red.contains("INFO GET /x\\u{9b}31mred 200"),
        "{red}"
    );
    assert!(
        red.contains(" status=200") && red.contains(" why=ok"),
        "{red}"
    );
}

#[test]
fn level_and_access_apply_to_a_running_proxy() {
    let config = |log: &str, body: &str| {
        format!("{log}\n[[route]]\nname = \"r\"\nrespond.body = \"{body}\"\n")
    };
    let proxy = Proxy::start(&config("", "1"));
    let applied = || {
        let log = proxy.log();
        log.iter()
            .filter(|line| line["message"] == "configuration applied")
            .count()
    };
    proxy.apply(&config("log.level = \"error\"", "2"));
    proxy.get("/silent-level");
    // Access lines are no matter of level.
    of_path(&proxy, "/silent-level");
    proxy.apply(&config("log = { level = \"error\", access = false }", "3"));
    proxy.get("/unlogged");
    proxy.apply(&config("", "4"));
    proxy.get("/logged");
    of_path(&proxy, "/logged");
    eventually("the level is back", || applied() > 0);
    let log = proxy.log();
    assert!(!log.iter().any(|line| line["path"] == "/unlogged"));
    let generations = log
        .iter()
        .filter(|line| line["message"] == "configuration applied");
    let generations: Vec<_> = generations
        .map(|line| line["generation"].as_u64().unwrap())
        .collect();
    assert_eq!(generations.last(), Some(&4));
    assert!(
        !generations.contains(&2) && !generations.contains(&3),
        "{generations:?}"
    );
}

/// Sends requests many at a time on one connection, and reads every answer.
fn flood(proxy: &Told, requests: usize) {
    const AT_ONCE: usize = 500;
    let mut client = Client::connect(proxy.address());
    let batch = "GET /flood HTTP/1.1\r\nHost: a\r\n\r\n".repeat(AT_ONCE);
    for _ in 0..requests / AT_ONCE {
        client.stream().write_all(batch.as_bytes()).unwrap();
        for _ in 0..AT_ONCE {
            assert_eq!(client.response().status, 200);
        }
    }
}

/// A terminal that is stopped, a pipe that nobody reads: the requests go on.
#[test]
fn a_log_that_nobody_reads_loses_lines_and_holds_no_request_up() {
    const REQUESTS: usize = 2 * 30_000;
    let directory = TempDir::new().unwrap();
    file(&directory, "log.format = \"json\"\n");
    let mut proxy = Told::start(directory.path(), &["run", "--config", "pointsman.toml"]);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| flood(&proxy, REQUESTS / 2));
        }
    });
    let admin = proxy.admin();
    let metrics = || Metrics(get(admin, "/metrics").text());
    eventually("every request is counted", || {
        metrics().sum("pointsman_requests_total", &[]) == REQUESTS as f64
    });
    let dropped = || metrics().sum("pointsman_log_lines_dropped_total", &[]);
    assert!(dropped() > 0.0, "nothing was dropped");

    // What was not dropped is written once there is a reader: each line is in one or the other.
    let output = proxy.output();
    let written = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let lines = output.lines().map_while(Result::ok);
            for _ in lines.filter(|line| line.contains("/flood")) {
                written.fetch_add(1, Ordering::Relaxed);
            }
        });
        eventually("every line is written or counted as dropped", || {
            written.load(Ordering::Relaxed) + dropped() as usize == REQUESTS
        });
        drop(proxy);
    });
}

#[test]
fn a_value_in_a_text_log_cannot_be_taken_for_several() {
    let directory = TempDir::new().unwrap();
    file(&directory, "log.format = \"text\"\n");
    let mut proxy = Told::start(directory.path(), &["run", "--config", "pointsman.toml"]);
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.get("a status=200 why=ok", "/forged").status, 400);
    let mut lines = proxy.output().lines().map(Result::unwrap);
    let line = lines.find(|line| line.contains("/forged")).unwrap();
    assert!(line.contains("host=\"a status=200 why=ok\""), "{line}");
}
