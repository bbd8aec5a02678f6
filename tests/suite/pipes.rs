//! Long answers, which the kernel moves from one connection to the other.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::LazyLock;

use socket2::{Domain, Socket, Type};

use crate::harness::{Client, Origin, Proxy, Reply, eventually, get, route};

/// More than all buffers on the way hold.
const LONG: usize = 16 << 20;
/// More than the kernel takes of an answer whose client reads nothing.
const HELD: usize = 2 << 20;
/// Of one worker.
const MOST_PIPES: usize = 32;

/// Numbers in a row, so that no piece looks like another.
static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let numbers = 0..(LONG / 4) as u32;
    numbers.flat_map(u32::to_le_bytes).collect()
});

fn content(length: usize) -> &'static [u8] {
    &CONTENT[..length]
}

/// `/N` is N bytes.
fn origin() -> Origin {
    Origin::new(|received| {
        let length = received.target[1..].parse().unwrap();
        Reply::Whole(200, Vec::new(), content(length).to_vec())
    })
}

fn proxy(url: &str) -> Proxy {
    Proxy::with_config(&format!(
        "[server]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\n{}",
        route("all", "/*", url)
    ))
}

/// A client that has asked for so much and takes next to nothing.
fn slow(address: SocketAddr, length: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut client = TcpStream::from(socket);
    let request = format!("GET /{length} HTTP/1.1\r\nHost: a\r\n\r\n");
    client.write_all(request.as_bytes()).unwrap();
    client
}

/// Pipes that the process has open.
fn pipes(proxy: &Proxy) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", proxy.id())).unwrap();
    let names = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let ends = names
        .filter(|name| name.to_string_lossy().starts_with("pipe:"))
        .count();
    ends / 2
}

#[test]
fn a_long_answer_is_the_same_byte_by_byte_however_it_is_taken() {
    let origin = origin();
    let proxy = proxy(&origin.url());
    let before = pipes(&proxy);
    let mut client = Client::on(slow(proxy.address(), LONG));
    eventually("the kernel holds a piece", || pipes(&proxy) > before);
    assert!(client.response().body == content(LONG));
    // The next answers come by the same connections, and nothing is left in the pipe.
    for length in [5, 200_000, LONG - 1, 40_000] {
        client.send(format!("GET /{length} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(client.response().body == content(length), "{length} bytes");
    }
    let sent = LONG + 5 + 200_000 + LONG - 1 + 40_000;
    let counted = proxy.metrics_at_rest();
    assert_eq!(
        counted.sum("pointsman_response_bytes_total", &[]),
        sent as f64
    );
}

#[test]
fn a_long_answer_that_breaks_off_never_looks_whole() {
    let half = content(LONG / 2);
    let origin = Origin::new(move |received| match received.target.as_str() {
        "/breaks" => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LONG}\r\n\r\n");
            Reply::RawClose([head.as_bytes(), half].concat())
        }
        _ => Reply::text("whole"),
    });
    let proxy = proxy(&origin.url());
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    let asks = b"GET /breaks HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(asks).unwrap();
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n");
    let arrived = &answer[body.unwrap() + 4..];
    assert!(half.starts_with(arrived) && !arrived.is_empty());
    let truncated = [("route", "all"), ("why", "upstream_truncated")];
    proxy.counts("pointsman_errors_total", &truncated, 1.0);
    assert_eq!(get(proxy.address(), "/whole").text(), "whole");
}

/// They hold on to the pipes they have, and the next client is served without.
#[test]
fn clients_that_take_nothing_hold_few_files() {
    let origin = origin();
    let proxy = proxy(&origin.url());
    let before = pipes(&proxy);
    let clients: Vec<TcpStream> = (0..MOST_PIPES + 8)
        .map(|_| slow(proxy.address(), HELD))
        .collect();
    eventually("all pipes are held", || {
        pipes(&proxy) == before + MOST_PIPES
    });
    let served = get(proxy.address(), &format!("/{LONG}"));
    assert!(served.body == content(LONG));
    assert_eq!(pipes(&proxy), before + MOST_PIPES);
    drop(clients);
    // What they held has bytes in it that are nobody's any more.
    eventually("no pipe is held", || pipes(&proxy) == before);
    assert!(get(proxy.address(), "/100000").body == content(100_000));
}
