//! Tunnels of WebSockets over HTTP/2 when something else ends or is counted: their route, their
//! listener, the process, the streams that a connection may have.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::harness::extended::Tunnel;
use crate::harness::http2::{HEADERS, RST_STREAM, RawHttp2, ask, asks, fields, frame, h2, open};
use crate::harness::{Backend, DEADLINE, Frames, Proxy, Usage, eventually, route};

const LISTENER: &str = "admin.listen = \"127.0.0.1:0\"\n[[listener]]\nname = \"web\"\n\
                        address = \"127.0.0.1:0\"\n";
const GOODBYE: [u8; 4] = [0x88, 2, 3, 0xe9];

fn file(more: &str, upstream: &str) -> String {
    format!("{LISTENER}{more}\n{}", route("all", "/*", upstream))
}

type Socket = WebSocketStream<Tunnel>;

async fn echoes(socket: &mut Socket) {
    let message = Message::text("is there anybody?");
    socket.send(message.clone()).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), message);
}

/// Reads to the end, which is one and no reset: the code of the goodbye.
async fn goodbye(socket: &mut Socket) -> u16 {
    let close = socket.next().await;
    let Some(Ok(Message::Close(Some(close)))) = close else {
        panic!("{close:?}");
    };
    while socket.next().await.is_some() {}
    assert!(socket.get_ref().receive.is_end_stream());
    close.code.into()
}

#[test]
fn an_edit_ends_the_tunnels_of_its_route_between_two_frames_and_nothing_else() {
    const LARGE: usize = 1 << 20;
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let (sender, heard) = mpsc::channel();
    let changed = Frames::origin(move |mut frames, _| {
        let large = Frame::message(vec![b'*'; LARGE], OpCode::Data(Data::Binary), true);
        frames.send_in_halves(large, || {
            begun.send(()).unwrap();
            released.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        });
        let goodbye = frames.read().unwrap().into_payload();
        sender.send(goodbye.to_vec()).unwrap();
    });
    let backend = Backend::new("origin");
    let config = |path: &str| {
        let stays = route("stays", "/stays", &backend.url());
        let changes = route("changes", path, &changed.url());
        let reload = "reload = { mode = \"off\", drain_timeout = \"0s\" }";
        format!("{reload}\n{stays}{changes}")
    };
    let proxy = Proxy::start(&config("/changes"));
    h2(async {
        let (requests, connection) = open(proxy.address()).await;
        let mut stays = Tunnel::open(&requests, "/stays").await.socket().await;
        let mut changes = Tunnel::open(&requests, "/changes").await.socket().await;
        let begins = tokio::task::spawn_blocking(move || begins.recv_timeout(DEADLINE));
        begins.await.unwrap().unwrap();
        proxy.apply(&config("/changed"));
        release.send(()).unwrap();
        let whole = changes.next().await.unwrap().unwrap();
        assert!(whole == Message::binary(vec![b'*'; LARGE]), "a part came");
        assert_eq!(goodbye(&mut changes).await, 1001);
        let heard = tokio::task::spawn_blocking(move || heard.recv_timeout(DEADLINE));
        assert_eq!(heard.await.unwrap().unwrap(), GOODBYE[2..]);
        for _ in 0..10 {
            echoes(&mut stays).await;
            proxy.apply(&config("/again"));
            proxy.apply(&config("/changed"));
        }
        assert_eq!(
            ask(&requests, asks("GET", "/stays")).await.unwrap().body,
            b"origin"
        );
        assert!(!connection.is_finished());
    });
    let why = [("route", "changes"), ("why", "draining")];
    proxy.counts("pointsman_errors_total", &why, 1.0);
    assert_eq!(proxy.metrics().sum("pointsman_connections_total", &[]), 1.0);
}

#[test]
fn a_removed_listener_says_goodbye_in_both_languages_and_lets_its_connections_end() {
    let backend = Backend::new("origin");
    // A tenth of it is left for the goodbye of whose turn comes last.
    let drain = "reload.drain_timeout = \"10s\"\n";
    let text = |name: &str| file("", &backend.url()).replace("\"web\"", &format!("\"{name}\""));
    let proxy = Proxy::with_config(&format!("{drain}{}", text("web")));
    let address = proxy.listener("web");
    h2(async {
        let (requests, connection) = open(address).await;
        let mut socket = Tunnel::open(&requests, "/socket").await.socket().await;
        echoes(&mut socket).await;
        proxy.write_all(&format!("{drain}{}", text("other")));
        assert_eq!(proxy.ask_reload().0, 200);
        assert_eq!(goodbye(&mut socket).await, 1001);
        // GOAWAY without an error.
        assert!(connection.await.unwrap().is_ok());
    });
    eventually("the origin is told too", || {
        backend.goodbyes() == [Some(1001)]
    });
    proxy.counts("pointsman_errors_total", &[("why", "draining")], 1.0);
    proxy.counts("pointsman_connections", &[("listener", "web")], 0.0);
    proxy.counts("pointsman_tunnels", &[], 0.0);
}

