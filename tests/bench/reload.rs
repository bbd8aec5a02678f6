//! From saving a file of 10,000 routes to being served by it. Run by `cargo bench`.
//!
//! The real binary, its default settings, the file replaced by a rename as editors do. Of the time,
//! `reload.settle` (150 ms) is waiting for the writer to have finished.
#![allow(
    clippy::expect_used,
    reason = "a benchmark that cannot run ends by saying why"
)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 9;
const LIMIT: Duration = Duration::from_secs(60);

fn main() {
    for routes in [1, 100, 10_000] {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("pointsman.toml");
        save(&file, routes, 0);
        let (mut process, address, admin) = start(&file);
        let mut saved: Vec<Duration> = (1..=ROUNDS)
            .map(|n| by_saving(&file, routes, n, address))
            .collect();
        let mut asked: Vec<Duration> = (1..=ROUNDS)
            .map(|n| by_asking(&file, routes, ROUNDS + n, admin))
            .collect();
        println!(
            "{routes:>6} routes: saved to served {:>7.1} ms; POST /api/reload answered in {:>7.1} ms",
            median(&mut saved),
            median(&mut asked),
        );
        process.kill().expect("our own process");
        process.wait().expect("its end");
    }
}

fn save(file: &Path, routes: usize, version: usize) {
    let mut text = String::from(
        "listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\nlog.access = false\n",
    );
    let _ = write!(
        text,
        "[[route]]\npath = \"/version\"\nrespond = {{ body = \"{version}\" }}\n"
    );
    for number in 1..routes {
        let _ = write!(
            text,
            "[[route]]\nname = \"r{number}\"\nhost = \"h{}.example.com\"\npath = \"/s{number}/*\"\n\
             upstream = \"http://127.0.0.1:{}\"\nrequest_header = {{ set = {{ X-N = \"{number}\" }} }}\n",
            number / 10,
            3000 + number % 50,
        );
    }
    let draft = file.with_extension("draft");
    std::fs::write(&draft, text).expect("the draft is written");
    std::fs::rename(draft, file).expect("the file is replaced");
}

fn start(file: &Path) -> (Child, SocketAddr, SocketAddr) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(["run", "--config"])
        .arg(file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut log = BufReader::new(process.stdout.take().expect("its output"));
    let listening = field(&mut log, "listening", "address");
    let admin = field(&mut log, "serving", "admin");
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    (process, listening, admin)
}

fn field(log: &mut impl BufRead, message: &str, key: &str) -> SocketAddr {
    loop {
        let mut line = String::new();
        assert!(
            log.read_line(&mut line).expect("a line") > 0,
            "the proxy ended"
        );
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        if line["message"] == message {
            return line[key]
                .as_str()
                .expect("an address")
                .parse()
                .expect("an address");
        }
    }
}

fn by_saving(file: &Path, routes: usize, version: usize, address: SocketAddr) -> Duration {
    save(file, routes, version);
    let start = Instant::now();
    while !ask(address, "GET", "/version").ends_with(&format!("\r\n\r\n{version}")) {
        assert!(start.elapsed() < LIMIT, "version {version} is not served");
    }
    start.elapsed()
}

fn by_asking(file: &Path, routes: usize, version: usize, admin: SocketAddr) -> Duration {
    save(file, routes, version);
    let start = Instant::now();
    let answer = ask(admin, "POST", "/api/reload");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    start.elapsed()
}

fn ask(address: SocketAddr, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the proxy accepts connections");
    let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("the request is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}
