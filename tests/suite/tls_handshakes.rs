//! Handshakes that do not end well: none of them holds up anybody else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection};

use crate::harness::{
    Authority, Client, DEADLINE, Load, Origin, Proxy, TlsClient, TlsSite, Usage, eventually, route,
    trusting,
};
use crate::tls::old_hello;

const FAILURES: &str = "pointsman_tls_handshake_failures_total";

struct Site {
    proxy: Proxy,
    address: SocketAddr,
    config: Arc<ClientConfig>,
    _site: TlsSite,
}

fn serve(more: &str, rest: &str) -> Site {
    let authority = Authority::new();
    let pair = authority.issue(&["a.example"]);
    let site = TlsSite::new(&[("a", &pair)]);
    let all = route("all", "/*", &Origin::named("one").url());
    let proxy = site.serve(&TlsSite::text(&["a"], more, &format!("{rest}{all}")));
    Site {
        address: proxy.listener("tls"),
        proxy,
        config: Arc::new(trusting(&authority)),
        _site: site,
    }
}

impl Site {
    /// What a client says first, in TLS.
    fn hello(&self) -> Vec<u8> {
        let name = "a.example".try_into().unwrap();
        let mut tls = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        let mut hello = Vec::new();
        tls.write_tls(&mut hello).unwrap();
        hello
    }

    fn asks(&self) {
        let mut client = TlsClient::secured(self.address, &self.config, "a.example");
        assert_eq!(client.get("a.example", "/").text(), "one");
    }

    fn failed(&self, reason: &str, count: f64) {
        let labels = [("listener", "tls"), ("reason", reason)];
        self.proxy.counts(FAILURES, &labels, count);
    }
}

#[test]
fn a_handshake_has_a_time_however_far_it_came() {
    let site = serve("timeout.handshake = \"200ms\"\n", "");
    let hello = site.hello();
    let half = &hello[..hello.len() / 2];
    let begun = Instant::now();
    for (count, said) in [b"".as_slice(), &hello[..1], half, &hello]
        .into_iter()
        .enumerate()
    {
        let mut client = Client::connect(site.address);
        client.send(said);
        // Whatever it is answered, it ends.
        client.until_closed().unwrap_or_default();
        site.failed("timeout", (count + 1) as f64);
    }
    assert!(begun.elapsed() >= Duration::from_millis(800));
    site.asks();
    let took = site.proxy.metrics();
    let took = took.get("pointsman_tls_handshake_duration_seconds_count", &[]);
    assert_eq!(took, Some(1.0), "of those alone that ended well");
}