#[test]
fn a_stopping_process_says_goodbye_and_ends_at_once() {
    let backend = Backend::new("origin");
    let mut proxy = Proxy::to(&backend.url());
    h2(async {
        let (requests, connection) = open(proxy.address()).await;
        let mut socket = Tunnel::open(&requests, "/socket").await.socket().await;
        echoes(&mut socket).await;
        proxy.signal("TERM");
        assert_eq!(goodbye(&mut socket).await, 1001);
        assert!(connection.await.unwrap().is_ok());
    });
    assert!(proxy.wait().success());
    eventually("the origin is told too", || {
        backend.goodbyes() == [Some(1001)]
    });
    let line = proxy.wait_for_log("the tunnel", |line| line["status"] == 101);
    assert_eq!(line["why"], "draining");
}

#[test]
fn a_tunnel_outlives_the_goodbye_of_a_connection_that_takes_no_more_requests() {
    let backend = Backend::new("origin");
    let more = "limit = { requests = 1 }\ntimeout = { idle = \"300ms\" }";
    let proxy = Proxy::with_config(&file(more, &backend.url()));
    h2(async {
        let (requests, connection) = open(proxy.address()).await;
        let mut socket = Tunnel::open(&requests, "/socket").await.socket().await;
        let refused = async {
            while let Ok(mut ready) = requests.clone().ready().await {
                let Ok((next, _)) = ready.send_request(asks("GET", "/"), true) else {
                    return;
                };
                if next.await.is_err() {
                    return;
                }
            }
        };
        refused.await;
        // Longer than a connection without requests, or one that has said goodbye, may last.
        tokio::time::sleep(Duration::from_secs(3)).await;
        echoes(&mut socket).await;
        socket.close(None).await.unwrap();
        while socket.next().await.is_some() {}
        socket.get_mut().finish();
        assert!(connection.await.unwrap().is_ok());
    });
    proxy.counts("pointsman_connections", &[("listener", "web")], 0.0);
    proxy.counts("pointsman_errors_total", &[], 0.0);
}

#[test]
fn tunnels_are_among_the_streams_that_a_connection_may_have() {
    let backend = Backend::new("origin");
    let more = "http2 = { max_concurrent_streams = 2 }";
    let proxy = Proxy::with_config(&file(more, &backend.url()));
    let asked = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/socket"),
        (":authority", "a"),
    ];
    let mut client = RawHttp2::open(proxy.address());
    let tunnel = |client: &mut RawHttp2, stream| {
        client.send(&frame(HEADERS, 0x4, stream, &fields(&asked)));
        loop {
            match client.frame().unwrap() {
                (kind @ (HEADERS | RST_STREAM), _, of, payload) if of == stream => {
                    return (kind, payload);
                }
                _ => {}
            }
        }
    };
    for stream in [1, 3] {
        assert_eq!(tunnel(&mut client, stream).0, HEADERS);
    }
    // REFUSED_STREAM
    assert_eq!(tunnel(&mut client, 5), (RST_STREAM, vec![0, 0, 0, 7]));
    proxy.counts("pointsman_tunnels", &[], 2.0);
    client.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
    proxy.counts("pointsman_tunnels", &[], 1.0);
    assert_eq!(tunnel(&mut client, 7).0, HEADERS);
    drop(client);
    proxy.counts("pointsman_tunnels", &[], 0.0);
}

#[test]
fn a_thousand_tunnels_however_they_ended_leave_nothing_behind() {
    let backend = Backend::new("origin");
    let proxy = Proxy::start(&format!(
        "server.workers = 1\n{}",
        route("all", "/*", &backend.url())
    ));
    let round = || {
        h2(async {
            let (requests, connection) = open(proxy.address()).await;
            let mut sockets = Vec::new();
            for _ in 0..100 {
                let mut socket = Tunnel::open(&requests, "/socket").await.socket().await;
                echoes(&mut socket).await;
                sockets.push(socket);
            }
            for (number, mut socket) in sockets.into_iter().enumerate() {
                match number % 4 {
                    0 => socket.close(None).await.unwrap(),
                    1 => socket.get_mut().finish(),
                    2 => socket.get_mut().send.send_reset(h2::Reason::CANCEL),
                    // Dropped with the connection.
                    _ => {
                        tokio::spawn(async move { while socket.next().await.is_some() {} });
                        continue;
                    }
                }
                if number % 4 < 2 {
                    while socket.next().await.is_some_and(|read| read.is_ok()) {}
                }
            }
            connection.abort();
        });
        proxy.counts("pointsman_tunnels", &[], 0.0);
        proxy.counts("pointsman_connections", &[], 0.0);
    };
    round();
    let before = Usage::of(proxy.id());
    for _ in 0..9 {
        round();
    }
    eventually("every file is given back", || {
        Usage::of(proxy.id()).files <= before.files
    });
    let grown = Usage::of(proxy.id()).memory.saturating_sub(before.memory);
    assert!(grown < 4 << 10, "{grown} KiB");
    proxy.counts("pointsman_requests_in_flight", &[], 0.0);
}
