//! WebSocket ends of a library that is not ours in a language that is not ours.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::harness::{Lasting, free_port, peer};
use crate::programs::Server;

const ROUNDS: usize = 50;
/// Of the text in each round, which a deflated connection does not send as it is.
const TEXT: usize = 2 * 2000 * 60;

/// The client, one round of messages at a time.
struct Talk {
    process: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Talk {
    fn start(url: &str) -> Self {
        let mut command = peer("websocket.py", &["talk", url]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        Self { process, said }
    }

    fn round(&mut self) {
        let told = self.process.stdin.as_mut().unwrap();
        told.write_all(b"go\n").unwrap();
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line, "ok\n", "the client has said above what is wrong");
    }

    fn end(mut self) -> Value {
        drop(self.process.stdin.take());
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        assert!(self.process.wait().unwrap().success());
        serde_json::from_str(&rest).unwrap()
    }
}

#[test]
#[ignore = "needs the Python websockets package; make test runs it"]
fn python_ends_agree_on_compression_and_talk_through_fifty_reloads() {
    let port = free_port();
    let server = Server::start(peer("websocket.py", &["serve", &port.to_string()]), port);
    let (lasting, proxy) = Lasting::to(&[("python", &server.url())]);
    let mut talk = Talk::start(&format!("ws://{}/python/socket", proxy.address()));
    for round in 0..ROUNDS {
        lasting.change_others(&proxy, round);
        talk.round();
    }
    let expected = json!({
        "subprotocol": "superchat",
        "extensions": ["permessage-deflate"],
        "by_server": [[4002, "enough"], [4002, "enough"]],
        "by_client": [[4001, "done"], [4001, "done"]],
    });
    assert_eq!(talk.end(), expected);
    proxy.counts("pointsman_tunnels", &[], 0.0);
    let metrics = proxy.metrics_at_rest();
    assert_eq!(metrics.sum("pointsman_errors_total", &[]), 0.0);
    let sent = metrics.sum("pointsman_request_bytes_total", &[("route", "python")]);
    let incompressible = (ROUNDS * 70_000 + (16 << 20)) as f64;
    assert!(sent > incompressible, "{sent}");
    assert!(sent < incompressible + (ROUNDS * TEXT) as f64, "{sent}");
}
