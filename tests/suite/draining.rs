//! Connections that last: untouched by changes that are not about them, and led to their end by
//! those that are.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Backend, Client, DEADLINE, Events, Proxy, Socket, eventually, free_port, route,
};

/// The close code of a server that goes away.
const GOING_AWAY: Option<u16> = Some(1001);

fn drained_in(time: &str) -> String {
    format!("reload = {{ mode = \"off\", drain_timeout = \"{time}\" }}\n")
}

#[test]
fn websockets_and_event_streams_notice_nothing_of_changes_of_other_routes() {
    let backend = Backend::new("one");
    let lasting = drained_in("0s") + &route("lasting", "/*", &backend.url());
    let proxy = Proxy::start(&lasting);
    let (address, url) = (proxy.address(), backend.url());
    let mut sockets: Vec<_> = (0..100).map(|_| Socket::open(address, "/socket")).collect();
    let streams: Vec<_> = (0..10).map(|_| Events::open(address, "/events")).collect();
    for round in 0..50 {
        let count = round % 4;
        let others =
            (0..count).map(|n| route(&format!("{round} {n}"), &format!("/other/{n}"), &url));
        proxy.apply(&format!(
            "{lasting}{}# {round}\n",
            others.collect::<String>()
        ));
        sockets.iter_mut().for_each(Socket::echo);
    }
    for stream in &streams {
        stream.flows();
    }
    assert_eq!(backend.goodbyes(), []);
    let metrics = proxy.metrics();
    assert_eq!(metrics.sum("pointsman_tunnels", &[]), 100.0);
    let ended = metrics.sum("pointsman_errors_total", &[]);
    assert_eq!(ended, 0.0, "{}", metrics.0);
}

#[test]
fn a_changed_or_removed_route_says_goodbye_to_its_connections_and_no_other_does() {
    let servers = |two: bool, url: &str| {
        let list = if two {
            format!("[\"{url}\", \"{url}/x\"]")
        } else {
            format!("\"{url}\"")
        };
        format!("[upstream.app]\nserver = {list}\n")
    };
    type Change = fn(&str) -> String;
    let changes: [(&str, Change, bool); 4] = [
        ("removed", |_| String::new(), false),
        (
            "given a rule",
            |route| format!("{route}response_header.set = {{ X-New = \"1\" }}\n"),
            false,
        ),
        (
            "renamed",
            |route| route.replace("\"goes\"", "\"went\""),
            false,
        ),
        ("on other servers", str::to_owned, true),
    ];
    for (what, change, other_servers) in changes {
        let backend = Backend::new("one");
        let url = backend.url();
        let stays = drained_in("0s") + &route("stays", "/stays/*", &url);
        let goes = route("goes", "/*", "app");
        let proxy = Proxy::start(&format!("{stays}{goes}{}", servers(false, &url)));
        let address = proxy.address();
        let mut leaving = Socket::open(address, "/socket");
        let mut staying = Socket::open(address, "/stays/socket");
        let events = Events::open(address, "/events");
        leaving.echo();
        proxy.apply(&format!(
            "{stays}{}{}",
            change(&goes),
            servers(other_servers, &url)
        ));
        assert_eq!(
            leaving.goodbye(),
            GOING_AWAY,
            "the client of a route {what}"
        );
        events.end().expect("an end that HTTP knows");
        eventually("the upstream is told, too", || {
            backend.goodbyes() == [GOING_AWAY]
        });
        staying.echo();
        let drained = [("route", "goes"), ("why", "draining")];
        // Each is counted once its last byte has left.
        proxy.counts("pointsman_errors_total", &drained, 2.0);
    }
}

#[test]
fn a_drain_that_is_never_leaves_what_is_open_until_it_ends_by_itself() {
    let backend = Backend::new("one");
    let settings = drained_in("never");
    let stays = settings.clone() + "[[route]]\npath = \"/none\"\nrespond = {}\n";
    let proxy = Proxy::start(&(settings + &route("goes", "/*", &backend.url())));
    let mut socket = Socket::open(proxy.address(), "/socket");
    let events = Events::open(proxy.address(), "/events");
    proxy.apply(&stays);
    assert_eq!(proxy.get("/").status, 404);
    // Nothing is to happen, so there is nothing to wait for.
    thread::sleep(Duration::from_millis(500));
    socket.echo();
    events.flows();
}

