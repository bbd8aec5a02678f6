//! The life of an exchange when one side is early, late, slow or gone.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::harness::{Client, DEADLINE, Origin, Proxy, Reply, eventually, get};

/// Reads a head; tells whether there was one.
fn skip_head(stream: &mut BufReader<TcpStream>) -> bool {
    let mut line = String::new();
    while stream.read_line(&mut line).unwrap_or(0) > 0 {
        if line == "\r\n" {
            return true;
        }
        line.clear();
    }
    false
}

#[test]
fn an_answer_that_comes_before_the_upload_ends_arrives_whole() {
    const UPLOAD: usize = 20 * 1024 * 1024;
    let body = "x".repeat(1024);
    let answer = [("/413", "413 Content Too Large"), ("/200", "200 OK")];
    let script = body.clone();
    let origin = Origin::raw(move |stream| {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        assert!(skip_head(&mut stream));
        let mut part = vec![0; 64 * 1024];
        stream.read_exact(&mut part).unwrap();
        let (_, status) = answer.iter().find(|(path, _)| line.contains(path)).unwrap();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 1024\r\n\r\n");
        // Closed with bytes unread: the kernel resets.
        let _ = stream
            .get_mut()
            .write_all(format!("{head}{script}").as_bytes());
    });
    let proxy = Proxy::to(&origin.url());
    let piece = vec![b'u'; 256 * 1024];
    for round in 0..100 {
        let (path, status) = answer[round % 2];
        let mut client = Client::connect(proxy.address());
        let framing = if round % 4 < 2 {
            format!("Content-Length: {UPLOAD}\r\n\r\n")
        } else {
            format!("Transfer-Encoding: chunked\r\n\r\n{UPLOAD:x}\r\n")
        };
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{framing}"));
        let mut writer = client.stream().try_clone().unwrap();
        let piece = piece.clone();
        let upload = thread::spawn(move || {
            let mut left = UPLOAD;
            while left > 0 && writer.write_all(&piece).is_ok() {
                left -= piece.len();
            }
        });
        let response = client.response();
        assert_eq!(response.status.to_string(), status[..3], "round {round}");
        assert!(response.body == body.as_bytes(), "round {round}");
        drop(client);
        upload.join().unwrap();
    }
    assert_eq!(
        proxy.metrics_at_rest().sum("pointsman_errors_total", &[]),
        0.0
    );
    proxy.counts("pointsman_requests_in_flight", &[], 0.0);
}

/// Answers each connection once, keeps it idle for so long, and closes.
fn closing_origin(idle: Duration, asked: &Arc<AtomicUsize>) -> Origin {
    let asked = Arc::clone(asked);
    Origin::new(move |_| {
        asked.fetch_add(1, Ordering::Relaxed);
        Reply::Take(Box::new(move |mut stream| {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            stream.write_all(answer).unwrap();
            thread::sleep(idle);
        }))
    })
}

#[test]
fn an_origin_that_closes_idle_connections_fails_no_get_and_repeats_no_post() {
    for idle in [Duration::ZERO, Duration::from_millis(1)] {
        let asked = Arc::<AtomicUsize>::default();
        let origin = closing_origin(idle, &asked);
        let proxy = Proxy::to(&origin.url());
        let mut client = Client::connect(proxy.address());
        for round in 0..1000 {
            let response = client.get("a", "/");
            assert_eq!(response.status, 200, "{round}, idle {idle:?}");
        }
        asked.store(0, Ordering::Relaxed);
        let mut failed = 0;
        for round in 1..=300 {
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nonce");
            let response = client.response();
            match (response.status, response.header("x-pointsman-error")) {
                (200, "") => {}
                (502, "upstream_reset") => failed += 1,
                other => panic!("{other:?}"),
            }
            assert!(asked.load(Ordering::Relaxed) <= round, "one was repeated");
        }
        println!("{failed} of 300 POSTs met a closing connection, idle {idle:?}");
    }
}

