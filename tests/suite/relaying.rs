//! The PROXY protocol as it goes out, and both ways beside programs that are not ours.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::harness::{Client, Origin, Proxy, eventually, free_port, get, tool};
use crate::proxy_protocol::{LINE, after, config, six};

/// An origin that reads a PROXY header of either version first, and answers each request with it.
fn told() -> Origin {
    Origin::raw(|mut stream| {
        let mut header = vec![0; 16];
        if stream.read_exact(&mut header[..1]).is_err() {
            return;
        }
        if header[0] == b'P' {
            header.truncate(1);
            let mut byte = [0];
            while !header.ends_with(b"\r\n") && stream.read_exact(&mut byte).is_ok() {
                header.push(byte[0]);
            }
        } else {
            stream.read_exact(&mut header[1..]).unwrap();
            header.resize(16 + usize::from(header[15]), 0);
            stream.read_exact(&mut header[16..]).unwrap();
        }
        let header: String = header
            .iter()
            .map(|byte| match byte {
                b' '..=b'~' => char::from(*byte).to_string(),
                _ => format!("<{byte:02x}>"),
            })
            .collect();
        let mut requests = BufReader::new(stream);
        loop {
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if requests.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
            }
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{header}",
                header.len()
            );
            requests.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    })
}

fn telling(version: &str, rest: &str, upstream: &str) -> String {
    config(rest, "app")
        + &format!("[upstream.app]\nserver = \"{upstream}\"\nproxy_protocol = \"{version}\"\n")
}

#[test]
fn an_upstream_is_told_the_client_on_each_connection_and_no_connection_serves_two() {
    let app = told();
    let rest = "server.workers = 1\nserver.trusted_proxies = [\"192.0.2.7\"]\n";
    let proxy = Proxy::with_config(&telling("v1", rest, &app.url()));
    let plain = proxy.listener("plain");
    let mut clients = [Client::connect(plain), Client::connect(plain)];
    for _ in 0..3 {
        for client in &mut clients {
            let own = client.stream().local_addr().unwrap();
            let expected = format!(
                "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}<0d><0a>",
                own.port(),
                plain.port()
            );
            assert_eq!(client.get("test", "/").text(), expected);
        }
    }
    assert_eq!(app.connections(), 6, "one for each request");
    let relayed = after(&proxy, LINE.as_bytes()).text();
    assert_eq!(
        relayed,
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 80<0d><0a>"
    );
    let mut client = Client::connect(proxy.listener("relayed"));
    let claim = "GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 2001:db8::5\r\n\r\n";
    client.send(LINE.to_owned() + claim);
    let trusted = client.response().text();
    let expected = "PROXY TCP6 2001:db8::5 ::ffff:198.51.100.1 0 80<0d><0a>";
    assert_eq!(
        trusted, expected,
        "a trusted proxy speaks for its client, whose port is not told"
    );
}

#[test]
fn an_upstream_may_be_told_in_version_two_and_a_reload_changes_what_it_is_told() {
    let app = told();
    let proxy = Proxy::with_config(&telling("v2", "", &app.url()));
    let header = after(&proxy, &six()).text();
    let start = "<0d><0a><0d><0a><00><0d><0a>QUIT<0a>!!<00>$ <01><0d><b8>";
    assert!(header.starts_with(start), "{header}");
    proxy.write_all(&telling("v1", "", &app.url()));
    assert_eq!(proxy.ask_reload().0, 200);
    let header = after(&proxy, LINE.as_bytes()).text();
    assert_eq!(header, "PROXY TCP4 192.0.2.7 198.51.100.1 56324 80<0d><0a>");
}

#[test]
fn a_client_without_an_address_is_told_as_unknown() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("web.sock");
    let app = told();
    let listener = format!("listen = \"unix:{}\"\n", path.display());
    for (version, expected) in [
        ("v1", "PROXY UNKNOWN<0d><0a>"),
        ("v2", "QUIT<0a>!<00><00><00>"),
    ] {
        let _proxy = Proxy::with_config(&telling(version, &listener, &app.url()));
        let mut stream = UnixStream::connect(&path).unwrap();
        let close = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        stream.write_all(close.as_bytes()).unwrap();
        let answer = std::io::read_to_string(stream).unwrap();
        assert!(answer.ends_with(expected), "{answer}");
    }
}

/// A program that runs until it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command, port: u16) -> Running {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let running = Running(quiet.spawn().unwrap());
    eventually("it listens", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    running
}

#[test]
#[ignore = "needs haproxy; make test runs it"]
fn haproxy_tells_its_clients_in_both_versions() {
    let origin = Origin::named("one");
    let proxy = Proxy::with_config(&config("", &origin.url()));
    let directory = TempDir::new().unwrap();
    for version in ["send-proxy", "send-proxy-v2"] {
        let (port, to) = (free_port(), proxy.listener("relayed"));
        let file = directory.path().join(version);
        let text = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n\
             listen relay\n bind 127.0.0.1:{port}\n server s {to} {version}\n"
        );
        fs::write(&file, text).unwrap();
        let _haproxy = run(tool("haproxy").arg("-db").arg("-f").arg(&file), port);
        // Of this network any address is ours to come from.
        let from = SocketAddr::from(([127, 0, 0, 9], 0));
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.bind(&from.into()).unwrap();
        socket
            .connect(&SocketAddr::from(([127, 0, 0, 1], port)).into())
            .unwrap();
        let mut stream = TcpStream::from(socket);
        let close = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        stream.write_all(close.as_bytes()).unwrap();
        let answer = std::io::read_to_string(stream).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{version}: {answer}");
        assert_eq!(
            origin.last().header("x-forwarded-for"),
            "127.0.0.9",
            "{version}"
        );
    }
}

#[test]
#[ignore = "needs nginx; make test runs it"]
fn nginx_takes_the_client_that_it_is_told_in_version_one_and_two() {
    let directory = TempDir::new().unwrap();
    let (port, root) = (free_port(), directory.path().display());
    let text = format!(
        "daemon off; master_process off; pid {root}/pid; error_log {root}/error;\n\
         events {{}}\n\
         http {{ access_log off; client_body_temp_path {root}/b; proxy_temp_path {root}/p;\n\
         fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
         server {{ listen 127.0.0.1:{port} proxy_protocol; location / {{ return 200\n\
         '$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port'; }} }} }}\n"
    );
    let file = directory.path().join("nginx.conf");
    fs::write(&file, text).unwrap();
    let mut nginx = tool("nginx");
    nginx
        .arg("-e")
        .arg(directory.path().join("error"))
        .arg("-c")
        .arg(&file);
    let _nginx = run(&mut nginx, port);
    let url = format!("http://127.0.0.1:{port}");
    for version in ["v1", "v2"] {
        let proxy = Proxy::with_config(&telling(version, "", &url));
        assert_eq!(after(&proxy, LINE.as_bytes()).text(), "192.0.2.7 56324 80");
        assert_eq!(after(&proxy, &six()).text(), "2001:db8::9 258 80");
        assert_eq!(get(proxy.listener("plain"), "/").status, 200);
    }
}
