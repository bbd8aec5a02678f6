//! Tunnels that are still, or of which one side has finished; and what is carried besides WebSocket.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{
    Backend, Client, DEADLINE, Origin, Proxy, Reply, Socket, Usage, eventually, route,
};

/// Much less than a test may take, and much more than a machine may be late.
const SHORT: Duration = Duration::from_millis(400);
/// Between two signs of life: some of them fit into [`SHORT`].
const PACE: Duration = Duration::from_millis(50);
/// Long enough for [`SHORT`] to have passed several times.
const ROUNDS: u32 = 30;

/// Agrees to switch to `foo`; what the closure makes of the connection arrives at the receiver.
fn origin<T: Send + 'static>(
    serve: impl Fn(&mut TcpStream) -> T + Clone + Send + Sync + 'static,
) -> (Origin, Receiver<T>) {
    let (sender, receiver) = mpsc::channel();
    let origin = Origin::new(move |_| {
        let (serve, sender) = (serve.clone(), sender.clone());
        Reply::Take(Box::new(move |mut stream| {
            let head = "HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            // The test may have what it wanted, and be gone.
            let _ = sender.send(serve(&mut stream));
        }))
    });
    (origin, receiver)
}

fn proxy(upstream: &str, timeout: &str) -> Proxy {
    let route = route("all", "/*", upstream);
    Proxy::start(&format!(
        "{route}upgrade = \"foo\"\ntimeout = {{ {timeout} }}\n"
    ))
}

fn open(proxy: &Proxy) -> Client {
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n");
    let head = client.try_head().unwrap();
    assert_eq!((head.status, head.header("upgrade")), (101, "foo"));
    client
}

fn finish(client: &Client) {
    client.stream().shutdown(Shutdown::Write).unwrap();
}

/// A piece at a time, for longer than a tunnel in which nothing moves would last.
fn slowly(stream: &mut impl Write) {
    for _ in 0..ROUNDS {
        stream.write_all(b"piece ").unwrap();
        thread::sleep(PACE);
    }
}

fn pieces() -> Vec<u8> {
    b"piece ".repeat(ROUNDS as usize)
}

/// The one tunnel of the proxy ended so: what its log line and the counters say.
#[track_caller]
fn ended(proxy: &Proxy, why: &str) -> Value {
    let line = proxy.wait_for_log("the end of the tunnel", |line| line["status"] == 101);
    assert_eq!(line["why"], why, "{line:#}");
    proxy.counts("pointsman_tunnels", &[], 0.0);
    let errors = |labels: &[_]| proxy.metrics().sum("pointsman_errors_total", labels);
    let (of_why, all) = (errors(&[("why", why)]), errors(&[]));
    let expected = if why == "ok" { 0.0 } else { 1.0 };
    assert_eq!((of_why, all), (expected, expected));
    line
}

#[test]
fn a_client_that_has_finished_still_gets_what_the_upstream_sends_however_slowly() {
    let (origin, asked) = origin(|stream| {
        let mut asked = String::new();
        stream.read_to_string(&mut asked).unwrap();
        slowly(stream);
        asked
    });
    let proxy = proxy(&origin.url(), "half_closed = \"400ms\"");
    let mut client = open(&proxy);
    client.send("question");
    finish(&client);
    assert_eq!(client.until_closed().unwrap(), pieces());
    assert_eq!(asked.recv_timeout(DEADLINE).unwrap(), "question");
    let line = ended(&proxy, "ok");
    let bytes = (&line["bytes_in"], &line["bytes_out"]);
    assert_eq!(bytes, (&8.into(), &pieces().len().into()));
}

#[test]
fn an_upstream_that_has_finished_still_gets_what_the_client_sends_however_slowly() {
    let (origin, got) = origin(|stream| {
        stream.write_all(b"enough").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        got
    });
    let proxy = proxy(&origin.url(), "half_closed = \"400ms\"");
    let mut client = open(&proxy);
    assert_eq!(client.until_closed().unwrap(), b"enough");
    slowly(&mut client.stream());
    finish(&client);
    assert_eq!(got.recv_timeout(DEADLINE).unwrap(), pieces());
    ended(&proxy, "ok");
}

