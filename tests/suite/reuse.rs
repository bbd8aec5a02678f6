//! Using an upstream's connection again: never one that has ended, or on which something was said
//! that nobody asked for. What is sent there may be lost, and only some requests can be sent twice.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use crate::harness::{Client, DEADLINE, End, Origin, Proxy, eventually, route};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const POST: &str = "POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nonce";

/// An origin that answers the first request on each connection and hands the connection over.
fn handed_over() -> (Origin, Receiver<TcpStream>) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let origin = Origin::raw(move |mut stream| {
        let (mut seen, mut byte) = (Vec::new(), [0]);
        while !(seen.starts_with(b"GET") && seen.ends_with(b"\r\n\r\n") || seen.ends_with(b"once"))
        {
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            seen.push(byte[0]);
        }
        if stream.write_all(OK.as_bytes()).is_ok() {
            // The test may have ended.
            let _ = tell.lock().unwrap().send(stream);
        }
    });
    (origin, told)
}

/// The proxy's end of an origin's connection.
fn proxys_end(stream: &TcpStream) -> End {
    End::new(stream.peer_addr().unwrap(), stream.local_addr().unwrap())
}

#[test]
fn a_connection_that_ended_or_spoke_unasked_while_it_was_idle_takes_no_request() {
    const TIMEOUT: &str =
        "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for (unasked, ends) in [
        ("", true),
        (TIMEOUT, true),
        (TIMEOUT, false),
        ("\r\n", false),
    ] {
        let (origin, connections) = handed_over();
        let proxy = Proxy::start(&format!(
            "server.workers = 1\n{}",
            route("app", "/app", &origin.url())
        ));
        let mut client = Client::connect(proxy.address());
        assert_eq!(client.get("a", "/app").text(), "ok");
        let mut idle = connections.recv_timeout(DEADLINE).unwrap();
        idle.write_all(unasked.as_bytes()).unwrap();
        if ends {
            idle.shutdown(Shutdown::Both).unwrap();
            let end = proxys_end(&idle);
            eventually("the proxy's kernel knows", || end.has_ended());
        }
        let name = format!("{unasked:?}, ended: {ends}");
        client.send(POST);
        assert_eq!(client.response().status, 200, "{name}");
        assert_eq!(origin.connections(), 2, "{name}");
    }
}

/// Requests that are answered without a look at any socket, one after the other.
const BUSY: usize = 300;

/// The end of the idle connection arrives while the worker is busy with what it knows already: its
/// poller has not been told, but its kernel would be asked.
#[test]
fn a_connection_that_ended_while_its_worker_was_busy_takes_no_request_that_cannot_be_sent_again() {
    let (origin, connections) = handed_over();
    let proxy = Proxy::start(&format!(
        "server.workers = 1\nlog.access = false\n\
         [[route]]\npath = \"/own\"\nrespond = {{ body = \"own\" }}\n{}",
        route("app", "/app", &origin.url())
    ));
    let own = "GET /own HTTP/1.1\r\nHost: a\r\n\r\n".repeat(BUSY);
    let mut rounds = 0;
    for _ in 0..50 {
        let mut client = Client::connect(proxy.address());
        assert_eq!(client.get("a", "/app").text(), "ok");
        let mut idle = connections.recv_timeout(DEADLINE).unwrap();
        client.send(format!("{own}{POST}"));
        assert_eq!(client.response().text(), "own");
        proxy.signal("STOP");
        eventually("it is stopped", || proxy.is_stopped());
        idle.set_nonblocking(true).unwrap();
        // Stopped too late, the request is on its way already.
        let in_time = idle.read(&mut [0]).is_err();
        idle.shutdown(Shutdown::Both).unwrap();
        let end = proxys_end(&idle);
        eventually("the proxy's kernel knows", || end.has_ended());
        proxy.signal("CONT");
        for _ in 1..BUSY {
            assert_eq!(client.response().text(), "own");
        }
        let response = client.response();
        if in_time {
            let seen = (response.status, response.header("x-pointsman-error"));
            assert_eq!(seen, (200, ""));
            // Its connection must not take the next request, for nobody would read it.
            drop(connections.recv_timeout(DEADLINE).unwrap());
            rounds += 1;
        }
        if rounds == 5 {
            return;
        }
    }
    panic!("it was never stopped in time");
}
