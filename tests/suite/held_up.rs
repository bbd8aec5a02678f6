//! A client that leaves while nobody reads from it.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::harness::{Client, Proxy, within};

/// Its connections take next to nothing and are never read.
fn silent() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(8).unwrap();
    socket.into()
}

#[test]
fn a_client_that_breaks_off_while_the_upstream_takes_nothing_is_noticed() {
    let origin = silent();
    let proxy = Proxy::to(&format!("http://{}", origin.local_addr().unwrap()));
    let mut client = Client::connect(proxy.address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    let wait = Some(Duration::from_millis(500));
    client.stream().set_write_timeout(wait).unwrap();
    assert!(
        client.try_send(vec![b'u'; 100_000_000]).is_err(),
        "all is full"
    );
    let socket = Socket::from(client.stream().try_clone().unwrap());
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    drop((client, socket));
    // The kernel's own probes would show it after some ten seconds.
    within(Duration::from_secs(5), "it is noticed", || {
        proxy.metrics().sum("pointsman_requests_in_flight", &[]) == 0.0
    });
    proxy.counts("pointsman_errors_total", &[("why", "client_gone")], 1.0);
    proxy.counts("pointsman_connections", &[], 0.0);
    proxy.counts("pointsman_upstream_connections", &[], 0.0);
}
