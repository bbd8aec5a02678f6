//! How streams and connections of HTTP/2 end: by their clients, their origins, an edit or a stop.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use h2::Reason;

use crate::harness::http2::{
    GOAWAY, PREFACE, RawHttp2, ask, asks, begin, connect, h2, open, read, send, soon,
};
use crate::harness::{Backend, Client, Origin, Proxy, Reply, eventually, route};

const LISTENER: &str = "admin.listen = \"127.0.0.1:0\"\n[[listener]]\nname = \"web\"\n\
                        address = \"127.0.0.1:0\"\n";

fn file(more: &str, upstream: &str) -> String {
    format!("{LISTENER}{more}\n[[route]]\nname = \"all\"\nupstream = \"{upstream}\"\n")
}

#[test]
fn a_reset_ends_its_own_stream_only_and_reaches_the_origin() {
    let backend = Backend::new("origin");
    let gone = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&gone);
    let held = Origin::raw(move |mut stream| {
        let mut bytes = [0; 1024];
        while stream.read(&mut bytes).is_ok_and(|read| read > 0) {}
        seen.fetch_add(1, Ordering::Relaxed);
    });
    let routes = [
        route("all", "/*", &backend.url()),
        route("held", "/held", &held.url()),
    ];
    let proxy = Proxy::start(&routes.concat());
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        // Before any answer.
        let (waits, mut stream) = begin(&requests, asks("GET", "/held"), true).await;
        soon("it waits", || held.connections() == 1).await;
        stream.send_reset(Reason::CANCEL);
        assert!(waits.await.is_err());
        // In the middle of a body that is sent, which the origin never reads to its end.
        let (waits, mut stream) = begin(&requests, asks("POST", "/held"), false).await;
        send(&mut stream, Bytes::from_static(b"half"))
            .await
            .unwrap();
        stream.send_reset(Reason::CANCEL);
        assert!(waits.await.is_err());
        // In the middle of one that is received.
        let (response, mut stream) = begin(&requests, asks("GET", "/stream"), true).await;
        let mut body = response.await.unwrap().into_body();
        assert!(body.data().await.unwrap().is_ok());
        stream.send_reset(Reason::CANCEL);
        drop((body, stream));
        let answer = ask(&requests, asks("GET", "/next")).await.unwrap();
        assert_eq!(answer.body, b"origin");
    });
    let gone_by = [("why", "client_gone")];
    proxy.counts("pointsman_errors_total", &gone_by, 3.0);
    proxy.counts("pointsman_requests_in_flight", &[], 0.0);
    eventually("the origin sees it", || gone.load(Ordering::Relaxed) >= 1);
}

#[test]
fn an_answer_that_breaks_off_is_reset_and_never_looks_whole() {
    let parts: [&str; 3] = [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ];
    for part in parts {
        let origin = Origin::new(|_| Reply::RawClose(part.as_bytes().to_vec()));
        let proxy = Proxy::to(&origin.url());
        let reason = h2(async {
            let (requests, _connection) = open(proxy.address()).await;
            let read = ask(&requests, asks("GET", "/")).await;
            read.unwrap_err().reason()
        });
        assert_eq!(reason, Some(Reason::INTERNAL_ERROR), "{part:?}");
        let why = [("why", "upstream_truncated")];
        proxy.counts("pointsman_errors_total", &why, 1.0);
    }
}

#[test]
fn an_early_answer_arrives_whole_while_the_request_is_still_sent() {
    let origin = Origin::raw(|mut stream| {
        let mut bytes = [0; 64 * 1024];
        let _ = stream.read(&mut bytes);
        let _ = stream.write_all(b"HTTP/1.1 413 No\r\ncontent-length: 4\r\n\r\nlong");
    });
    let proxy = Proxy::to(&origin.url());
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        for _ in 0..20 {
            let (response, mut stream) = begin(&requests, asks("POST", "/"), false).await;
            let sending = async { send(&mut stream, Bytes::from(vec![0; 10 << 20])).await };
            let answer = async { read(response.await?).await };
            let (_, answer) = tokio::join!(sending, answer);
            let answer = answer.unwrap();
            assert_eq!(
                (answer.status.as_u16(), &answer.body[..]),
                (413, &b"long"[..])
            );
        }
    });
}

#[test]
fn streams_under_way_finish_when_the_process_stops() {
    let backend = Backend::new("origin");
    let mut proxy = Proxy::to(&backend.url());
    h2(async {
        let (requests, connection) = open(proxy.address()).await;
        let (waits, _) = begin(&requests, asks("GET", "/slow"), true).await;
        soon("it waits", || backend.has_seen("/slow")).await;
        proxy.signal("TERM");
        // The goodbye has come when no more requests can be made.
        let refused = async {
            loop {
                let Ok(mut ready) = requests.clone().ready().await else {
                    return;
                };
                let Ok((next, _)) = ready.send_request(asks("GET", "/"), true) else {
                    return;
                };
                if next.await.is_err() {
                    return;
                }
            }
        };
        refused.await;
        backend.release();
        let answer = read(waits.await.unwrap()).await.unwrap();
        assert_eq!(answer.body, b"origin");
        drop(requests);
        assert!(connection.await.unwrap().is_ok());
    });
    assert!(proxy.wait().success());
}

