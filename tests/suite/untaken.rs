//! Answers that their clients do not take, or not all of.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::http2::{asks, begin, connect, h2, open, read, soon};
use crate::harness::{Client, Origin, Proxy, Reply, route, within};

/// Long before the default of `timeout.write`.
const SOON: Duration = Duration::from_secs(10);

/// Takes next to nothing unless it is read.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut client = narrow(address);
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).unwrap();
    client
}

/// Bytes of the body that arrive before the connection ends, in whatever way.
fn body(mut client: TcpStream) -> usize {
    let (mut answer, mut piece) = (Vec::new(), [0; 64 * 1024]);
    while let Ok(read @ 1..) = client.read(&mut piece) {
        answer.extend_from_slice(&piece[..read]);
    }
    let head = answer
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .unwrap();
    answer.len() - head - 4
}

/// Of these sizes some fit into the buffers of the kernel whole, and of some it is only the last piece
/// that does not.
#[test]
fn an_answer_is_well_only_when_all_of_it_has_left() {
    let origin = Origin::new(|received| {
        let size = received.target[1..].parse().unwrap();
        Reply::Whole(200, Vec::new(), vec![b'x'; size])
    });
    let proxy = Proxy::with_config(&format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n[[listener]]\n\
         address = \"127.0.0.1:0\"\ntimeout = {{ write = \"1s\" }}\n{}",
        route("all", "/*", &origin.url())
    ));
    let sizes = (2..48).map(|step| step * 16 * 1024);
    let clients: Vec<(usize, TcpStream)> = sizes
        .map(|size| (size, ask(proxy.address(), &format!("/{size}"))))
        .collect();
    for (size, _) in &clients {
        let path = format!("/{size}");
        proxy.wait_for_log(&path, |line| line["path"] == path);
    }
    proxy.counts("pointsman_connections", &[], 0.0);
    let log = proxy.log();
    let mut taken_whole = Vec::new();
    for (size, client) in clients {
        let whole = body(client) == size;
        let path = format!("/{size}");
        let line = log.iter().find(|line| line["path"] == path).unwrap();
        let expected = if whole { "ok" } else { "client_stalled" };
        assert_eq!(line["why"], expected, "{size} bytes");
        taken_whole.push(whole);
    }
    assert!(taken_whole.contains(&true) && taken_whole.contains(&false));
}

#[test]
fn the_total_time_ends_also_while_the_client_takes_nothing() {
    let origin = Origin::new(|_| Reply::Whole(200, Vec::new(), vec![b'x'; 64 << 20]));
    let route = route("all", "/*", &origin.url());
    let proxy = Proxy::start(&format!("{route}timeout = {{ total = \"400ms\" }}\n"));
    let began = Instant::now();
    let client = ask(proxy.address(), "/");
    proxy.counts("pointsman_errors_total", &[("why", "total_timeout")], 1.0);
    assert!(began.elapsed() < SOON);
    assert!(body(client) < 64 << 20);
}

/// Events without end.
fn flood() -> Origin {
    Origin::raw(|mut stream| {
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).unwrap();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        let mut sent = stream.write_all(head.as_bytes());
        while sent.is_ok() {
            sent = stream.write_all(b"data: flood\n\n");
        }
    })
}

#[test]
fn events_that_nobody_takes_are_drained_all_the_same() {
    let origin = flood();
    let goes = route("goes", "/*", &origin.url());
    let drain = "reload = { mode = \"off\", drain_timeout = \"1s\" }\n";
    let proxy = Proxy::start(&format!("{drain}{goes}"));
    let mut client = Client::on(narrow(proxy.address()));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.try_head().unwrap().status, 200);
    proxy.apply(&format!(
        "{drain}[[route]]\npath = \"/none\"\nrespond = {{}}\n"
    ));
    within(SOON, "the stream is drained", || {
        let drained = [("route", "goes"), ("why", "draining")];
        proxy.metrics().sum("pointsman_errors_total", &drained) == 1.0
    });
    while !client.chunk().expect("an end that HTTP knows").is_empty() {}
}

/// Its client has given no more room in the window, and so HTTP/2 asks for no frame either.
#[test]
fn a_stream_of_http_2_that_nobody_takes_ends_by_the_same_times() {
    let large = Origin::new(|_| Reply::Whole(200, Vec::new(), vec![b'x'; 1 << 20]));
    let total = route("total", "/total", &large.url());
    let events = route("events", "/events", &flood().url());
    let drain = "reload = { mode = \"off\", drain_timeout = \"1s\" }\n";
    let stays = format!("{drain}{total}timeout = {{ total = \"1s\" }}\n");
    let proxy = Proxy::start(&format!("{stays}{events}"));
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let (response, _) = begin(&requests, asks("GET", "/total"), true).await;
        let mut untaken = response.await.unwrap();
        assert_eq!(untaken.status(), 200);
        let over = [("route", "total"), ("why", "total_timeout")];
        soon("the total time is over", || {
            proxy.metrics().sum("pointsman_errors_total", &over) == 1.0
        })
        .await;
        assert!(read(untaken).await.is_err(), "it is not whole");

        let (response, _) = begin(&requests, asks("GET", "/events"), true).await;
        untaken = response.await.unwrap();
        proxy.apply(&stays);
        let drained = [("route", "events"), ("why", "draining")];
        soon("the events are drained", || {
            proxy.metrics().sum("pointsman_errors_total", &drained) == 1.0
        })
        .await;
        drop(untaken);
    });
}

#[test]
fn a_client_of_http_2_that_opens_no_window_is_given_up() {
    let origin = Origin::new(|_| Reply::Whole(200, Vec::new(), vec![b'x'; 1 << 20]));
    let proxy = Proxy::with_config(&format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n[[listener]]\n\
         address = \"127.0.0.1:0\"\ntimeout = {{ write = \"400ms\" }}\n{}",
        route("all", "/*", &origin.url())
    ));
    for (number, window) in [0, 1000].into_iter().enumerate() {
        h2(async {
            let mut builder = h2::client::Builder::new();
            builder.initial_window_size(window);
            let (requests, connection) = connect(proxy.address(), &mut builder).await;
            let _connection = tokio::spawn(connection);
            let (response, _) = begin(&requests, asks("GET", "/"), true).await;
            let untaken = response.await.unwrap();
            soon("it is given up", || {
                let stalled = [("why", "client_stalled")];
                let stalled = proxy.metrics().sum("pointsman_errors_total", &stalled);
                stalled == (number + 1) as f64
            })
            .await;
            assert!(read(untaken).await.is_err(), "the stream is reset");
        });
    }
}