#[test]
fn a_tunnel_that_one_side_has_finished_and_the_other_forgotten_is_cut_and_told() {
    for by_client in [true, false] {
        let (origin, ours) = origin(move |stream| {
            if by_client {
                stream.read_to_end(&mut Vec::new()).unwrap();
            } else {
                stream.shutdown(Shutdown::Write).unwrap();
            }
            stream.try_clone().unwrap()
        });
        let proxy = proxy(&origin.url(), "half_closed = \"400ms\"");
        let began = Instant::now();
        let mut client = open(&proxy);
        if by_client {
            finish(&client);
        }
        assert_eq!(client.until_closed().unwrap(), b"");
        let mut upstream = ours.recv_timeout(DEADLINE).unwrap();
        upstream.read_to_end(&mut Vec::new()).unwrap();
        ended(&proxy, "tunnel_idle");
        assert!(began.elapsed() >= SHORT);
    }
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_cut_at_its_time_and_told() {
    let (origin, rest) = origin(|stream| {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        rest
    });
    // A tunnel that has no half-closed end does not mind how short that time is.
    let proxy = proxy(&origin.url(), "tunnel = \"400ms\", half_closed = \"0s\"");
    let began = Instant::now();
    let mut client = open(&proxy);
    client.send("x");
    assert_eq!(client.until_closed().unwrap(), b"");
    assert_eq!(rest.recv_timeout(DEADLINE).unwrap(), b"x");
    assert!(began.elapsed() >= SHORT);
    ended(&proxy, "tunnel_idle");
}

#[test]
fn bytes_one_way_keep_a_tunnel_alive() {
    let (origin, _) = origin(slowly);
    let proxy = proxy(&origin.url(), "tunnel = \"400ms\"");
    let mut client = open(&proxy);
    let expected = pieces();
    assert_eq!(client.bytes(expected.len()).unwrap(), expected);
    drop(client);
    proxy.counts("pointsman_tunnels", &[], 0.0);
}

#[test]
fn an_idle_websocket_gets_a_goodbye_and_one_with_nothing_but_pings_does_not() {
    let backend = Backend::new("one");
    let route = route("all", "/*", &backend.url());
    let proxy = Proxy::start(&format!("{route}timeout.tunnel = \"400ms\"\n"));
    let mut pings = Socket::open(proxy.address(), "/socket");
    let mut idle = Socket::open(proxy.address(), "/socket");
    let idle = thread::spawn(move || idle.goodbye());
    for round in 0..ROUNDS {
        let payload = round.to_be_bytes();
        let pong = pings.exchange(Message::Ping(payload.to_vec().into()));
        assert_eq!(pong, Message::Pong(payload.to_vec().into()));
        thread::sleep(PACE);
    }
    assert_eq!(idle.join().unwrap(), Some(1001));
    assert_eq!(backend.goodbyes(), [Some(1001)]);
    pings.echo();
    let idle = [("route", "all"), ("why", "tunnel_idle")];
    proxy.counts("pointsman_errors_total", &idle, 1.0);
}

#[test]
fn a_drained_tunnel_of_another_protocol_ends_without_a_frame_in_its_bytes() {
    let (origin, rest) = origin(|stream| {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        rest
    });
    let proxy = Proxy::start(&format!(
        "reload.drain_timeout = \"0s\"\n{}upgrade = [\"websocket\", \"Foo\"]\n",
        route("all", "/*", &origin.url())
    ));
    let mut client = open(&proxy);
    client.send("x");
    proxy.counts("pointsman_tunnels", &[], 1.0);
    proxy.apply("reload.drain_timeout = \"0s\"\n[[route]]\nrespond = {}\n");
    assert_eq!(client.until_closed().unwrap(), b"");
    assert_eq!(rest.recv_timeout(DEADLINE).unwrap(), b"x");
    proxy.wait_for_log("the end of the tunnel", |line| line["why"] == "draining");
}

#[test]
fn a_thousand_tunnels_of_which_one_side_has_finished_leave_no_files_behind() {
    let (origin, ours) = origin(|stream| {
        let asked = stream.read(&mut [0]).unwrap() == 1;
        if asked {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        stream.try_clone().unwrap()
    });
    let proxy = proxy(&origin.url(), "half_closed = \"400ms\"");
    drop(open(&proxy));
    let one = || ours.recv_timeout(DEADLINE).unwrap();
    drop(one());
    proxy.counts("pointsman_tunnels", &[], 0.0);
    let before = Usage::of(proxy.id()).files;
    for _ in 0..10 {
        let mut clients: Vec<_> = (0..100).map(|_| open(&proxy)).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            match number % 2 {
                0 => finish(client),
                _ => client.send("x"),
            }
        }
        // Both ends are held, and neither says any more.
        let _upstreams: Vec<_> = clients.iter().map(|_| one()).collect();
        proxy.counts("pointsman_tunnels", &[], 0.0);
    }
    eventually("every file is given back", || {
        Usage::of(proxy.id()).files <= before
    });
}