#[test]
fn one_that_drips_does_not_get_more_time() {
    let site = serve("timeout.handshake = \"300ms\"\n", "");
    let mut client = Client::connect(site.address);
    let begun = Instant::now();
    for byte in site.hello() {
        if client.try_send([byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    client.until_closed().unwrap_or_default();
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    site.failed("timeout", 1.0);
}

#[test]
fn a_thousand_that_say_nothing_or_half_hold_up_nobody() {
    let clear = "[[listener]]\nname = \"clear\"\naddress = \"127.0.0.1:0\"\n";
    let site = serve("timeout.handshake = \"5s\"\n", clear);
    let hello = site.hello();
    let load = Load::start(site.proxy.listener("clear"), 2, "/", |response| {
        assert_eq!(response.status, 200);
    });
    let silent = |number: usize| {
        let mut stream = TcpStream::connect(site.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let said = [
            b"".as_slice(),
            &hello[..1],
            &hello[..hello.len() / 2],
            &hello,
        ];
        stream.write_all(said[number % said.len()]).unwrap();
        stream
    };
    let waiting: Vec<TcpStream> = (0..1000).map(silent).collect();
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let begun = Instant::now();
        site.asks();
        slowest = slowest.max(begun.elapsed());
    }
    // Far less than the time that the others are given.
    assert!(slowest < Duration::from_secs(4), "{slowest:?}");
    load.answers(100);
    for mut stream in waiting {
        let mut rest = Vec::new();
        // An end or a reset; what matters is that it comes.
        let ended = stream.read_to_end(&mut rest);
        let kind = ended.err().map(|error| error.kind());
        assert_ne!(kind, Some(std::io::ErrorKind::WouldBlock), "still open");
    }
    site.failed("timeout", 1000.0);
    load.stop();
    site.proxy.counts("pointsman_connections", &[], 0.0);
    site.proxy
        .counts("pointsman_tls_handshakes_in_flight", &[], 0.0);
}

#[test]
fn every_failure_has_its_reason() {
    let site = serve("", "");
    let address = site.address;
    // A health check that only connects is no failure.
    drop(TcpStream::connect(address).unwrap());
    let mut client = Client::connect(address);
    client.send(&site.hello()[..10]);
    drop(client);
    site.failed("closed", 1.0);
    let distrustful = Arc::new(trusting(&Authority::new()));
    assert!(TlsClient::try_secured(address, &distrustful, "a.example").is_err());
    site.failed("alert", 1.0);
    // A record of a handshake that holds none.
    let mut client = Client::connect(address);
    client.send(b"\x16\x03\x01\0\x04\xff\0\0\0");
    let alert = client.until_closed().unwrap_or_default();
    assert!(alert.is_empty() || alert[0] == 21, "{alert:?}");
    site.failed("malformed", 1.0);
    // After an endless first message nobody asks.
    let mut client = Client::connect(address);
    let record = [
        b"\x16\x03\x01\x40\0".as_slice(),
        &[1, 0xff, 0xff, 0xff],
        &[0; 16380],
    ]
    .concat();
    while client.try_send(&record).is_ok() {}
    site.failed("malformed", 2.0);
    site.proxy.counts(FAILURES, &[], 4.0);
    site.asks();
}

#[test]
fn the_alert_of_a_failed_handshake_is_not_lost_to_what_the_client_still_sends() {
    let site = serve("", "");
    for tail in [0, 5_000, 60_000] {
        let mut client = Client::connect(site.address);
        let mut said = old_hello(b"");
        said.resize(said.len() + tail, 7);
        client.send(said);
        let alert = client.until_closed().expect("an end and no reset");
        assert_eq!((alert[0], alert.len()), (21, 7), "{tail}");
    }
    site.failed("no_version", 3.0);
    // Whoever sends on for ever is cut.
    let mut client = Client::connect(site.address);
    client.send(old_hello(b""));
    let end = Instant::now() + DEADLINE;
    while client.try_send([7; 1000]).is_ok() {
        assert!(Instant::now() < end, "it may still send");
    }
    site.proxy.counts("pointsman_connections", &[], 0.0);
}

#[test]
fn handshakes_count_among_the_connections_that_may_be_open() {
    let site = serve("limit.connections = 2\ntimeout.handshake = \"1s\"\n", "");
    let address = site.address;
    let silent = [(); 2].map(|()| TcpStream::connect(address).unwrap());
    eventually("both are accepted", || {
        let open = site.proxy.metrics();
        open.sum("pointsman_connections", &[("listener", "tls")]) == 2.0
    });
    // Waits for one of them to be cut.
    site.asks();
    site.failed("timeout", 2.0);
    drop(silent);
}

#[test]
fn connections_under_tls_leave_nothing_behind() {
    let site = serve("", "");
    let round = || {
        let ask = |_: usize| {
            let mut client = TlsClient::secured(site.address, &site.config, "a.example");
            client.get("a.example", "/");
            client
        };
        let clients: Vec<_> = (0..50).map(ask).collect();
        drop(clients);
        site.proxy.counts("pointsman_connections", &[], 0.0);
    };
    round();
    round();
    let before = Usage::of(site.proxy.id());
    for _ in 0..5 {
        round();
    }
    let after = Usage::of(site.proxy.id());
    assert!(after.files <= before.files + 2, "{before:?} {after:?}");
    assert!(
        after.memory < before.memory + 4 * 1024,
        "{before:?} {after:?}"
    );
}

#[test]
fn a_stopping_process_cuts_handshakes_and_lets_requests_over_tls_finish() {
    let site = serve("", "");
    let mut proxy = site.proxy;
    let mut idle = TlsClient::secured(proxy.address(), &site.config, "a.example");
    idle.get("a.example", "/");
    let mut silent = Client::connect(proxy.address());
    eventually("it is accepted", || {
        proxy
            .metrics()
            .sum("pointsman_tls_handshakes_in_flight", &[])
            == 1.0
    });
    proxy.signal("TERM");
    assert_eq!(silent.until_closed().unwrap_or_default(), b"");
    assert_eq!(idle.until_closed().unwrap(), b"", "with a goodbye");
    assert!(proxy.wait().success());
}
