//! How the tunnels of WebSockets over HTTP/2 begin, stall and end: by their clients, by their origins,
//! by the clock. Each is a stream, and leaves the others of its connection alone.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use h2::Reason;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::extended::{Tunnel, wants};
use crate::harness::http2::{
    DATA, HEADERS, RawHttp2, ask, asks, fields, frame, h2, open, part, soon,
};
use crate::harness::{Backend, DEADLINE, Origin, Proxy, Reply, route, switch};

/// Much less than a test may take, and much more than a machine may be late.
const SHORT: Duration = Duration::from_secs(2);
/// Between two signs of life: some of them fit into [`SHORT`].
const PACE: Duration = Duration::from_millis(50);
/// Long enough for [`SHORT`] to have passed several times.
const ROUNDS: u32 = 120;

/// Agrees to each WebSocket, with these first words; what the closure makes of the connection arrives at
/// the receiver.
pub(crate) fn origin<T: Send + 'static>(
    words: &'static str,
    serve: impl Fn(&mut TcpStream) -> T + Clone + Send + Sync + 'static,
) -> (Origin, Receiver<T>) {
    let (sender, receiver) = mpsc::channel();
    let origin = Origin::new(move |received| {
        if received.header("upgrade").is_empty() {
            return Reply::text("plain");
        }
        let head = switch(received) + words;
        let (serve, sender) = (serve.clone(), sender.clone());
        Reply::Take(Box::new(move |mut stream| {
            stream.write_all(head.as_bytes()).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            // The test may have what it wanted, and be gone.
            let _ = sender.send(serve(&mut stream));
        }))
    });
    (origin, receiver)
}

/// What is heard up to the end.
pub(crate) fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    rest
}

pub(crate) fn echo(stream: &mut TcpStream) {
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        if stream.write_all(&piece[..read]).is_err() {
            break;
        }
    }
}

pub(crate) fn proxy(upstream: &str, timeout: &str) -> Proxy {
    let route = route("all", "/*", upstream);
    Proxy::start(&format!("{route}timeout = {{ {timeout} }}\n"))
}

fn pieces() -> Vec<u8> {
    b"piece ".repeat(ROUNDS as usize)
}

/// The one tunnel of the proxy ended so: what its log line and the counters say.
#[track_caller]
fn ended(proxy: &Proxy, why: &str) -> Value {
    let line = proxy.wait_for_log("the end of the tunnel", |line| line["status"].is_u64());
    assert_eq!(line["why"], why, "{line:#}");
    proxy.counts("pointsman_tunnels", &[], 0.0);
    proxy.counts("pointsman_requests_in_flight", &[], 0.0);
    let errors = |labels: &[_]| proxy.metrics().sum("pointsman_errors_total", labels);
    let (of_why, all) = (errors(&[("why", why)]), errors(&[]));
    let expected = if why == "ok" { 0.0 } else { 1.0 };
    assert_eq!((of_why, all), (expected, expected));
    line
}

#[test]
fn early_bytes_of_either_side_are_kept() {
    let (origin, _) = origin("hello ", echo);
    let proxy = proxy(&origin.url(), "");
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let (response, mut send) = wants(&requests, "/").await;
        // It does not wait for the agreement.
        send.send_data(Bytes::from_static(b"early "), false)
            .unwrap();
        let mut tunnel = Tunnel::of(response, send).await;
        assert_eq!(tunnel.hear_at_least(12).await.unwrap(), b"hello early ");
    });
}

#[test]
fn a_client_that_has_finished_still_gets_what_the_origin_sends_however_slowly() {
    let (origin, asked) = origin("", |stream| {
        let asked = rest(stream);
        for _ in 0..ROUNDS {
            stream.write_all(b"piece ").unwrap();
            thread::sleep(PACE);
        }
        asked
    });
    let proxy = proxy(&origin.url(), "half_closed = \"2s\"");
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let mut tunnel = Tunnel::open(&requests, "/").await;
        tunnel.say("question").await.unwrap();
        tunnel.finish();
        assert_eq!(tunnel.hear_all().await.unwrap(), pieces());
        assert!(tunnel.receive.is_end_stream(), "an end, and no reset");
    });
    assert_eq!(asked.recv_timeout(DEADLINE).unwrap(), b"question");
    let line = ended(&proxy, "ok");
    let bytes = (&line["bytes_in"], &line["bytes_out"]);
    assert_eq!(bytes, (&8.into(), &pieces().len().into()));
}

#[test]
fn an_origin_that_has_finished_still_gets_what_the_client_sends_however_slowly() {
    let (origin, got) = origin("enough", |stream| {
        stream.shutdown(Shutdown::Write).unwrap();
        rest(stream)
    });
    let proxy = proxy(&origin.url(), "half_closed = \"2s\"");
    h2(async {
        let (requests, connection) = open(proxy.address()).await;
        let mut tunnel = Tunnel::open(&requests, "/").await;
        assert_eq!(tunnel.hear_all().await.unwrap(), b"enough");
        for _ in 0..ROUNDS {
            tunnel.say("piece ").await.unwrap();
            tokio::time::sleep(PACE).await;
        }
        tunnel.finish();
        drop(tunnel);
        part(requests, connection).await;
    });
    assert_eq!(got.recv_timeout(DEADLINE).unwrap(), pieces());
    ended(&proxy, "ok");
}

