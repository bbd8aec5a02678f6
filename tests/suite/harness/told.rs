//! The binary as people start it: on whatever arguments, known by what it tells them.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use super::command::command;
use super::{Metrics, eventually, get};

/// A proxy that has told people where it listens. Its standard output is read by nobody until
/// somebody asks for it.
#[derive(Debug)]
pub(crate) struct Told {
    process: Child,
    lines: Arc<Mutex<Vec<String>>>,
    output: Option<ChildStdout>,
}

impl Told {
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut process = command(directory)
            .args(arguments)
            .env("POINTSMAN_LISTEN", "127.0.0.1:0")
            .env("POINTSMAN_ADMIN_LISTEN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (told, errors) = (
            Arc::clone(&lines),
            process.stderr.take().expect("its errors"),
        );
        thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                told.lock().expect("what is told").push(line);
            }
        });
        let output = process.stdout.take();
        let program = Self {
            process,
            lines,
            output,
        };
        eventually("it tells how to try it", || {
            program.lines().iter().any(|line| line.contains("try"))
        });
        program
    }

    /// What it has told people so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("what is told").clone()
    }

    /// The URL on the line that begins with this.
    pub(crate) fn url(&self, label: &str) -> String {
        let lines = self.lines();
        let line = lines
            .iter()
            .find(|line| line.trim_start().starts_with(label));
        let mut words = line.into_iter().flat_map(|line| line.split(' '));
        let url = words.find(|word| word.starts_with("http://"));
        url.unwrap_or_else(|| panic!("no URL for {label} in {lines:#?}"))
            .to_owned()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        address(&self.url("listening on"))
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        address(&self.url("admin side"))
    }

    pub(crate) fn metrics(&self) -> Metrics {
        Metrics(get(self.admin(), "/metrics").text())
    }

    /// Its standard output from the beginning, for one reader.
    pub(crate) fn output(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.output.take().expect("nobody has it yet"))
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // It may have ended already, which is what the test wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Of `http://ADDRESS/PATH`.
fn address(url: &str) -> SocketAddr {
    let rest = url.trim_start_matches("http://");
    let address = rest.split('/').next().unwrap_or(rest);
    address.parse().expect("an address")
}
