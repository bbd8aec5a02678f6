//! The PROXY protocol as it comes in: who a relayed client is, and who may say so.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{
    Client, DEADLINE, Load, Origin, Proxy, Response, eventually, free_port, get, route,
};

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
pub(crate) const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 80\r\n";

/// Version 2, with a TLV after the addresses.
fn binary(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    let length = u8::try_from(addresses.len() + 6).unwrap();
    header.extend([command, family, 0, length]);
    header.extend(addresses);
    header.extend(b"\x04\0\x03abc");
    header
}

pub(crate) fn six() -> Vec<u8> {
    let source = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    let destination = [0; 16];
    binary(
        0x21,
        0x21,
        &[&source[..], &destination, &[1, 2, 0, 80]].concat(),
    )
}

/// Listeners `relayed`, whose peers must send a header, and `plain`, where only others may.
pub(crate) fn config(rest: &str, upstream: &str) -> String {
    let listener = |name: &str, from: &str| {
        format!(
            "[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\n\
             timeout.header = \"2s\"\nproxy_protocol = {{ from = {from} }}\n"
        )
    };
    let head = "admin.listen = \"127.0.0.1:0\"\nreload.mode = \"off\"\n".to_owned() + rest;
    head + &listener("relayed", "[\"127.0.0.0/8\", \"unix:\"]")
        + &listener("plain", "[\"10.0.0.0/8\", \"unix:\"]")
        + &route("all", "/*", upstream)
        + "forwarded = true\nrequest_header = { set = { X-Who = \"{client_ip}\" } }\n"
}

fn refused(proxy: &Proxy, listener: &str, count: f64) {
    proxy.counts(
        "pointsman_connections_refused_total",
        &[("listener", listener)],
        count,
    );
}

pub(crate) fn after(proxy: &Proxy, header: &[u8]) -> Response {
    let mut client = Client::connect(proxy.listener("relayed"));
    client.send([header, GET.as_bytes()].concat());
    client.response()
}

