//! The real binary on a configuration of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use super::client::{Response, get, request};
use super::{DEADLINE, Metrics, eventually};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_pointsman");

/// What every configuration begins with: ports that the kernel picks, and logs for machines.
const PREFIX: &str = "listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\n";

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    process: Child,
    config: PathBuf,
    log: Arc<Mutex<Vec<Value>>>,
    admin: SocketAddr,
    _directory: Option<TempDir>,
}

impl Proxy {
    /// On a listener of any port, with this after it in the file.
    pub(crate) fn start(config: &str) -> Self {
        Self::with_config(&Self::text(config))
    }

    /// The whole file that [`Proxy::start`] and [`Proxy::write`] make of this.
    pub(crate) fn text(config: &str) -> String {
        format!("{PREFIX}{config}")
    }

    /// One route for everything, to this origin.
    pub(crate) fn to(upstream: &str) -> Self {
        Self::start(&format!(
            "[[route]]\nname = \"all\"\nupstream = \"{upstream}\"\n"
        ))
    }

    /// With this as the whole file. Its admin side must be on port 0.
    pub(crate) fn with_config(text: &str) -> Self {
        let directory = TempDir::new().expect("a directory for the configuration");
        let config = directory.path().join("pointsman.toml");
        std::fs::write(&config, text).expect("the configuration is written");
        let mut proxy = Self::on_file(&config);
        proxy._directory = Some(directory);
        proxy
    }

    /// On a file that the test looks after.
    pub(crate) fn on_file(config: &Path) -> Self {
        let mut command = Command::new(BINARY);
        command.args(["run", "--config"]).arg(config);
        Self::run(command, config)
    }

    /// Started by this command, in whatever way, on that file.
    pub(crate) fn run(mut command: Command, config: &Path) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command.spawn().expect("the binary starts");
        let log: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (lines, output) = (Arc::clone(&log), process.stdout.take().expect("its output"));
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                lines.lock().expect("the log").push(value);
            }
        });
        let errors = process.stderr.take().expect("its errors");
        thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                eprintln!("proxy: {line}");
            }
        });
        let config = config.to_owned();
        let admin = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut proxy = Self {
            process,
            config,
            log,
            admin,
            _directory: None,
        };
        let serving = proxy.wait_for_log("serving", |line| line["message"] == "serving");
        let admin = serving["admin"].as_str().expect("the admin address");
        proxy.admin = admin.parse().expect("an address");
        proxy
    }

    /// The listener that was opened last.
    pub(crate) fn address(&self) -> SocketAddr {
        self.last_listener(|_| true)
    }

    /// The listener of that name, opened last.
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        self.last_listener(|line| line["listener"] == name)
    }

    fn last_listener(&self, wanted: impl Fn(&Value) -> bool) -> SocketAddr {
        let log = self.log();
        let mut lines = log.iter().rev();
        let line = lines.find(|line| line["message"] == "listening" && wanted(line));
        let address = line
            .and_then(|line| line["address"].as_str())
            .expect("a listener");
        address.parse().expect("an address")
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        get(self.address(), path)
    }

    /// Puts this after the listener in the file, as [`Proxy::start`] does, in one write.
    pub(crate) fn write(&self, config: &str) {
        self.write_all(&Self::text(config));
    }

    /// Makes this the whole file.
    pub(crate) fn write_all(&self, text: &str) {
        std::fs::write(&self.config, text).expect("the configuration is written");
    }

    /// Writes as [`Proxy::write`] does and asks for a reload: status and outcome.
    pub(crate) fn reload(&self, config: &str) -> (u16, Value) {
        self.write(config);
        self.ask_reload()
    }

    /// Writes, reloads, and fails the test unless it was applied.
    #[track_caller]
    pub(crate) fn apply(&self, config: &str) {
        let (status, outcome) = self.reload(config);
        assert_eq!(
            (status, &outcome["result"]),
            (200, &"applied".into()),
            "{outcome:#}"
        );
    }

    pub(crate) fn ask_reload(&self) -> (u16, Value) {
        let response = request(self.admin, "POST", "/api/reload", &[], "");
        (
            response.status,
            serde_json::from_slice(&response.body).expect("JSON"),
        )
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_slice(&get(self.admin, "/api/status").body).expect("JSON")
    }

    pub(crate) fn generation(&self) -> u64 {
        self.status()["generation"].as_u64().expect("a generation")
    }

    pub(crate) fn metrics(&self) -> Metrics {
        Metrics(get(self.admin, "/metrics").text())
    }

    /// Once no request is being answered: a client may have the last byte before it is counted.
    pub(crate) fn metrics_at_rest(&self) -> Metrics {
        self.counts("pointsman_requests_in_flight", &[], 0.0);
        self.metrics()
    }

    /// Waits until the series of that name with these labels add up to exactly this.
    #[track_caller]
    pub(crate) fn counts(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let mut seen = 0.0;
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            seen = self.metrics().sum(name, labels);
            if seen == value {
                return;
            }
            thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{name} {labels:?} is {seen}, not {value}");
    }

    /// Every line logged so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.log.lock().expect("the log").clone()
    }

    /// The first line for which this holds, now or soon.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        eventually(&format!("a log line: {what}"), || {
            found = self.log().into_iter().find(|line| wanted(line));
            found.is_some()
        });
        found.expect("just found")
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", name, &id])
            .status()
            .expect("kill");
        assert!(sent.success(), "the process is there");
    }

    /// Does the process take no step, after a signal that stops it?
    pub(crate) fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()));
        stat.is_ok_and(|stat| stat.contains(") T "))
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.process.try_wait().expect("its status") {
                return status;
            }
            assert!(Instant::now() < end, "the process does not end");
            thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().expect("its status").is_some()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already, which is what the test wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
