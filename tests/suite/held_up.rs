//! Peers that leave while nobody reads from them, and tunnels of which one side is slow to take.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::{Client, DEADLINE, Proxy, route, within};

/// The kernel's own probes would show after some ten seconds that a peer has left.
const SOON: Duration = Duration::from_secs(5);
/// What the other side of a tunnel has for taking what was said before, and a little more.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// Whatever is not taken in this time waits for somebody who takes nothing.
const STUCK: Duration = Duration::from_millis(500);
/// Between two pieces for somebody who is slow.
const PACE: Duration = Duration::from_millis(20);

/// Its connections take next to nothing unless they are read.
fn narrow() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(8).unwrap();
    socket.into()
}

/// Breaks the connection off, with nothing that says so in order.
fn reset(stream: TcpStream) {
    let socket = Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

/// Sends until nothing more is taken: how much was.
fn fill(mut stream: &TcpStream) -> usize {
    stream.set_write_timeout(Some(STUCK)).unwrap();
    let (piece, mut taken) = (vec![b'u'; 64 * 1024], 0);
    loop {
        match stream.write(&piece) {
            Ok(written) => taken += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return taken,
            Err(error) => panic!("the connection broke: {error}"),
        }
    }
}

#[test]
fn a_client_that_breaks_off_while_the_upstream_takes_nothing_is_noticed() {
    let origin = narrow();
    let proxy = Proxy::to(&format!("http://{}", origin.local_addr().unwrap()));
    let mut client = Client::connect(proxy.address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    fill(client.stream());
    reset(client.into_stream());
    within(SOON, "it is noticed", || {
        proxy.metrics().sum("pointsman_requests_in_flight", &[]) == 0.0
    });
    proxy.counts("pointsman_errors_total", &[("why", "client_gone")], 1.0);
    proxy.counts("pointsman_connections", &[], 0.0);
    proxy.counts("pointsman_upstream_connections", &[], 0.0);
}

/// A tunnel of which this test has both ends.
struct Tunnel {
    proxy: Proxy,
    client: TcpStream,
    upstream: TcpStream,
}

impl Tunnel {
    fn open(timeout: &str) -> Self {
        let origin = narrow();
        let url = format!("http://{}", origin.local_addr().unwrap());
        let route = route("all", "/*", &url);
        let proxy = Proxy::start(&format!("{route}upgrade = \"foo\"\n{timeout}\n"));
        let mut client = Client::connect(proxy.address());
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n");
        let (mut upstream, _) = origin.accept().unwrap();
        upstream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            upstream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let agreed = "HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n";
        upstream.write_all(agreed.as_bytes()).unwrap();
        assert_eq!(client.try_head().unwrap().status, 101);
        Self {
            proxy,
            client: client.into_stream(),
            upstream,
        }
    }

    /// The one that is to send and the one that is to take, and the proxy between them.
    fn from(self, client_sends: bool) -> (Proxy, TcpStream, TcpStream) {
        let Self {
            proxy,
            client,
            upstream,
        } = self;
        match client_sends {
            true => (proxy, client, upstream),
            false => (proxy, upstream, client),
        }
    }
}

/// The tunnel is over, for this reason and no other.
#[track_caller]
fn ended(proxy: &Proxy, limit: Duration, why: &str) {
    within(limit, "the tunnel is over", || {
        proxy.metrics().sum("pointsman_tunnels", &[]) == 0.0
    });
    proxy.counts("pointsman_errors_total", &[("why", why)], 1.0);
    proxy.counts("pointsman_errors_total", &[], 1.0);
    proxy.counts("pointsman_connections", &[], 0.0);
    proxy.counts("pointsman_upstream_connections", &[], 0.0);
}

/// Does this with the client as the side that sends, and at the same time with the upstream.
fn both_ways(test: impl Fn(bool) + Sync) {
    thread::scope(|scope| {
        scope.spawn(|| test(true));
        test(false);
    });
}

/// The word for a side that is gone.
fn gone(client: bool) -> &'static str {
    if client {
        "client_gone"
    } else {
        "upstream_reset"
    }
}

#[test]
fn a_side_of_a_tunnel_that_breaks_off_while_the_other_takes_nothing_is_noticed() {
    both_ways(|client_sends| {
        let (proxy, sends, _takes) = Tunnel::open("").from(client_sends);
        fill(&sends);
        reset(sends);
        ended(&proxy, LAST_WORDS, gone(client_sends));
    });
}

#[test]
fn a_side_of_a_tunnel_that_breaks_off_after_it_has_finished_is_noticed() {
    both_ways(|client_finishes| {
        let (proxy, finishes, mut stays) = Tunnel::open("").from(client_finishes);
        finishes.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stays.read(&mut [0]).unwrap(), 0);
        reset(finishes);
        ended(&proxy, LAST_WORDS, gone(client_finishes));
    });
}

#[test]
fn what_a_side_had_said_before_it_broke_off_arrives_however_slowly_it_is_taken() {
    both_ways(|client_sends| {
        let (proxy, sends, mut takes) = Tunnel::open("").from(client_sends);
        // What it has not sent itself is lost with it, and is to be little.
        let socket = Socket::from(sends.try_clone().unwrap());
        socket.set_send_buffer_size(4 * 1024).unwrap();
        drop(socket);
        let sent = fill(&sends);
        reset(sends);
        let (mut piece, mut taken) = (vec![0; 64 * 1024], 0);
        while let Ok(read @ 1..) = takes.read(&mut piece) {
            taken += read;
            thread::sleep(PACE);
        }
        assert!(taken + piece.len() > sent, "{taken} of {sent}");
        ended(&proxy, LAST_WORDS, gone(client_sends));
    });
}

#[test]
fn a_side_that_takes_little_at_a_time_is_not_idle_and_one_that_takes_nothing_is() {
    both_ways(|client_sends| {
        let tunnel = Tunnel::open("timeout = { tunnel = \"1s\", half_closed = \"1s\" }");
        let (proxy, sends, mut takes) = tunnel.from(client_sends);
        let flood = thread::spawn(move || {
            let piece = vec![b'u'; 64 * 1024];
            while (&sends).write_all(&piece).is_ok() {}
        });
        // So little that it takes seconds until the kernel lets it show.
        let (began, mut piece) = (Instant::now(), vec![0; 1024]);
        while began.elapsed() < Duration::from_secs(5) {
            takes.read_exact(&mut piece).expect("it is not cut");
            thread::sleep(PACE);
        }
        proxy.counts("pointsman_tunnels", &[], 1.0);
        ended(&proxy, DEADLINE, "tunnel_idle");
        flood.join().unwrap();
    });
}

#[test]
fn a_side_that_was_slow_to_take_is_idle_at_the_usual_time_once_it_has_taken_all() {
    both_ways(|client_sends| {
        let tunnel = Tunnel::open("timeout = { tunnel = \"1s\" }");
        let (proxy, sends, mut takes) = tunnel.from(client_sends);
        let sent = fill(&sends);
        let mut taken = vec![0; sent];
        takes.read_exact(&mut taken).expect("it is not cut");
        ended(&proxy, Duration::from_secs(5), "tunnel_idle");
    });
}