#[test]
fn a_client_that_has_finished_and_an_origin_that_forgets_it_are_parted_and_told() {
    let (origin, ours) = origin("", |stream| {
        rest(stream);
        stream.try_clone().unwrap()
    });
    let proxy = proxy(&origin.url(), "half_closed = \"2s\"");
    let began = Instant::now();
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let mut tunnel = Tunnel::open(&requests, "/").await;
        tunnel.finish();
        assert_eq!(tunnel.hear_all().await.unwrap(), [0x88, 2, 3, 0xe9]);
        assert!(tunnel.receive.is_end_stream(), "an end, and no reset");
        let answer = ask(&requests, asks("GET", "/")).await.unwrap();
        assert_eq!(answer.body, b"plain");
    });
    assert!(began.elapsed() >= SHORT);
    let mut upstream = ours.recv_timeout(DEADLINE).unwrap();
    rest(&mut upstream);
    let why = [("why", "tunnel_idle")];
    proxy.counts("pointsman_errors_total", &why, 1.0);
    proxy.counts("pointsman_tunnels", &[], 0.0);
}

/// Browsers leave it to the server to end such a stream.
#[test]
fn an_origin_that_has_finished_gets_the_stream_ended_though_its_client_says_nothing_more() {
    // All of the smaller is with the client's connection when the end is waited for.
    for length in [200_000, 2_000_000] {
        ends_after(length);
    }
}

fn ends_after(length: usize) {
    let (origin, ours) = origin("", move |stream| {
        stream.write_all(&vec![b'x'; length]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.try_clone().unwrap()
    });
    let proxy = proxy(&origin.url(), "");
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let mut tunnel = Tunnel::open(&requests, "/").await;
        let ours = tokio::task::spawn_blocking(move || ours.recv_timeout(DEADLINE));
        let mut upstream = ours.await.unwrap().unwrap();
        // Longer than that: nothing of what is still to be read is lost.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(tunnel.hear_all().await.unwrap().len(), length);
        assert!(tunnel.receive.is_end_stream(), "an end, and no reset");
        tokio::task::spawn_blocking(move || rest(&mut upstream))
            .await
            .unwrap();
        let reset = std::future::poll_fn(|cx| tunnel.send.poll_reset(cx)).await;
        assert_eq!(reset.unwrap(), Reason::NO_ERROR);
    });
    ended(&proxy, "ok");
}

#[test]
fn an_idle_one_gets_a_goodbye_and_one_with_nothing_but_pings_does_not() {
    let backend = Backend::new("origin");
    let proxy = proxy(&backend.url(), "tunnel = \"2s\"");
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let mut pings = Tunnel::open(&requests, "/socket").await.socket().await;
        let mut idle = Tunnel::open(&requests, "/socket").await.socket().await;
        let idle = tokio::spawn(async move {
            let close = idle.next().await;
            while idle.next().await.is_some() {}
            (close, idle)
        });
        for round in 0..ROUNDS {
            let payload = Bytes::copy_from_slice(&round.to_be_bytes());
            pings.send(Message::Ping(payload.clone())).await.unwrap();
            let pong = pings.next().await.unwrap().unwrap();
            assert_eq!(pong, Message::Pong(payload));
            tokio::time::sleep(PACE).await;
        }
        let (close, idle) = idle.await.unwrap();
        let Some(Ok(Message::Close(Some(frame)))) = close else {
            panic!("{close:?}");
        };
        assert_eq!(u16::from(frame.code), 1001);
        assert!(
            idle.get_ref().receive.is_end_stream(),
            "an end, and no reset"
        );
        let told = || backend.goodbyes() == [Some(1001)];
        soon("the origin is told too", told).await;
        pings.send(Message::text("still")).await.unwrap();
        assert_eq!(pings.next().await.unwrap().unwrap(), Message::text("still"));
    });
    let idle = [("route", "all"), ("why", "tunnel_idle")];
    proxy.counts("pointsman_errors_total", &idle, 1.0);
}

#[test]
fn a_reset_by_the_client_ends_its_own_tunnel_and_is_not_taken_for_an_end() {
    // Neither whether its origin closes when it hears of it nor whether it holds on makes a difference.
    for holds_on in [true, false] {
        for reason in [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
            is_ended_by(reason, holds_on);
        }
    }
}