/// Answers the first request, then takes every request and closes without a word.
#[test]
fn a_get_is_tried_twice_at_most_and_only_on_a_connection_used_before() {
    let silent = Origin::new(|_| Reply::RawClose(Vec::new()));
    let proxy = Proxy::to(&silent.url());
    for round in 1..=10 {
        let response = proxy.get("/");
        let seen = (response.status, response.header("x-pointsman-error"));
        assert_eq!(seen, (502, "upstream_reset"));
        assert_eq!(silent.received().len(), round, "a fresh connection");
    }
    for (method, attempts) in [
        ("GET", 2),
        ("HEAD", 2),
        ("OPTIONS", 2),
        ("PUT", 1),
        ("DELETE", 1),
        ("POST", 1),
    ] {
        let origin = Origin::new(|received| match received.target.as_str() {
            "/first" => Reply::text("first"),
            _ => Reply::RawClose(Vec::new()),
        });
        let proxy = Proxy::to(&origin.url());
        let mut client = Client::connect(proxy.address());
        // One worker may have no connection to use again: the same client stays with one.
        assert_eq!(client.get("a", "/first").status, 200);
        client.send(format!("{method} /then HTTP/1.1\r\nHost: a\r\n\r\n"));
        let response = client.try_response(method == "HEAD").unwrap();
        assert_eq!(response.status, 502, "{method}");
        assert_eq!(origin.received().len(), 1 + attempts, "{method}");
        let opened = if attempts == 2 { 2 } else { 1 };
        assert_eq!(origin.connections(), opened, "{method}");
    }
}

#[test]
fn a_fresh_connection_that_is_reset_at_once_is_not_tried_again() {
    let origin = Origin::raw(|stream| {
        Socket::from(stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    });
    let proxy = Proxy::to(&origin.url());
    for round in 1..=200 {
        let response = proxy.get("/");
        assert_eq!(response.status, 502);
        eventually("as many connections as requests", || {
            origin.connections() >= round
        });
        assert_eq!(origin.connections(), round);
    }
}

#[test]
fn trailers_pass_both_ways() {
    let origin = Origin::raw(|stream| {
        let mut stream = BufReader::new(stream);
        assert!(skip_head(&mut stream));
        let mut body = String::new();
        while !body.ends_with("0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n") {
            assert_ne!(stream.read_line(&mut body).unwrap(), 0, "{body:?}");
        }
        let answer = "HTTP/1.1 200 OK\r\nTrailer: X-Status\r\nTransfer-Encoding: chunked\r\n\r\n\
                      2\r\nok\r\n0\r\nX-Status: fine\r\n\r\n";
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
    });
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nhi\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n",
    );
    let head = client.try_head().unwrap();
    assert_eq!((head.status, head.header("trailer")), (200, "X-Status"));
    let rest: Vec<String> = (0..5).map(|_| client.line().unwrap()).collect();
    assert_eq!(rest, ["2", "ok", "0", "x-status: fine", ""]);
}

#[test]
fn an_upload_that_ends_early_is_never_taken_for_whole() {
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let origin = Origin::named("o");
        let proxy = Proxy::to(&origin.url());
        let mut client = Client::connect(proxy.address());
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n4\r\nhalf\r\n"
        ));
        eventually("the origin is asked", || origin.connections() == 1);
        client.stream().shutdown(Shutdown::Write).unwrap();
        let _ = client.until_closed();
        proxy.counts("pointsman_requests_in_flight", &[], 0.0);
        proxy.counts("pointsman_errors_total", &[("why", "client_gone")], 1.0);
        assert_eq!(origin.received(), [], "{framing}");
    }
}

