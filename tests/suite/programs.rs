//! Beside programs that are not ours: origins, clients and the Prometheus that scrapes.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{
    Client, Origin, Proxy, Reply, eventually, free_port, get, passes, request, tool,
};

/// A program that serves on a port until it is dropped.
pub(crate) struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    pub(crate) fn start(mut command: Command, port: u16) -> Self {
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let server = Self { process, address };
        eventually("the server listens", || TcpStream::connect(address).is_ok());
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const LARGE: usize = 10 * 1024 * 1024;

/// A directory with two files to serve.
fn files() -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("hello.txt"), "hello\n").unwrap();
    fs::write(directory.path().join("large.bin"), large()).unwrap();
    directory
}

fn large() -> Vec<u8> {
    (0..LARGE)
        .map(|at| at.wrapping_mul(31).to_le_bytes()[1])
        .collect()
}

fn nginx(directory: &Path) -> Server {
    let (port, root) = (free_port(), directory.display());
    let config = format!(
        "daemon off; master_process off; pid {root}/pid; error_log {root}/error;\n\
         events {{}}\n\
         http {{ access_log off; client_body_temp_path {root}/b; proxy_temp_path {root}/p;\n\
         fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
         server {{ listen 127.0.0.1:{port}; root {root};\n\
         location = /connection {{ return 200 $connection; }} }} }}\n"
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, config).unwrap();
    let mut command = tool("nginx");
    command
        .arg("-e")
        .arg(directory.join("error"))
        .arg("-c")
        .arg(file);
    Server::start(command, port)
}

/// What every origin that serves files must come through as.
fn serves_files(proxy: &Proxy) {
    let hello = proxy.get("/hello.txt");
    assert_eq!((hello.status, hello.text().as_str()), (200, "hello\n"));
    assert_eq!(hello.header("content-type"), "text/plain");
    let large = proxy.get("/large.bin");
    assert_eq!(large.header("content-length"), LARGE.to_string());
    assert!(
        large.body == self::large(),
        "the large file arrives changed"
    );
    let modified = hello.header("last-modified");
    let headers = [("If-Modified-Since", modified)];
    let unchanged = request(proxy.address(), "GET", "/hello.txt", &headers, "");
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    let head = request(proxy.address(), "HEAD", "/large.bin", &[], "");
    assert_eq!(head.header("content-length"), LARGE.to_string());
    assert_eq!(proxy.get("/none").status, 404);
    assert_eq!(
        proxy.metrics_at_rest().sum("pointsman_errors_total", &[]),
        0.0
    );
}

#[test]
#[ignore = "needs nginx; make test runs it"]
fn files_of_nginx_come_through_on_connections_that_are_kept() {
    let directory = files();
    let origin = nginx(directory.path());
    let proxy = Proxy::start(&format!(
        "server.workers = 1\n[[route]]\nname = \"all\"\nupstream = \"{}\"\n",
        origin.url()
    ));
    serves_files(&proxy);
    let part = request(
        proxy.address(),
        "GET",
        "/hello.txt",
        &[("Range", "bytes=1-2")],
        "",
    );
    assert_eq!((part.status, part.text().as_str()), (206, "el"));
    // nginx numbers its connections.
    let mut client = Client::connect(proxy.address());
    let numbers: Vec<_> = (0..50)
        .map(|_| client.get("a", "/connection").text())
        .collect();
    assert!(
        numbers.iter().all(|number| *number == numbers[0]),
        "{numbers:?}"
    );
}

#[test]
#[ignore = "needs python3; make test runs it"]
fn files_of_a_python_server_that_closes_after_each_come_through() {
    let directory = files();
    let port = free_port();
    let mut command = tool("python3");
    command
        .args([
            "-m",
            "http.server",
            "--bind",
            "127.0.0.1",
            &port.to_string(),
        ])
        .current_dir(directory.path());
    let origin = Server::start(command, port);
    let proxy = Proxy::to(&origin.url());
    serves_files(&proxy);
    for _ in 0..50 {
        assert_eq!(proxy.get("/hello.txt").status, 200);
    }
    assert_eq!(
        request(proxy.address(), "POST", "/hello.txt", &[], "x").status,
        501
    );
}

#[test]
#[ignore = "needs curl; make test runs it"]
fn curl_gets_sends_and_keeps_its_connection() {
    let proxy = Proxy::start("[[route]]\nname = \"demo\"\nupstream = \"builtin:demo\"\n");
    let url = format!("http://{}", proxy.address());
    let curl = |arguments: &[&str]| {
        let fixed = ["-sS", "--max-time", "20", "--noproxy", "*"];
        passes(tool("curl").args(fixed).args(arguments))
    };
    let seen: Value = serde_json::from_str(&curl(&[&format!("{url}/x?y=%zz")])).unwrap();
    assert_eq!(
        (&seen["method"], &seen["uri"]),
        (&"GET".into(), &"/x?y=%zz".into())
    );
    let seen: Value = serde_json::from_str(&curl(&["-d", "a=b", &url])).unwrap();
    assert_eq!(
        (&seen["method"], &seen["body"]),
        (&"POST".into(), &"a=b".into())
    );
    let head = curl(&["-I", &format!("{url}/x")]);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let events = curl(&["-N", &format!("{url}/stream?events=3&ms=1")]);
    assert_eq!(events.matches("data: ").count(), 3);
    // Two URLs in one run: the connection is kept. `%{num_connects}` of the second is 0.
    let twice = [
        url.as_str(),
        &url,
        "-o",
        "/dev/null",
        "-o",
        "/dev/null",
        "-w",
        "%{num_connects}",
    ];
    assert_eq!(curl(&twice), "10");
}

