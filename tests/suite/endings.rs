//! How an answer ends: what is whole looks whole to its client, and what broke off never does.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::harness::{Client, DEADLINE, End, Origin, Proxy, Reply, eventually, route};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\nhello";
const OLD: &str = "GET {} HTTP/1.0\r\nHost: a\r\n\r\n";

/// Sends these bytes and then nothing, for as long as the other side wants.
fn held(bytes: &'static str) -> Reply {
    Reply::Take(Box::new(move |mut stream: TcpStream| {
        stream.write_all(bytes.as_bytes()).unwrap();
        let _ = stream.read(&mut [0]);
    }))
}

/// Sends these bytes and resets when the other side has passed them on.
fn reset(bytes: &'static str) -> Reply {
    Reply::Take(Box::new(move |mut stream: TcpStream| {
        stream.write_all(bytes.as_bytes()).unwrap();
        let proxy = End::new(stream.peer_addr().unwrap(), stream.local_addr().unwrap());
        eventually("it is read", || proxy.has_read_all());
        Socket::from(stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }))
}

/// A client of HTTP/1.0 has nothing but the end of the connection to tell it where an answer ends.
fn ask_as_of_old(proxy: &Proxy, target: &str) -> Client {
    let mut client = Client::connect(proxy.address());
    client.send(OLD.replace("{}", target));
    let head = client.try_head().unwrap();
    assert_eq!(head.status, 200, "{target}");
    for length in ["content-length", "transfer-encoding"] {
        assert_eq!(head.all(length), [""; 0], "{target}");
    }
    assert_eq!(head.header("connection"), "close", "{target}");
    client
}

#[track_caller]
fn assert_reset(mut client: Client, name: &str) {
    let end = client.until_closed();
    let end = end.map(|bytes| bytes.len()).map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset), "{name}");
}

#[test]
fn an_answer_that_its_end_alone_ends_is_reset_if_it_breaks_off_and_closed_if_it_is_whole() {
    let origin = Origin::new(|received| match received.target.as_str() {
        "/chunks" => Reply::Raw(format!("{CHUNKED}0\r\n\r\n").into_bytes()),
        "/close" => Reply::RawClose(UNTIL_CLOSE.as_bytes().to_vec()),
        "/short" => Reply::RawClose(CHUNKED.as_bytes().to_vec()),
        "/malformed" => Reply::RawClose(format!("{CHUNKED}x\r\n").into_bytes()),
        "/reset" => reset(UNTIL_CLOSE),
        "/stalled" => held(CHUNKED),
        other => panic!("{other}"),
    });
    let route = route("all", "/*", &origin.url());
    let proxy = Proxy::start(&format!("{route}timeout.idle = \"300ms\"\n"));
    for target in ["/chunks", "/close"] {
        let mut client = ask_as_of_old(&proxy, target);
        assert_eq!(client.until_closed().unwrap(), b"hello", "{target}");
    }
    for target in ["/short", "/malformed", "/reset", "/stalled"] {
        assert_reset(ask_as_of_old(&proxy, target), target);
    }
    // Whoever can tell from the framing is not reset: what came before could be lost by it.
    let mut client = Client::connect(proxy.address());
    client.send("GET /short HTTP/1.1\r\nHost: a\r\n\r\n");
    client.try_head().unwrap();
    assert_eq!(client.until_closed().unwrap(), b"5\r\nhello\r\n");
}

#[test]
fn an_answer_that_its_end_alone_ends_is_reset_when_the_process_ends_in_the_middle_of_it() {
    let origin = Origin::new(|_| held(CHUNKED));
    for signal in ["TERM", "KILL"] {
        let route = route("all", "/*", &origin.url());
        let mut proxy = Proxy::start(&format!("server.shutdown_grace = \"100ms\"\n{route}"));
        let client = ask_as_of_old(&proxy, "/");
        proxy.signal(signal);
        proxy.wait();
        assert_reset(client, signal);
    }
}

#[test]
fn an_answer_that_its_end_alone_ends_is_reset_when_its_client_is_given_up() {
    let origin = Origin::new(|_| {
        Reply::Take(Box::new(|mut stream: TcpStream| {
            let head = b"HTTP/1.1 200 OK\r\n\r\n";
            stream.write_all(head).unwrap();
            while stream.write_all(&[b'x'; 64 * 1024]).is_ok() {}
        }))
    });
    let proxy = Proxy::with_config(&format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n[[listener]]\n\
         address = \"127.0.0.1:0\"\ntimeout = {{ write = \"300ms\" }}\n{}",
        route("all", "/*", &origin.url())
    ));
    let client = ask_as_of_old(&proxy, "/");
    proxy.counts("pointsman_errors_total", &[("why", "client_stalled")], 1.0);
    assert_reset(client, "stalled");
}

/// A connection that takes little before its client reads.
fn narrow(proxy: &Proxy) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    socket.connect(&proxy.address().into()).unwrap();
    socket.into()
}

/// More than the client and the proxy's socket to it take, and less than the proxy's other one.
const LATE: usize = 220_000;

/// The client has not read its answer yet when something is wrong with the rest of its request.
#[test]
fn an_answer_that_is_here_whole_is_not_cut_off_by_what_the_client_sends_after_it() {
    for framing in [
        "Content-Length: 220000",
        "Transfer-Encoding: chunked",
        "Connection: close",
    ] {
        for (fault, sent) in [
            ("malformed", "no chunk\r\n"),
            ("stalled", ""),
            ("large", "f\r\n0123456789abcde\r\n"),
        ] {
            let name = format!("{framing} {fault}");
            let (tell, told) = channel();
            let tell = Mutex::new(tell);
            let origin = Origin::raw(move |mut stream| {
                let mut head = Vec::new();
                while !head.ends_with(b"1\r\nu\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                let body = "x".repeat(LATE);
                let answer = match framing {
                    "Transfer-Encoding: chunked" => format!("{LATE:x}\r\n{body}\r\n0\r\n\r\n"),
                    _ => body,
                };
                let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{answer}");
                stream.write_all(answer.as_bytes()).unwrap();
                if framing == "Connection: close" {
                    stream.shutdown(Shutdown::Write).unwrap();
                }
                let own = End::new(stream.local_addr().unwrap(), stream.peer_addr().unwrap());
                eventually("the proxy's kernel has it all", || own.has_sent_all());
                tell.lock().unwrap().send(()).unwrap();
                let _ = stream.read_to_end(&mut Vec::new());
            });
            let route = route("all", "/*", &origin.url());
            // On a busy machine the other faults could come later than this.
            let idle = if fault == "stalled" { "500ms" } else { "60s" };
            let limits = format!("limit.body = \"8B\"\ntimeout.idle = \"{idle}\"\n");
            let proxy = Proxy::start(&format!("{route}{limits}"));
            let mut client = Client::on(narrow(&proxy));
            client
                .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nu\r\n");
            told.recv_timeout(DEADLINE).expect(&name);
            client.send(sent);
            eventually("the fault is noticed", || client.far_end().has_read_all());
            if fault == "stalled" {
                std::thread::sleep(Duration::from_millis(1000));
            }
            let response = client.try_response(false);
            let length = response.map(|response| (response.status, response.body.len()));
            assert_eq!(length.ok(), Some((200, LATE)), "{name}");
        }
    }
}