/// More than a request is there already, so that the end comes behind bytes that nobody reads yet.
#[test]
fn a_client_that_leaves_behind_a_pipelined_byte_takes_the_upstreams_work_with_it() {
    for more in ["G", "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let (ended, ends) = std::sync::mpsc::channel();
        let origin = Origin::new(move |_| {
            let ended = ended.clone();
            Reply::Take(Box::new(move |mut stream| {
                let _ = stream.read(&mut [0]);
                ended.send(Instant::now()).unwrap();
            }))
        });
        let proxy = Proxy::to(&origin.url());
        let mut client = Client::connect(proxy.address());
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{more}"));
        eventually("the origin is asked", || !origin.received().is_empty());
        let left = Instant::now();
        drop(client);
        let took = ends.recv_timeout(DEADLINE).unwrap() - left;
        assert!(took < Duration::from_secs(1), "{took:?}");
        proxy.counts("pointsman_requests_total", &[("code", "499")], 1.0);
        proxy.counts("pointsman_requests_in_flight", &[], 0.0);
        assert_eq!(origin.received().len(), 1);
    }
}

#[test]
fn an_old_client_keeps_its_connection_only_if_it_asks_to() {
    let origin = Origin::new(|received| match received.target.as_str() {
        "/chunks" => Reply::Raw(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_vec(),
        ),
        _ => Reply::text("ok"),
    });
    let proxy = Proxy::to(&origin.url());
    for (path, line, keeps) in [
        ("/", "", false),
        ("/", "Connection: keep-alive\r\n", true),
        ("/", "Connection: Keep-Alive, close\r\n", false),
        // Without chunks only the end of the connection ends it.
        ("/chunks", "Connection: keep-alive\r\n", false),
    ] {
        let mut client = Client::connect(proxy.address());
        client.send(format!("GET {path} HTTP/1.0\r\nHost: a\r\n{line}\r\n"));
        let response = client.response();
        assert_eq!(response.text(), "ok", "{path} {line}");
        assert_eq!(response.all("transfer-encoding"), [""; 0]);
        let expected = if keeps { "keep-alive" } else { "close" };
        assert_eq!(response.header("connection"), expected, "{path} {line}");
        if keeps {
            client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
            assert_eq!(client.response().text(), "ok");
        }
        assert_eq!(client.until_closed().unwrap(), b"", "{path} {line}");
    }
}

fn with_timeouts(times: &str, origin: &Origin) -> Proxy {
    Proxy::with_config(&format!(
        "admin.listen = \"127.0.0.1:0\"\n\
         [[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\ntimeout = {{ {times} }}\n\
         [[route]]\nupstream = \"{}\"\n",
        origin.url()
    ))
}

#[test]
fn a_head_that_does_not_end_in_time_is_told_so_first_or_later_on_a_connection() {
    let origin = Origin::named("o");
    let proxy = with_timeouts("header = \"400ms\"", &origin);
    for first in [true, false] {
        let mut client = Client::connect(proxy.address());
        if !first {
            assert_eq!(client.get("a", "/").status, 200);
        }
        let mut writer = client.stream().try_clone().unwrap();
        let began = Instant::now();
        let dribble = thread::spawn(move || {
            for byte in b"GET / HTTP/1.1\r\nX: "
                .iter()
                .chain(std::iter::repeat(&b'x'))
            {
                if writer.write_all(&[*byte]).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        let response = client.response();
        let took = began.elapsed();
        assert_eq!(
            (response.status, response.header("connection")),
            (408, "close")
        );
        assert!(
            took >= Duration::from_millis(300) && took < DEADLINE / 4,
            "{took:?}"
        );
        assert_eq!(client.until_closed().unwrap(), b"");
        drop(client);
        dribble.join().unwrap();
    }
}

#[test]
fn an_idle_connection_is_closed_in_silence_and_not_before_its_time() {
    let origin = Origin::named("o");
    let proxy = with_timeouts("idle = \"400ms\"", &origin);
    let mut client = Client::connect(proxy.address());
    for _ in 0..3 {
        assert_eq!(client.get("a", "/").status, 200);
        // A pause that is shorter than the time, several of which are longer.
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(client.get("a", "/").status, 200);
    let began = Instant::now();
    assert_eq!(client.until_closed().unwrap(), b"");
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(300) && took < DEADLINE / 4,
        "{took:?}"
    );
    assert_eq!(get(proxy.address(), "/").status, 200);
}
