//! Listeners that are added, moved and removed while the proxy runs, and those that cannot be had.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::harness::{
    Backend, Client, Load, Origin, Proxy, eventually, free_port, get, request, route,
};

/// Ports are chosen by the test, so reloads are asked for and not guessed from the file.
fn config(listeners: &[(&str, &str, u16)], rest: &str) -> String {
    let mut text = "admin.listen = \"127.0.0.1:0\"\nreload.mode = \"off\"\n".to_owned();
    for (name, host, port) in listeners {
        let table = format!("[[listener]]\nname = \"{name}\"\naddress = \"{host}:{port}\"\n");
        text.push_str(&table);
    }
    text + rest
}

#[track_caller]
fn apply(proxy: &Proxy, text: &str) {
    proxy.write_all(text);
    let (status, outcome) = proxy.ask_reload();
    assert_eq!(
        (status, &outcome["result"]),
        (200, &"applied".into()),
        "{outcome:#}"
    );
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The sockets that are no longer wanted close a moment after the reload is answered.
#[track_caller]
fn refuses(port: u16) {
    eventually("the old port refuses connections", || {
        TcpStream::connect(local(port)).is_err()
    });
}

#[test]
fn a_listener_that_cannot_be_bound_refuses_the_whole_change_and_leaves_no_socket_behind() {
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (old, free) = (free_port(), free_port());
    let b = taken.local_addr().unwrap().port();
    let before = config(
        &[("old", "127.0.0.1", old)],
        &route("all", "/*", &one.url()),
    );
    let listeners = [
        ("old", "127.0.0.1", old),
        ("a", "127.0.0.1", free),
        ("b", "127.0.0.1", b),
    ];
    let after = config(&listeners, &route("all", "/*", &two.url()));
    let proxy = Proxy::with_config(&before);
    let load = Load::start(local(old), 4, "/", |response| {
        assert_eq!((response.status, response.header("x-origin")), (200, "one"));
    });

    for attempt in 1..=10 {
        proxy.write_all(&after);
        let (status, outcome) = proxy.ask_reload();
        assert_eq!(
            (status, &outcome["result"]),
            (422, &"refused".into()),
            "{outcome:#}"
        );
        let problems = outcome["problems"].as_array().unwrap();
        assert_eq!(
            problems.len(),
            1,
            "only one of the two is taken: {outcome:#}"
        );
        let (message, line) = (problems[0]["message"].to_string(), &problems[0]["line"]);
        assert!(message.contains(&local(b).to_string()), "{message}");
        let written = after
            .lines()
            .position(|line| line.contains(&local(b).to_string()));
        assert_eq!(line.as_u64(), written.map(|line| line as u64 + 1));
        assert_eq!(problems[0]["column"], 11, "{outcome:#}");
        drop(TcpListener::bind(local(free)).expect("the free port is free again"));
        assert_eq!(proxy.generation(), 1, "attempt {attempt}");
    }
    load.answers(20);
    assert_eq!(proxy.status()["listeners"].as_array().unwrap().len(), 1);
    load.stop();

    drop(taken);
    apply(&proxy, &after);
    for port in [old, free, b] {
        assert_eq!(get(local(port), "/").header("x-origin"), "two");
    }
}

#[test]
fn a_moved_listener_serves_on_its_new_port_while_the_old_one_only_finishes_its_requests() {
    let backend = Backend::new("one");
    let routes = route("all", "/*", &backend.url());
    let (from, to) = (free_port(), free_port());
    let proxy = Proxy::with_config(&config(&[("web", "127.0.0.1", from)], &routes));
    let mut slow = Client::connect(local(from));
    slow.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("the slow request is under way", || {
        backend.has_seen("/slow")
    });

    apply(&proxy, &config(&[("web", "127.0.0.1", to)], &routes));
    assert_eq!(get(local(to), "/").text(), "one");
    refuses(from);
    backend.release();
    let answer = slow.response();
    assert_eq!((answer.status, answer.text()), (200, "one".to_owned()));
    assert_eq!(answer.header("connection"), "close");
    assert_eq!(slow.until_closed().unwrap(), b"");
}

#[test]
fn two_listeners_swap_their_ports_in_one_reload_and_both_ports_always_accept() {
    let origin = Origin::named("one");
    let routes = route("all", "/*", &origin.url());
    let (p, q) = (free_port(), free_port());
    let named = |a, b| config(&[("a", "127.0.0.1", a), ("b", "127.0.0.1", b)], &routes);
    let proxy = Proxy::with_config(&named(p, q));
    let accepted = |name| {
        let metrics = proxy.metrics();
        metrics.sum("pointsman_connections_total", &[("listener", name)])
    };
    thread::scope(|scope| {
        let reloads = scope.spawn(|| {
            for _ in 0..10 {
                apply(&proxy, &named(q, p));
                apply(&proxy, &named(p, q));
            }
            apply(&proxy, &named(q, p));
        });
        while !reloads.is_finished() {
            for port in [p, q] {
                assert_eq!(get(local(port), "/").status, 200);
            }
        }
    });
    let (a, b) = (accepted("a"), accepted("b"));
    get(local(q), "/");
    assert_eq!(
        (accepted("a"), accepted("b")),
        (a + 1.0, b),
        "the second port is a's now"
    );
}

#[test]
fn a_port_can_be_removed_and_taken_back_twenty_times() {
    let origin = Origin::named("one");
    let routes = route("all", "/*", &origin.url());
    let (stays, goes) = (free_port(), free_port());
    let alone = config(&[("stays", "127.0.0.1", stays)], &routes);
    let both = [("stays", "127.0.0.1", stays), ("goes", "127.0.0.1", goes)];
    let both = config(&both, &routes);
    let proxy = Proxy::with_config(&both);
    let load = Load::start(local(stays), 2, "/", |response| {
        assert_eq!(response.status, 200);
    });
    for _ in 0..20 {
        assert_eq!(get(local(goes), "/").text(), "one");
        apply(&proxy, &alone);
        // Not waited for: the socket may be about to close when it is wanted again.
        apply(&proxy, &both);
    }
    apply(&proxy, &alone);
    refuses(goes);
    load.stop();
    let gauge = |name| {
        let metrics = proxy.metrics();
        metrics.get("pointsman_connections", &[("listener", name)])
    };
    assert!(gauge("stays").is_some() && gauge("goes").is_none());
}

#[test]
fn a_port_moves_between_one_address_and_all_of_them_in_one_reload() {
    let origin = Origin::named("one");
    let routes = route("all", "/*", &origin.url());
    let port = free_port();
    // Only a socket on all addresses answers on this one.
    let other = SocketAddr::from(([127, 0, 0, 2], port));
    let on = |host| config(&[("web", host, port)], &routes);
    let proxy = Proxy::with_config(&on("127.0.0.1"));
    for _ in 0..10 {
        apply(&proxy, &on("0.0.0.0"));
        assert_eq!(get(other, "/").text(), "one");
        apply(&proxy, &on("127.0.0.1"));
        eventually("the wide socket closes", || {
            TcpStream::connect(other).is_err()
        });
        assert_eq!(request(local(port), "GET", "/", &[], "").text(), "one");
    }
    let foreign = TcpListener::bind(local(port));
    assert!(foreign.is_err(), "the port is shared with nobody");
}