#[test]
fn goodbyes_are_spread_over_the_time_of_the_drain() {
    const SOCKETS: usize = 40;
    const TIME: Duration = Duration::from_secs(1);
    let backend = Backend::new("one");
    let stays = drained_in("1s") + "[[route]]\npath = \"/none\"\nrespond = {}\n";
    let proxy = Proxy::start(&(stays.clone() + &route("goes", "/*", &backend.url())));
    let open = |_| Socket::open(proxy.address(), "/socket");
    let sockets: Vec<_> = (0..SOCKETS).map(open).collect();
    let began = Instant::now();
    proxy.apply(&stays);
    let reader = |mut socket: Socket| thread::spawn(move || (socket.goodbye(), began.elapsed()));
    let readers: Vec<_> = sockets.into_iter().map(reader).collect();
    let mut times = Vec::new();
    for reader in readers {
        let (code, time) = reader.join().unwrap();
        assert_eq!(code, GOING_AWAY);
        times.push(time);
    }
    times.sort();
    // By chance alone, all of them this early or this late: once in a hundred million runs.
    assert!(times[0] < TIME.mul_f64(0.6), "{times:?}");
    assert!(times[SOCKETS - 1] > TIME.mul_f64(0.3), "{times:?}");
    assert!(times[SOCKETS - 1] < TIME + DEADLINE / 4, "{times:?}");
}

/// Two listeners, of which the second goes. Its port, and the configuration without it.
fn second_listener(time: &str, backend: &Backend) -> (Proxy, u16, String) {
    let port = free_port();
    let settings = drained_in(time);
    let second = format!("[[listener]]\naddress = \"127.0.0.1:{port}\"\n");
    let routes = route("all", "/*", &backend.url());
    let proxy = Proxy::start(&format!("{settings}{second}{routes}"));
    (proxy, port, settings + &routes)
}

#[test]
fn a_removed_listener_drains_its_connections_and_no_others() {
    let backend = Backend::new("one");
    let (proxy, port, without) = second_listener("500ms", &backend);
    let second = ([127, 0, 0, 1], port).into();
    let first = proxy.listener("127.0.0.1:0");
    let mut staying = Socket::open(first, "/socket");
    let flowing = Events::open(first, "/events");
    let mut leaving = Socket::open(second, "/socket");
    let events = Events::open(second, "/events");
    let mut idle = Client::connect(second);
    idle.get("test", "/");
    let mut kept = Client::connect(first);
    kept.get("test", "/");

    proxy.apply(&without);
    assert_eq!(
        idle.until_closed().unwrap(),
        b"",
        "an idle connection is just closed"
    );
    assert_eq!(
        leaving.goodbye(),
        GOING_AWAY,
        "its route stays, its listener does not"
    );
    events.end().expect("an end that HTTP knows");
    eventually("only that one was told", || {
        backend.goodbyes() == [GOING_AWAY]
    });
    staying.echo();
    flowing.flows();
    assert_eq!(kept.get("test", "/").status, 200);
}

#[test]
fn the_time_of_the_drain_bounds_requests_of_a_removed_listener_and_never_does_not() {
    for (time, finishes) in [("0s", false), ("300ms", false), ("never", true)] {
        let backend = Backend::new("one");
        let (proxy, port, without) = second_listener(time, &backend);
        let second = ([127, 0, 0, 1], port).into();
        let mut slow = Client::connect(second);
        slow.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
        eventually("the slow request is under way", || {
            backend.has_seen("/slow")
        });
        let mut body = Client::connect(second);
        body.send("GET /stream HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(body.try_head().unwrap().status, 200);
        let mut socket = Socket::open(second, "/socket");
        proxy.apply(&without);
        if finishes {
            // Nothing is to happen, so there is nothing to wait for.
            thread::sleep(Duration::from_millis(500));
            socket.echo();
            backend.release();
            assert_eq!(slow.response().text(), "one");
        } else {
            assert_eq!(socket.goodbye(), GOING_AWAY);
            slow.try_response(false).expect_err("the request is cut");
            // Not with an end that would make the answer look whole.
            let rest = body.until_closed();
            assert!(rest.is_ok_and(|rest| !rest.ends_with(b"0\r\n\r\n")));
            proxy.counts("pointsman_requests_in_flight", &[], 0.0);
            proxy.counts("pointsman_errors_total", &[("why", "draining")], 3.0);
            proxy.counts("pointsman_errors_total", &[], 3.0);
            for (path, status) in [("/slow", 503), ("/stream", 200), ("/socket", 101)] {
                let line = proxy.wait_for_log(path, |line| line["path"] == path);
                assert_eq!(line["status"], status, "{line:#}");
                assert_eq!(line["why"], "draining", "{line:#}");
            }
        }
    }
}