fn is_ended_by(reason: Reason, holds_on: bool) {
    let (origin, ended) = origin("", move |stream| {
        echo(stream);
        holds_on.then(|| stream.try_clone().unwrap())
    });
    let (living, _) = self::origin("", echo);
    let routes = [
        route("all", "/*", &origin.url()),
        route("living", "/living", &living.url()),
    ];
    let proxy = Proxy::start(&routes.concat());
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let mut other = Tunnel::open(&requests, "/living").await;
        let mut tunnel = Tunnel::open(&requests, "/").await;
        tunnel.say("words").await.unwrap();
        assert_eq!(tunnel.hear_at_least(5).await.unwrap(), b"words");
        tunnel.send.send_reset(reason);
        let ended = tokio::task::spawn_blocking(move || ended.recv_timeout(DEADLINE));
        let _held = ended.await.unwrap().unwrap();
        proxy.counts("pointsman_tunnels", &[], 1.0);
        let why = [("route", "all"), ("why", "client_gone")];
        proxy.counts("pointsman_errors_total", &why, 1.0);
        other.say("still here").await.unwrap();
        assert_eq!(other.hear_at_least(10).await.unwrap(), b"still here");
    });
}

#[test]
fn a_reset_after_both_have_said_goodbye_is_an_end_like_any_other() {
    let (goodbye, answer) = ([0x88, 0x80, 1, 2, 3, 4], [0x88, 0]);
    let (origin, ended) = origin("", move |stream| {
        stream.read_exact(&mut [0; 6]).unwrap();
        stream.write_all(&answer).unwrap();
        // It leaves it to the client to end the connection.
        rest(stream)
    });
    let proxy = proxy(&origin.url(), "");
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let mut tunnel = Tunnel::open(&requests, "/").await;
        tunnel.say(goodbye.to_vec()).await.unwrap();
        assert_eq!(tunnel.hear_at_least(2).await.unwrap(), answer);
        tunnel.send.send_reset(Reason::CANCEL);
        let ended = tokio::task::spawn_blocking(move || ended.recv_timeout(DEADLINE));
        assert_eq!(ended.await.unwrap().unwrap(), b"");
    });
    self::ended(&proxy, "ok");
}

#[test]
fn a_request_that_is_taken_back_before_its_answer_leaves_nothing_at_the_origin() {
    let (sender, gone) = mpsc::channel();
    let origin = Origin::raw(move |mut stream| {
        let mut seen = Vec::new();
        let _ = stream.read_to_end(&mut seen);
        sender.send(seen).unwrap();
    });
    let proxy = proxy(&origin.url(), "");
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let (response, mut send) = wants(&requests, "/").await;
        soon("it arrives", || origin.connections() == 1).await;
        send.send_reset(Reason::CANCEL);
        assert!(response.await.is_err());
        let seen = tokio::task::spawn_blocking(move || gone.recv_timeout(DEADLINE));
        assert!(seen.await.unwrap().unwrap().starts_with(b"GET / HTTP/1.1"));
    });
    ended(&proxy, "client_gone");
}

#[test]
fn a_reset_by_the_origin_resets_the_stream_after_what_it_had_said() {
    let (origin, _) = origin("", |stream| {
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(b"last words").unwrap();
        // Not before they were read.
        stream.read_exact(&mut [0]).unwrap();
        let socket = socket2::Socket::from(stream.try_clone().unwrap());
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    });
    let proxy = proxy(&origin.url(), "");
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let mut tunnel = Tunnel::open(&requests, "/").await;
        tunnel.say("x").await.unwrap();
        assert_eq!(tunnel.hear_at_least(10).await.unwrap(), b"last words");
        tunnel.say("x").await.unwrap();
        let error = tunnel.hear().await.unwrap_err();
        // As RFC 8441 section 5 has it.
        assert_eq!(
            (error.is_remote(), error.reason()),
            (true, Some(Reason::CANCEL))
        );
        let answer = ask(&requests, asks("GET", "/")).await.unwrap();
        assert_eq!(answer.body, b"plain");
    });
    let reset = [("route", "all"), ("why", "upstream_reset")];
    proxy.counts("pointsman_errors_total", &reset, 1.0);
    proxy.counts("pointsman_tunnels", &[], 0.0);
}

#[test]
fn what_a_client_said_before_its_connection_closed_reaches_the_origin() {
    let (origin, heard) = origin("", rest);
    let proxy = proxy(&origin.url(), "");
    let asked = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
    ];
    for number in 0..20 {
        let mut client = RawHttp2::open(proxy.address());
        client.send(&frame(HEADERS, 0x4, 1, &fields(&asked)));
        assert!(client.next(HEADERS).is_some());
        let last = vec![b'x'; 800 * number];
        client.send(&frame(DATA, 0, 1, &last));
        drop(client);
        assert!(heard.recv_timeout(DEADLINE).unwrap() == last, "{number}");
    }
    let gone = [("route", "all"), ("why", "client_gone")];
    proxy.counts("pointsman_errors_total", &gone, 20.0);
    proxy.counts("pointsman_tunnels", &[], 0.0);
    proxy.counts("pointsman_connections", &[], 0.0);
}
