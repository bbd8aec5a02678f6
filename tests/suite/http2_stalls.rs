//! Tunnels of WebSockets over HTTP/2 of which one side takes nothing: no other stream of the connection
//! waits for it, and nothing is kept that has no bound.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex, mpsc};

use h2::Reason;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::harness::extended::{Tunnel, wants};
use crate::harness::http2::{ask, asks, connect, h2, open};
use crate::harness::{DEADLINE, Frames, Proxy, Usage, route};
use crate::http2_tunnels::{echo, origin, proxy, rest};

#[test]
fn a_reader_that_takes_nothing_stops_no_other_and_gets_it_all_when_it_does() {
    const LARGE: usize = 32 << 20;
    let (origin, _) = origin("", |stream| {
        let kind = &mut [0];
        stream.read_exact(kind).unwrap();
        if kind == b"l" {
            // The others are still stalled when the test has ended.
            let _ = stream.write_all(&vec![b'x'; LARGE]);
        } else {
            echo(stream);
        }
    });
    let proxy = proxy(&origin.url(), "");
    let before = Usage::of(proxy.id()).memory;
    h2(async {
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(64 << 20);
        let (requests, connection) = connect(proxy.address(), &mut builder).await;
        let _connection = tokio::spawn(connection);
        let mut stalled = Vec::new();
        for _ in 0..10 {
            let mut tunnel = Tunnel::open(&requests, "/").await;
            tunnel.say("l").await.unwrap();
            // The client has finished, and the tunnel goes on.
            tunnel.finish();
            stalled.push(tunnel);
        }
        let mut other = Tunnel::open(&requests, "/").await;
        other.say("e").await.unwrap();
        for round in 0..50_u32 {
            let message = round.to_be_bytes().repeat(5_000);
            other.say(message.clone()).await.unwrap();
            assert!(other.hear_at_least(message.len()).await.unwrap() == message);
            let answer = ask(&requests, asks("GET", "/")).await.unwrap();
            assert_eq!(answer.body, b"plain");
        }
        let grown = Usage::of(proxy.id()).memory.saturating_sub(before);
        assert!(grown < 16 << 10, "{grown} KiB for 320 MiB");
        let mut tunnel = stalled.pop().unwrap();
        assert_eq!(tunnel.hear_all().await.unwrap().len(), LARGE);
        assert!(tunnel.receive.is_end_stream(), "an end, and no reset");
    });
    proxy.counts("pointsman_tunnels", &[], 0.0);
}

#[test]
fn an_origin_that_takes_nothing_stops_no_other_and_gets_it_all_when_it_does() {
    const LARGE: usize = 16 << 20;
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let (stuck, got) = origin("", move |stream| {
        released.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        rest(stream).len()
    });
    let (living, _) = origin("", echo);
    let routes = [
        route("all", "/*", &stuck.url()),
        route("living", "/living", &living.url()),
    ];
    let proxy = Proxy::start(&routes.concat());
    let before = Usage::of(proxy.id()).memory;
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let mut tunnel = Tunnel::open(&requests, "/").await;
        let mut other = Tunnel::open(&requests, "/living").await;
        let sending = tokio::spawn(async move {
            tunnel.say(vec![b'x'; LARGE]).await.unwrap();
            tunnel.finish();
            tunnel
        });
        for round in 0..50_u32 {
            let message = round.to_be_bytes().repeat(5_000);
            other.say(message.clone()).await.unwrap();
            assert!(other.hear_at_least(message.len()).await.unwrap() == message);
        }
        assert!(!sending.is_finished(), "its window is closed");
        let grown = Usage::of(proxy.id()).memory.saturating_sub(before);
        assert!(grown < 4 << 10, "{grown} KiB for 16 MiB");
        release.send(()).unwrap();
        let mut tunnel = sending.await.unwrap();
        assert_eq!(tunnel.hear_all().await.unwrap(), b"");
        let got = tokio::task::spawn_blocking(move || got.recv_timeout(DEADLINE));
        assert_eq!(got.await.unwrap().unwrap(), LARGE);
    });
}

#[test]
fn a_client_that_takes_nothing_for_long_enough_loses_its_tunnel() {
    let pushes = Frames::origin(|mut frames, _| {
        let large = Frame::message(vec![b'*'; 8 << 20], OpCode::Data(Data::Binary), true);
        frames.try_send(large);
    });
    let listener = "admin.listen = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n";
    let config = format!(
        "{listener}timeout = {{ write = \"500ms\" }}\n{}timeout = {{ tunnel = \"400ms\" }}\n",
        route("all", "/*", &pushes.url())
    );
    let proxy = Proxy::with_config(&config);
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let (response, mut send) = wants(&requests, "/").await;
        let mut body = response.await.unwrap().into_body();
        let before = Usage::of(proxy.id()).ticks;
        // What it takes is not given back, so that the window closes.
        let mut taken = 0;
        let reset = loop {
            match body.data().await.unwrap() {
                Ok(data) => taken += data.len(),
                Err(error) => break error.reason(),
            }
        };
        assert_eq!((reset, taken), (Some(Reason::CANCEL), 65_535));
        let spent = Usage::of(proxy.id()).ticks - before;

        assert!(spent < 100, "{spent} ticks to wait");
        send.send_reset(Reason::CANCEL);
    });
    let why = [("why", "tunnel_idle")];
    proxy.counts("pointsman_errors_total", &why, 1.0);
    proxy.counts("pointsman_tunnels", &[], 0.0);
}
