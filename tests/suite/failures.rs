//! Upstreams that are down, slow or broken: the client is told which, and no request fails that
//! another server could answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::{DEADLINE, Origin, Proxy, Reply, Response, free_port, request};

/// A socket whose queue is full: the kernel drops whoever knocks.
pub(crate) struct BlackHole {
    pub(crate) address: SocketAddr,
    _socket: Socket,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            queue.push(stream);
            assert!(queue.len() < 100, "the queue does not fill");
        }
        Self {
            address,
            _socket: socket,
            _queue: queue,
        }
    }
}

/// A route of that name to that upstream, for the path of its name.
fn route(name: &str, url: &str) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"{name}\"\n\
         timeout.response = \"300ms\"\n\
         [upstream.{name}]\nserver = \"{url}\"\ntimeout.connect = \"300ms\"\n"
    )
}

#[track_caller]
fn assert_failed(proxy: &Proxy, name: &str, status: u16, why: &str) -> Response {
    let response = proxy.get(&format!("/{name}"));
    let seen = (response.status, response.header("x-pointsman-error"));
    assert_eq!(seen, (status, why), "{}", response.text());
    assert!(response.text().contains(why), "{}", response.text());
    let labels = [("route", name), ("why", why)];
    proxy.counts("pointsman_errors_total", &labels, 1.0);
    let code = status.to_string();
    proxy.counts(
        "pointsman_requests_total",
        &[("route", name), ("code", &code)],
        1.0,
    );
    response
}

#[test]
fn each_way_an_upstream_fails_has_its_own_word_and_status() {
    let hole = BlackHole::new();
    let silent = Origin::raw(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let closing = Origin::new(|_| Reply::RawClose(Vec::new()));
    let garbled = Origin::new(|_| Reply::RawClose(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()));
    let config = [
        route("swallowed", &format!("http://{}", hole.address)),
        route("refused", &format!("http://127.0.0.1:{}", free_port())),
        route("unknown", "http://no-such-host.invalid"),
        route("silent", &silent.url()),
        route("closing", &closing.url()),
        route("garbled", &garbled.url()),
    ];
    let proxy = Proxy::start(&config.concat());
    let table = [
        ("refused", 502, "connect_refused", true),
        ("unknown", 502, "connect_failed", true),
        ("closing", 502, "upstream_reset", false),
        ("garbled", 502, "upstream_invalid", false),
        ("swallowed", 504, "connect_timeout", true),
        ("silent", 504, "header_timeout", false),
    ];
    for (name, status, why, again) in table {
        let asked = Instant::now();
        let response = assert_failed(&proxy, name, status, why);
        assert_eq!(!response.header("retry-after").is_empty(), again, "{why}");
        if status == 504 {
            let took = asked.elapsed();
            assert!(
                took >= Duration::from_millis(300) && took < DEADLINE / 4,
                "{why}: {took:?}"
            );
        }
    }
}

#[test]
fn a_slow_upload_is_not_a_slow_answer() {
    let origin = Origin::new(|received| Reply::text(format!("{}", received.body.len())));
    let proxy = Proxy::start(&route("slow", &origin.url()));
    let mut client = crate::harness::Client::connect(proxy.address());
    client.send("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    for _ in 0..10 {
        // Twice the time for an answer in all, with no pause as long as it.
        std::thread::sleep(Duration::from_millis(60));
        client.send("x");
    }
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "10"));
}

#[test]
fn a_server_that_is_down_fails_no_request() {
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    let down = free_port();
    let proxy = Proxy::start(&format!(
        "[[route]]\nupstream = \"app\"\n\
         [upstream.app]\nserver = [\"{}\", \"http://127.0.0.1:{down}\", \"{}\"]\n",
        one.url(),
        two.url()
    ));
    for round in 0..100 {
        let (method, body) = [("GET", ""), ("POST", "whole")][round % 2];
        let response = request(proxy.address(), method, "/", &[], body);
        assert_eq!(response.status, 200, "{round}");
    }
    let received = [one.received(), two.received()];
    for requests in &received {
        assert!(requests.len() >= 20, "{} of 100", requests.len());
        let bodies = requests.iter().filter(|received| received.method == "POST");
        assert!(bodies.into_iter().all(|received| received.body == b"whole"));
    }
    assert_eq!(received.concat().len(), 100);
    assert_eq!(
        proxy.metrics_at_rest().sum("pointsman_errors_total", &[]),
        0.0
    );
}

#[test]
fn without_any_server_that_is_up_the_answer_says_so() {
    let servers = [free_port(), free_port()].map(|port| format!("\"http://127.0.0.1:{port}\""));
    let proxy = Proxy::start(&format!(
        "[[route]]\nupstream = \"app\"\n[upstream.app]\nserver = [{}]\n",
        servers.join(", ")
    ));
    let response = request(proxy.address(), "POST", "/", &[], "whole");
    let seen = (response.status, response.header("x-pointsman-error"));
    assert_eq!(seen, (502, "connect_refused"));
}

/// A request that reached a server may have been acted upon: it is not sent to another.
#[test]
fn a_request_that_a_server_has_seen_is_not_sent_twice() {
    let closing = || Origin::new(|_| Reply::RawClose(Vec::new()));
    let (one, two) = (closing(), closing());
    let proxy = Proxy::start(&format!(
        "[[route]]\nupstream = \"app\"\n[upstream.app]\nserver = [\"{}\", \"{}\"]\n",
        one.url(),
        two.url()
    ));
    for round in 1..=10 {
        let response = request(proxy.address(), "POST", "/", &[], "once");
        assert_eq!(
            (response.status, response.header("x-pointsman-error")),
            (502, "upstream_reset")
        );
        assert_eq!(one.received().len() + two.received().len(), round);
    }
}

#[test]
fn an_upstream_that_resets_is_told_from_one_that_refuses() {
    let origin = Origin::new(|_| {
        Reply::Take(Box::new(|mut stream: TcpStream| {
            stream.write_all(b"HTTP/1.1 200").unwrap();
            Socket::from(stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }))
    });
    let proxy = Proxy::start(&route("resetting", &origin.url()));
    assert_failed(&proxy, "resetting", 502, "upstream_reset");
}

#[test]
fn a_request_sent_again_carries_the_host_of_the_server_that_gets_it() {
    let asked = AtomicUsize::new(0);
    let fickle = Origin::new(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::text("once"),
        _ => Reply::RawClose(Vec::new()),
    });
    let steady = Origin::named("steady");
    let proxy = Proxy::start(&format!(
        "server.workers = 1\nroute = [{{ upstream = \"two\", upstream_host = \"upstream\" }}]\n\
         [upstream.two]\nserver = [\"{}\", \"{}\"]\n",
        fickle.url(),
        steady.url()
    ));
    // Both are asked in turn; the third request meets the connection that the first one left.
    for _ in 0..3 {
        assert_eq!(proxy.get("/").status, 200);
    }
    assert_eq!(
        fickle.received().len(),
        2,
        "it was asked once more, and closed"
    );
    assert_eq!(steady.last().header("host"), steady.address.to_string());
}
