//! What one client, and all of them together, may take.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::harness::{Client, Origin, Proxy, Reply, eventually, route};

fn on_listener(keys: &str, origin: &Origin) -> Proxy {
    let route = route("all", "/*", &origin.url());
    Proxy::with_config(&format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n[[listener]]\n\
         address = \"127.0.0.1:0\"\nlimit = {{ {keys} }}\n{route}"
    ))
}

#[test]
fn a_body_beyond_the_routes_limit_is_refused_before_it_is_read_where_it_tells_its_length() {
    let origin = Origin::new(|received| Reply::text(received.body.len().to_string()));
    let routes = route("small", "/small", &origin.url()) + "limit = { body = \"1KiB\" }\n";
    let proxy = Proxy::start(&(routes + &route("all", "/*", &origin.url())));
    let post = |path: &str, framing: &str| {
        let mut client = Client::connect(proxy.address());
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{framing}"));
        client
    };
    let body = |length| "x".repeat(length);
    let known = |length| format!("Content-Length: {length}\r\n\r\n{}", body(length));
    let chunks = |length| {
        format!(
            "Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{}\r\n0\r\n\r\n",
            body(length)
        )
    };
    for framing in [known(1024), chunks(1024)] {
        assert_eq!(post("/small", &framing).response().text(), "1024");
    }
    assert_eq!(post("/large", &known(5000)).response().text(), "5000");
    let asked = origin.received().len();
    // Not a byte of the body is sent, nor is a client told to go on that waits to be.
    for line in ["", "Expect: 100-continue\r\n"] {
        let mut client = post("/small", &format!("{line}Content-Length: 1025\r\n\r\n"));
        let response = client.response();
        let seen = (response.status, response.header("x-pointsman-error"));
        assert_eq!(seen, (413, "body_too_large"));
        assert_eq!(response.header("connection"), "close");
        assert_eq!(client.until_closed().unwrap(), b"");
    }
    let mut client = post("/small", &chunks(1025));
    let response = client.response();
    let seen = (response.status, response.header("x-pointsman-error"));
    assert_eq!(seen, (413, "body_too_large"));
    assert_eq!(
        origin.received().len(),
        asked,
        "no request of these is whole"
    );
    proxy.counts("pointsman_errors_total", &[("why", "body_too_large")], 3.0);
}

#[test]
fn heads_have_the_limits_of_their_listener() {
    let origin = Origin::named("o");
    let proxy = on_listener("head = \"1KiB\", target = \"512B\", fields = 8", &origin);
    let head = |fill: usize, fields: usize| {
        let line = format!("X: {}\r\n", "x".repeat(fill));
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", line.repeat(fields))
    };
    let target = |fill: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(fill));
    for (bytes, status) in [
        (head(900, 1), 200),
        (head(1000, 1), 431),
        (head(1, 7), 200),
        (head(1, 8), 431),
        (target(511), 200),
        (target(512), 414),
    ] {
        let mut client = Client::connect(proxy.address());
        client.send(&bytes);
        assert_eq!(client.response().status, status, "{} bytes", bytes.len());
    }
}

#[test]
fn the_last_request_that_a_connection_may_carry_says_so() {
    let origin = Origin::named("o");
    let proxy = on_listener("requests = 3", &origin);
    let mut client = Client::connect(proxy.address());
    for request in 1..=3 {
        let response = client.get("a", "/");
        let last = if request == 3 { "close" } else { "" };
        assert_eq!(
            (response.status, response.header("connection")),
            (200, last)
        );
    }
    assert_eq!(client.until_closed().unwrap(), b"");
}

/// Is it answered, or does it wait?
fn is_served(client: &mut Client) -> bool {
    let wait = Duration::from_millis(300);
    client.stream().set_read_timeout(Some(wait)).unwrap();
    client
        .try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    client.try_response(false).is_ok()
}

#[test]
fn connections_beyond_the_limit_wait_and_none_is_lost() {
    let origin = Origin::named("o");
    let limited = on_listener("connections = 2", &origin);
    let shared = Proxy::with_config(&format!(
        "listen = \"127.0.0.1:0\"\n[server]\nmax_connections = 2\n[admin]\n\
         listen = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n{}",
        route("all", "/*", &origin.url())
    ));
    for proxy in [limited, shared] {
        let mut clients: Vec<_> = (0..3).map(|_| Client::connect(proxy.address())).collect();
        assert!(is_served(&mut clients[0]) && is_served(&mut clients[1]));
        assert!(!is_served(&mut clients[2]), "it waits");
        proxy.wait_for_log("it is told", |line| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.contains("further ones wait"))
        });
        drop(clients.remove(0));
        let mut waited = clients.remove(1);
        waited
            .stream()
            .set_read_timeout(Some(crate::harness::DEADLINE))
            .unwrap();
        assert_eq!(
            waited.response().status,
            200,
            "what it sent while it waited"
        );
    }
}