/// curl waits up to a second for `100 Continue` before it sends a body of this size.
#[test]
#[ignore = "needs curl; make test runs it"]
fn an_upload_that_expects_to_be_told_to_continue_has_no_pause() {
    let directory = files();
    let origin = Origin::new(|received| Reply::text(received.body.len().to_string()));
    let proxy = Proxy::to(&origin.url());
    let file = directory.path().join("large.bin");
    let target = format!("http://{}/large.bin", proxy.address());
    let said = passes(
        tool("curl")
            .args(["-sS", "--max-time", "20", "--noproxy", "*"])
            .args(["-H", "Expect: 100-continue", "-w", " %{time_total}", "-T"])
            .arg(file)
            .arg(target),
    );
    let (length, seconds) = said.split_once(' ').unwrap();
    assert_eq!(length, LARGE.to_string());
    assert!(seconds.parse::<f64>().unwrap() < 0.9, "{seconds} s");
    assert_eq!(origin.last().all("expect"), [""; 0]);
    assert!(origin.last().body == large(), "the upload arrives changed");
}

#[test]
#[ignore = "needs promtool; make test runs it"]
fn promtool_has_no_complaint_about_the_metrics() {
    let proxy = Proxy::start(
        "[[route]]\nname = \"demo\"\nupstream = \"builtin:demo\"\n\
         [[route]]\nname = \"quo\\\"ted\\\\\"\npath = \"/q\"\nrespond = {}\n\
         [[route]]\nname = \"down\"\npath = \"/down\"\nupstream = \"http://127.0.0.1:1\"\n",
    );
    for path in [
        "/",
        "/q",
        "/down",
        "/../x",
        "/stream?events=1",
        "/status/500",
    ] {
        proxy.get(path);
    }
    proxy.counts("pointsman_requests_total", &[], 6.0);
    let directory = TempDir::new().unwrap();
    let text = directory.path().join("metrics");
    fs::write(&text, proxy.metrics().0).unwrap();
    let mut command = tool("promtool");
    command
        .args(["check", "metrics"])
        .stdin(fs::File::open(text).unwrap());
    let run = command.output().unwrap();
    let complaints = String::from_utf8_lossy(&run.stderr);
    assert!(
        run.status.success() && complaints.is_empty(),
        "{complaints}"
    );
}

/// The value of a query that gives one sample; none yet without one.
fn query(prometheus: &Server, promql: &str) -> Option<f64> {
    let encoded: String = promql.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = get(
        prometheus.address,
        &format!("/api/v1/query?query={encoded}"),
    );
    let answer: Value = serde_json::from_slice(&answer.body).ok()?;
    let value = answer["data"]["result"][0]["value"][1].as_str()?;
    value.parse().ok().filter(|value: &f64| value.is_finite())
}

fn prometheus(directory: &Path, target: SocketAddr) -> Server {
    let config = format!(
        "global: {{ scrape_interval: 1s }}\n\
         scrape_configs: [{{ job_name: pointsman, static_configs: [{{ targets: ['{target}'] }}] }}]\n"
    );
    let file = directory.join("prometheus.yml");
    fs::write(&file, config).unwrap();
    let port = free_port();
    let mut command = tool("prometheus");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            directory.join("data").display()
        ))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"));
    Server::start(command, port)
}

#[test]
#[ignore = "needs prometheus; make test runs it"]
fn prometheus_scrapes_and_answers_rate_and_quantile_of_a_route() {
    let proxy = Proxy::start(
        "[[route]]\nname = \"slow\"\nupstream = \"builtin:demo\"\n\
         [[route]]\nname = \"quick\"\npath = \"/quick\"\nrespond = {}\n",
    );
    let directory = TempDir::new().unwrap();
    let prometheus = prometheus(directory.path(), proxy.admin());
    let rate = "sum(rate(pointsman_requests_total{route=\"slow\",code=\"200\"}[10s]))";
    let quantile = "histogram_quantile(0.99, sum by (le) \
                    (rate(pointsman_request_duration_seconds_bucket{route=\"slow\"}[10s])))";
    let mut client = Client::connect(proxy.address());
    let mut seen = (None, None);
    eventually("Prometheus has scraped often enough", || {
        client.get("a", "/slow?ms=60");
        client.get("a", "/quick");
        seen = (query(&prometheus, rate), query(&prometheus, quantile));
        seen.0 > Some(0.0) && seen.1.is_some()
    });
    let (rate, quantile) = (seen.0.unwrap(), seen.1.unwrap());
    assert!(
        rate > 0.5 && rate < 17.0,
        "{rate} requests a second of 60 ms"
    );
    assert!(
        quantile > 0.05 && quantile < 1.0,
        "{quantile} s for requests of 60 ms"
    );
    assert_eq!(query(&prometheus, "up"), Some(1.0));
    let scraped = query(
        &prometheus,
        "sum(pointsman_requests_total{route=\"quick\"})",
    )
    .unwrap();
    assert!(
        scraped
            <= proxy
                .metrics()
                .sum("pointsman_requests_total", &[("route", "quick")])
    );
}
