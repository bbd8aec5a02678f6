//! A browser that loads a page by HTTP/2 and talks WebSocket on the same connection.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    Authority, DEADLINE, Origin, Reply, TlsSite, eventually, free_port, peer, route, tool, within,
};
use crate::programs::Server;

const PAGE: &str = include_str!("../peers/websocket.html");

/// A browser without a window, which leaves when it is dropped.
struct Browser {
    process: Child,
    _profile: TempDir,
}

impl Browser {
    fn load(url: &str) -> Self {
        let profile = TempDir::new().unwrap();
        let mut command = tool("chromium");
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
            ])
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--disable-sync",
            ])
            .args(["--disable-component-update", "--disable-dev-shm-usage"])
            // The authority of a test is in no store.
            .arg("--ignore-certificate-errors")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            process: command.spawn().unwrap(),
            _profile: profile,
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to, it ends its own processes, too.
        let id = self.process.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &id]).status();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "needs chromium and the Python websockets package; make test runs it"]
fn chromium_talks_websocket_on_the_connection_that_its_page_came_by() {
    let port = free_port();
    let echo = Server::start(peer("websocket.py", &["serve", &port.to_string()]), port);
    let origin = Origin::new(|received| match received.target.as_str() {
        "/" => Reply::Whole(
            200,
            vec![("content-type", "text/html".to_owned())],
            PAGE.into(),
        ),
        "/beside" => Reply::text("beside it"),
        _ => Reply::text(""),
    });
    let site = TlsSite::new(&[("site", &Authority::new().issue(&["localhost"]))]);
    let routes = [
        route("page", "/*", &origin.url()),
        route("socket", "/socket", &echo.url()),
    ];
    // So that what it asks for while its WebSockets are open comes by their connection.
    let one = "limit.connections = 1\n";
    let text = TlsSite::text(&["site"], one, &routes.concat());
    let proxy = site.serve(&text.replace("log.access = false\n", ""));
    let browser = Browser::load(&format!("https://localhost:{}/", proxy.address().port()));
    let mut told = None;
    // It takes a while to start, beside other tests.
    within(DEADLINE * 3, "the browser tells how it went", || {
        let received = origin.received();
        told = received.into_iter().find(|seen| seen.target == "/result");
        told.is_some()
    });
    let told: Value = serde_json::from_slice(&told.unwrap().body).unwrap();
    let expected = json!({
        "page": "h2",
        "subprotocol": "superchat",
        "extension": "permessage-deflate",
        "binary": true,
        "text": true,
        "beside": "beside it",
        "by_server": [4002, "enough", true],
        "by_client": [4001, "done", true],
    });
    assert_eq!(told, expected);
    proxy.counts("pointsman_tunnels", &[], 0.0);
    let ended = |line: &&Value| {
        line["path"] == "/socket"
            && line["protocol"] == "HTTP/2.0"
            && line["status"] == 101
            && line["why"] == "ok"
    };
    eventually("the log tells of both", || {
        proxy.log().iter().filter(ended).count() == 2
    });
    drop(browser);
}
