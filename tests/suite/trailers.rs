//! Trailers reach those who read them, and say nothing that a head may not.

use std::io::{BufRead, BufReader, Write};
use std::sync::{Arc, Mutex};

use crate::harness::{Client, Origin, Proxy};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                      2\r\nok\r\n0\r\nX-Status: fine\r\n\r\n";

/// Answers in chunks with a trailer; keeps the lines after the last chunk of each request.
pub(crate) fn chunked() -> (Origin, Arc<Mutex<Vec<String>>>) {
    let trailers: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&trailers);
    let origin = Origin::raw(move |stream| {
        let mut stream = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let ended = line == "\r\n" && lines.iter().any(|line| line == "0\r\n");
            lines.push(line);
            if ended {
                let last = lines.iter().position(|line| line == "0\r\n").unwrap();
                let own = lines.drain(..).skip(last + 1);
                *seen.lock().unwrap() = own.filter(|line| line != "\r\n").collect();
                stream.get_mut().write_all(ANSWER.as_bytes()).unwrap();
            }
        }
    });
    (origin, trailers)
}

#[test]
fn trailers_of_an_answer_go_to_clients_that_say_they_read_them() {
    let (origin, _) = chunked();
    let proxy = Proxy::to(&origin.url());
    for (line, trailer) in [
        ("TE: trailers\r\n", &["x-status: fine"][..]),
        ("te: gzip, Trailers;q=1\r\n", &["x-status: fine"]),
        ("TE: gzip\r\n", &[]),
        ("", &[]),
    ] {
        let mut client = Client::connect(proxy.address());
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{line}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ));
        assert_eq!(client.try_head().unwrap().status, 200);
        let expected = [&["2", "ok", "0"], trailer, &[""]].concat();
        let rest: Vec<String> = expected.iter().map(|_| client.line().unwrap()).collect();
        assert_eq!(rest, expected, "{line:?}");
        proxy.counts("pointsman_errors_total", &[], 0.0);
    }
}

#[test]
fn a_client_claims_nothing_in_trailers_that_it_could_not_in_the_head() {
    let (origin, trailers) = chunked();
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\
         X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_Proto: https\r\nForwarded: for=6.6.6.6\r\n\
         Proxy-Authorization: Basic x\r\nKeep-Alive: 5\r\n\r\n",
    );
    assert_eq!(client.response().status, 200);
    assert_eq!(*trailers.lock().unwrap(), ["x-sum: 1\r\n"]);
}