#[test]
fn a_removed_listener_says_goodbye_and_cuts_what_does_not_end() {
    let backend = Backend::new("origin");
    let drain = "reload.drain_timeout = \"1s\"\n";
    let text = |name: &str| file("", &backend.url()).replace("\"web\"", &format!("\"{name}\""));
    let proxy = Proxy::with_config(&format!("{drain}{}", text("web")));
    let address = proxy.listener("web");
    let mut idle = RawHttp2::open(address);
    h2(async {
        let (requests, _connection) = open(address).await;
        let (waits, _) = begin(&requests, asks("GET", "/slow"), true).await;
        soon("it waits", || backend.has_seen("/slow")).await;
        proxy.write_all(&format!("{drain}{}", text("other")));
        assert_eq!(proxy.ask_reload().0, 200);
        assert!(idle.next(GOAWAY).is_some());
        let cut = waits.await.unwrap_err();
        assert!(cut.is_io() || cut.is_go_away() || cut.is_reset(), "{cut:?}");
    });
    proxy.counts("pointsman_errors_total", &[("why", "draining")], 1.0);
    proxy.counts("pointsman_connections", &[("listener", "web")], 0.0);
}

#[test]
fn edits_drop_no_stream() {
    let backend = Backend::new("origin");
    let config = |number: usize| {
        format!(
            "{}{}",
            route("all", "/*", &backend.url()),
            route("other", &format!("/o{number}"), "http://127.0.0.1:9")
        )
    };
    let proxy = Proxy::start(&config(0));
    let stop = AtomicBool::new(false);
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let (response, _) = begin(&requests, asks("GET", "/stream"), true).await;
        let mut body = response.await.unwrap().into_body();
        for number in 1..=10 {
            proxy.apply(&config(number));
            let all = (0..20).map(|_| ask(&requests, asks("GET", "/")));
            for answer in futures_util::future::join_all(all).await {
                assert_eq!(answer.unwrap().body, b"origin");
            }
            let data = body.data().await.unwrap().unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(proxy.metrics().sum("pointsman_connections_total", &[]), 1.0);
}

#[test]
fn an_event_stream_of_a_removed_route_ends_as_if_it_were_whole() {
    let backend = Backend::new("origin");
    let routes = |path: &str| {
        let drain = "reload.drain_timeout = \"1s\"\n";
        format!("{drain}{}", route("all", path, &backend.url()))
    };
    let proxy = Proxy::start(&routes("/*"));
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let (response, _) = begin(&requests, asks("GET", "/events"), true).await;
        let response = response.await.unwrap();
        proxy.apply(&routes("/x/*"));
        assert!(!read(response).await.unwrap().body.is_empty());
    });
    proxy.counts("pointsman_errors_total", &[("why", "draining")], 1.0);
}

#[test]
fn an_idle_client_is_told_goodbye_and_parted_from() {
    let origin = Origin::named("origin");
    let proxy = Proxy::with_config(&file("timeout = { idle = \"300ms\" }", &origin.url()));
    h2(async {
        let (requests, connection) = open(proxy.address()).await;
        assert!(ask(&requests, asks("GET", "/")).await.is_ok());
        assert!(connection.await.unwrap().is_ok());
    });
    // One that does not answer the ping that goes with it.
    let mut client = RawHttp2::open(proxy.address());
    assert_eq!(client.next(GOAWAY).unwrap()[4..8], [0; 4]);
    while client.frame().is_some() {}
    proxy.counts("pointsman_connections", &[], 0.0);
}

#[test]
fn half_a_preface_is_cut_and_http_1_1_is_told_from_it() {
    let origin = Origin::named("origin");
    let timeout = "timeout = { header = \"300ms\" }";
    let proxy = Proxy::with_config(&file(timeout, &origin.url()));
    for cut in [1, 3, 16, 18, 23] {
        let mut client = Client::connect(proxy.address());
        client.send(&PREFACE[..cut]);
        assert_eq!(client.response().status, 408, "{cut}");
    }
    let mut whole = Client::connect(proxy.address());
    whole.send(PREFACE);
    // Settings come from the server first, and a goodbye when nothing else does.
    let bytes = whole.until_closed().unwrap();
    assert_eq!(bytes[3], 4, "{bytes:?}");
    for method in ["PR", "PRI", "PRIX", "POST"] {
        let mut client = Client::connect(proxy.address());
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.response().status, 200, "{method}");
    }
}

#[test]
fn the_last_request_that_a_limit_allows_is_followed_by_a_goodbye() {
    let origin = Origin::named("origin");
    let proxy = Proxy::with_config(&file("limit = { requests = 3 }", &origin.url()));
    h2(async {
        let (requests, connection) = open(proxy.address()).await;
        for _ in 0..3 {
            assert!(ask(&requests, asks("GET", "/")).await.is_ok());
        }
        assert!(connection.await.unwrap().is_ok());
    });
}

#[test]
fn a_client_that_takes_nothing_of_one_stream_loses_that_one() {
    let origin = Origin::new(|received| match received.target.as_str() {
        "/large" => Reply::Whole(200, Vec::new(), vec![0; 8 << 20]),
        _ => Reply::text("small"),
    });
    let timeout = "timeout = { write = \"500ms\" }";
    let proxy = Proxy::with_config(&file(timeout, &origin.url()));
    h2(async {
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(16 << 20);
        let (requests, connection) = connect(proxy.address(), &mut builder).await;
        let _connection = tokio::spawn(connection);
        let (response, _) = begin(&requests, asks("GET", "/large"), true).await;
        let mut body = response.await.unwrap().into_body();
        let mut taken = 0;
        let reason = loop {
            // Nothing is given back, so that its window closes; other streams go on.
            match body.data().await.unwrap() {
                Ok(data) => taken += data.len(),
                Err(error) => break error.reason(),
            }
            let answer = ask(&requests, asks("GET", "/small")).await.unwrap();
            assert_eq!(answer.body, b"small");
        };
        assert_eq!((reason, taken), (Some(Reason::CANCEL), 65_535));
        let answer = ask(&requests, asks("GET", "/small")).await.unwrap();
        assert_eq!(answer.body, b"small");
    });
    let why = [("why", "client_stalled")];
    proxy.counts("pointsman_errors_total", &why, 1.0);
}