#[test]
fn the_client_is_who_the_header_tells_in_every_place_that_shows_one() {
    let origin = Origin::named("one");
    let proxy = Proxy::with_config(&config("", &origin.url()));
    let four = binary(0x21, 0x11, &[192, 0, 2, 8, 10, 0, 0, 1, 1, 2, 0, 80]);
    let local = "127.0.0.1";
    let table: [(&[u8], &str); 7] = [
        (LINE.as_bytes(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::9 ::1 1 2\r\n", "2001:db8::9"),
        (b"PROXY UNKNOWN\r\n", local),
        (&four, "192.0.2.8"),
        (&six(), "2001:db8::9"),
        (&binary(0x20, 0x00, &[]), local),
        (&binary(0x21, 0x00, &[]), local),
    ];
    for (number, (header, who)) in table.into_iter().enumerate() {
        assert_eq!(after(&proxy, header).status, 200);
        let seen = origin.last();
        assert_eq!(
            (seen.header("x-forwarded-for"), seen.header("x-who")),
            (who, who)
        );
        let node = if who.contains(':') {
            format!("\"[{who}]\"")
        } else {
            who.to_owned()
        };
        assert!(
            seen.header("forwarded")
                .starts_with(&format!("for={node};")),
            "{seen:?}"
        );
        eventually("the log tells it", || {
            let log = proxy.log();
            let mut lines = log.iter().filter(|line| line["path"] == "/");
            lines
                .nth(number)
                .is_some_and(|line| line["client_ip"] == who)
        });
    }
    refused(&proxy, "relayed", 0.0);
}

#[test]
fn a_header_may_come_byte_by_byte_or_with_several_requests_behind_it() {
    let origin = Origin::named("one");
    let proxy = Proxy::with_config(&config("", &origin.url()));
    for (header, who) in [(LINE.as_bytes(), "192.0.2.7"), (&six(), "2001:db8::9")] {
        let mut client = Client::connect(proxy.listener("relayed"));
        for byte in [header, GET.as_bytes()].concat() {
            client.send([byte]);
            thread::yield_now();
        }
        assert_eq!(client.response().status, 200);
        assert_eq!(origin.last().header("x-forwarded-for"), who);
        // The header is of the connection: what follows is requests only.
        client.send([GET, GET].concat());
        assert_eq!(
            (client.response().status, client.response().status),
            (200, 200)
        );
        assert_eq!(origin.last().header("x-forwarded-for"), who);
        let mut client = Client::connect(proxy.listener("relayed"));
        client.send([header, GET.as_bytes(), GET.as_bytes()].concat());
        assert_eq!(
            (client.response().status, client.response().status),
            (200, 200)
        );
        assert_eq!(origin.last().header("x-forwarded-for"), who);
    }
}

#[test]
fn without_a_sound_header_the_connection_is_closed_without_an_answer_counted_and_hardly_logged() {
    let origin = Origin::named("one");
    let proxy = Proxy::with_config(&config("", &origin.url()));
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
    let wrong: [&[u8]; 7] = [
        b"",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 80\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 056324 80\r\n",
        long.as_bytes(),
        &binary(0x21, 0x21, &[1; 12]),
        &binary(0x31, 0x11, &[1; 12]),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ];
    let rounds = 10;
    for header in wrong.iter().cycle().take(wrong.len() * rounds) {
        let mut client = Client::connect(proxy.listener("relayed"));
        client.send([*header, GET.as_bytes()].concat());
        // Whether by an end or by a reset.
        let answer = client.until_closed().unwrap_or_default();
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    refused(&proxy, "relayed", (wrong.len() * rounds) as f64);
    assert_eq!(origin.received().len(), 0);
    proxy.counts("pointsman_requests_total", &[], 0.0);
    let log = proxy.log();
    let complaints = log.iter().filter(|line| line["level"] == "warn");
    assert!((1..=4).contains(&complaints.count()), "{log:#?}");
    // A health check that only connects is no trouble.
    drop(TcpStream::connect(proxy.listener("relayed")).unwrap());
    assert_eq!(after(&proxy, LINE.as_bytes()).status, 200);
    refused(&proxy, "relayed", (wrong.len() * rounds) as f64);
}

#[test]
fn peers_that_are_not_named_can_tell_nothing_with_a_header() {
    let origin = Origin::named("one");
    let proxy = Proxy::with_config(&config("", &origin.url()));
    let plain = proxy.listener("plain");
    assert_eq!(get(plain, "/").status, 200);
    assert_eq!(origin.last().header("x-forwarded-for"), "127.0.0.1");
    for header in [LINE.as_bytes(), &six()] {
        let mut client = Client::connect(plain);
        client.send([header, GET.as_bytes()].concat());
        assert_eq!(client.response().status, 400);
    }
    assert_eq!(origin.received().len(), 1);
    refused(&proxy, "plain", 0.0);
}

#[test]
fn who_is_trusted_is_asked_of_the_client_that_the_header_tells() {
    let origin = Origin::named("one");
    let claim = "GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 203.0.113.5\r\n\r\n";
    let seen = |proxy: &Proxy| {
        let mut client = Client::connect(proxy.listener("relayed"));
        client.send(LINE.to_owned() + claim);
        assert_eq!(client.response().status, 200);
        let last = origin.last();
        [last.header("x-forwarded-for"), last.header("x-who")].map(str::to_owned)
    };
    let trusting = |peers: &str| {
        let rest = format!("server.trusted_proxies = [\"{peers}\"]\n");
        Proxy::with_config(&config(&rest, &origin.url()))
    };
    // The relay is trusted with its header, and that is not the client's claim.
    assert_eq!(seen(&trusting("127.0.0.1")), ["192.0.2.7", "192.0.2.7"]);
    assert_eq!(
        seen(&trusting("192.0.2.7")),
        ["203.0.113.5, 192.0.2.7", "203.0.113.5"]
    );
}

#[test]
fn connections_that_stall_before_their_header_hold_up_nobody_and_are_cut_in_time() {
    let origin = Origin::named("one");
    let proxy = Proxy::with_config(&config("log.access = false\n", &origin.url()));
    let load = Load::start(proxy.listener("plain"), 2, "/", |answer| {
        assert_eq!(answer.status, 200);
    });
    let began = Instant::now();
    let starts: [&[u8]; 4] = [
        b"",
        b"P",
        b"PROXY TCP4 192.0.2.7",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0",
    ];
    let stalled = starts.iter().cycle().take(200).map(|start| {
        let mut client = Client::connect(proxy.listener("relayed"));
        client.send(start);
        client
    });
    let mut stalled: Vec<_> = stalled.collect();
    load.answers(50);
    assert_eq!(after(&proxy, LINE.as_bytes()).status, 200);
    for client in &mut stalled {
        assert_eq!(client.until_closed().unwrap_or_default(), b"");
    }
    let time = began.elapsed();
    assert!(
        time >= Duration::from_secs(2) && time < DEADLINE / 2,
        "{time:?}"
    );
    refused(&proxy, "relayed", 200.0);
    load.stop();
}

#[test]
fn a_header_is_asked_of_new_connections_from_the_reload_on() {
    let origin = Origin::named("one");
    let port = free_port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let text = |more: &str| {
        format!(
            "admin.listen = \"127.0.0.1:0\"\nreload.mode = \"off\"\n[[listener]]\n\
             name = \"web\"\naddress = \"{address}\"\n{more}\n{}",
            route("all", "/*", &origin.url())
        )
    };
    let apply = |proxy: &Proxy, text: &str| {
        proxy.write_all(text);
        let (status, outcome) = proxy.ask_reload();
        assert_eq!(status, 200, "{outcome:#}");
    };
    let (plain, relayed) = (
        text(""),
        text("proxy_protocol = { from = [\"127.0.0.1\"] }"),
    );
    let proxy = Proxy::with_config(&plain);
    for _ in 0..3 {
        let mut kept = Client::connect(address);
        assert_eq!(kept.get("test", "/").status, 200);
        apply(&proxy, &relayed);
        let mut client = Client::connect(address);
        client.send(LINE.to_owned() + GET);
        assert_eq!(client.response().status, 200);
        assert_eq!(origin.last().header("x-forwarded-for"), "192.0.2.7");
        let last = kept.get("test", "/");
        assert_eq!((last.status, last.header("connection")), (200, "close"));
        assert_eq!(origin.last().header("x-forwarded-for"), "127.0.0.1");
        apply(&proxy, &plain);
        assert_eq!(get(address, "/").status, 200);
    }
    proxy.write_all(&text("proxy_protocol = { from = [] }"));
    let (status, outcome) = proxy.ask_reload();
    assert_eq!(status, 422, "{outcome:#}");
    assert!(
        outcome["problems"]
            .to_string()
            .contains("listener[0].proxy_protocol.from")
    );
}

#[test]
fn a_relay_on_the_same_machine_may_send_its_header_by_a_unix_socket() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("web.sock");
    let origin = Origin::named("one");
    let _proxy = Proxy::with_config(&format!(
        "admin.listen = \"127.0.0.1:0\"\n[[listener]]\naddress = \"unix:{}\"\n\
         proxy_protocol = {{ from = [\"unix:\"] }}\n{}",
        path.display(),
        route("all", "/*", &origin.url())
    ));
    for (header, who) in [(LINE, "192.0.2.7"), ("PROXY UNKNOWN\r\n", "")] {
        let mut stream = UnixStream::connect(&path).unwrap();
        let close = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        stream
            .write_all((header.to_owned() + close).as_bytes())
            .unwrap();
        let answer = std::io::read_to_string(stream).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(origin.last().header("x-forwarded-for"), who);
    }
}