#[test]
fn a_client_that_waits_survives_a_change_of_its_listener() {
    let origin = Origin::named("o");
    let port = crate::harness::free_port();
    let config = |idle: &str| {
        format!(
            "[server]\nmax_connections = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\n\
             format = \"json\"\n[[listener]]\naddress = \"127.0.0.1:{port}\"\n\
             timeout = {{ idle = \"{idle}\" }}\n{}",
            route("all", "/*", &origin.url())
        )
    };
    let proxy = Proxy::with_config(&config("75s"));
    let mut first = Client::connect(proxy.address());
    assert_eq!(first.get("a", "/").status, 200);
    let mut waits = Client::connect(proxy.address());
    waits.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    proxy.wait_for_log("it waits", |line| {
        let text = line["message"].as_str();
        text.is_some_and(|text| text.contains("further ones wait"))
    });
    proxy.write_all(&config("70s"));
    assert_eq!(proxy.ask_reload().0, 200);
    drop(first);
    assert_eq!(waits.response().status, 200);
}

#[test]
fn a_place_goes_to_the_listener_that_has_a_client_and_is_kept_by_none_that_waits_for_one() {
    const LISTENERS: usize = 4;
    let origin = Origin::named("o");
    let listeners = (0..LISTENERS)
        .map(|number| format!("[[listener]]\nname = \"{number}\"\naddress = \"127.0.0.1:0\"\n"));
    let proxy = Proxy::with_config(&format!(
        "[server]\nmax_connections = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\n\
         format = \"json\"\n{}{}",
        listeners.collect::<String>(),
        route("all", "/*", &origin.url())
    ));
    let connect = |number: usize| Client::connect(proxy.listener(&number.to_string()));
    let mut open = connect(0);
    assert_eq!(open.get("a", "/").status, 200);
    for round in 1..20 {
        // Against the order in which they began to wait for a place.
        let mut next = connect((20 - round) % LISTENERS);
        next.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        proxy.counts("pointsman_connections", &[], 1.0);
        drop(open);
        assert_eq!(next.response().status, 200, "round {round}");
        open = next;
    }
    let served = proxy.metrics().sum("pointsman_connections_total", &[]);
    assert_eq!(served, 20.0, "one after the other");
}

#[test]
fn a_tunnel_keeps_the_place_of_its_connection() {
    let switch = "HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let origin = Origin::new(move |_| {
        Reply::Take(Box::new(move |mut stream: TcpStream| {
            stream.write_all(switch.as_bytes()).unwrap();
            while stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
        }))
    });
    let proxy = on_listener("connections = 1", &origin);
    let mut tunnel = Client::connect(proxy.address());
    tunnel.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(tunnel.try_head().unwrap().status, 101);
    proxy.counts("pointsman_tunnels", &[], 1.0);
    proxy.counts("pointsman_connections", &[], 1.0);
    let mut waits = Client::connect(proxy.address());
    assert!(!is_served(&mut waits));
    drop(tunnel);
    proxy.counts("pointsman_connections_total", &[], 2.0);
}

#[test]
fn a_route_can_refuse_encoded_slashes_and_by_default_they_pass_unchanged() {
    let origin = Origin::named("o");
    let strict = route("strict", "/strict/*", &origin.url()) + "encoded_slash = \"reject\"\n";
    let proxy = Proxy::start(&(strict + &route("all", "/*", &origin.url())));
    for (path, status) in [
        ("/a%2Fb", 200),
        ("/a%2fb%5Cc", 200),
        ("/strict/ab", 200),
        ("/strict/a%252Fb", 200),
        ("/strict/a%2Fb", 400),
        ("/strict/a%5cb", 400),
    ] {
        assert_eq!(proxy.get(path).status, status, "{path}");
        if status == 200 {
            assert_eq!(origin.last().target, path);
        }
    }
}

/// The origin answers while the request still comes, and the client reads only once it has sent all.
#[test]
fn a_client_that_reads_nothing_until_it_has_sent_everything_gets_both_through() {
    const SIZE: usize = 32 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let (mut read, mut write) = (stream.try_clone().unwrap(), stream);
        let mut piece = vec![0; 64 * 1024];
        assert!(read.read(&mut piece).unwrap() > 0);
        let answer = thread::spawn(move || {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
            write.write_all(head.as_bytes()).unwrap();
            write.write_all(&vec![b'd'; SIZE]).unwrap();
        });
        // It takes all that comes, in its own time.
        while read.read(&mut piece).is_ok_and(|read| read > 0) {}
        answer.join().unwrap();
    });
    let proxy = Proxy::to(&url);
    let mut client = Client::connect(proxy.address());
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"
    ));
    let wait = Some(crate::harness::DEADLINE);
    client.stream().set_write_timeout(wait).unwrap();
    client.send(vec![b'u'; SIZE]);
    assert_eq!(client.response().body.len(), SIZE);
    proxy.counts("pointsman_request_bytes_total", &[], SIZE as f64);
}

#[test]
fn senseless_limits_are_refused_with_their_place() {
    let origin = Origin::named("o");
    let proxy = Proxy::to(&origin.url());
    for (keys, place) in [
        ("head = \"1B\"", "limit.head"),
        ("target = \"1GiB\"", "limit.target"),
        ("fields = 1000", "limit.fields"),
        ("connections = 0", "limit.connections"),
        ("requests = 0", "limit.requests"),
        ("head = 5", "limit.head"),
        ("heads = 5", "limit.heads"),
    ] {
        proxy.write_all(&format!(
            "[admin]\nlisten = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
             limit = {{ {keys} }}\n{}",
            route("all", "/*", &origin.url())
        ));
        let (status, outcome) = proxy.ask_reload();
        assert_eq!(status, 422, "{keys}");
        assert!(outcome.to_string().contains(place), "{keys}: {outcome:#}");
    }
    eventually("it serves on", || proxy.get("/").status == 200);
}
