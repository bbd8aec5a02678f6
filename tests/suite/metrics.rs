//! What `/metrics` says: exact, bounded by the configuration, and never in the way of requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Origin, Proxy, Reply, eventually, free_port};

const REQUESTS: &str = "pointsman_requests_total";
const IN_FLIGHT: &str = "pointsman_requests_in_flight";

fn named(name: &str, rest: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\npath = \"/{name}\"\n{rest}\n")
}

#[test]
fn the_counters_of_a_route_go_on_through_a_hundred_reloads_changed_or_not() {
    let proxy = Proxy::start(&named("kept", "respond = {}"));
    let mut client = Client::connect(proxy.address());
    for round in 1..=100 {
        let other = named("other", &format!("respond.body = \"{round}\""));
        proxy.apply(&(named("kept", "respond = {}") + &other));
        assert_eq!(client.get("a", "/kept").status, 200);
        assert_eq!(client.get("a", "/other").text(), round.to_string());
        if round % 10 == 0 {
            for route in ["kept", "other"] {
                proxy.counts(REQUESTS, &[("route", route)], f64::from(round));
            }
            let seconds = "pointsman_request_duration_seconds_count";
            proxy.counts(seconds, &[("route", "kept")], f64::from(round));
        }
    }
    assert_eq!(proxy.metrics_at_rest().series(REQUESTS).count(), 2);
}

#[test]
fn no_request_can_make_a_series() {
    let proxy = Proxy::start(&named("known", "respond = {}"));
    let mut client = Client::connect(proxy.address());
    let mut ask = |method: &str, host: &str, path: &str| {
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.try_response(method == "HEAD").unwrap().status
    };
    for method in ["GET", "EVIL"] {
        assert_eq!(ask(method, "a", "/known"), 200);
        assert_eq!(ask(method, "a", "/unknown"), 404);
    }
    proxy.counts(REQUESTS, &[], 4.0);
    let before = proxy.metrics_at_rest().count();
    for number in 0..5_000 {
        let method = if number % 2 == 0 {
            "GET".to_owned()
        } else {
            format!("EVIL{number}")
        };
        let path = if number % 3 == 0 {
            "/known".to_owned()
        } else {
            format!("/{number}/x")
        };
        ask(&method, &format!("h{number}.example"), &path);
    }
    proxy.counts(REQUESTS, &[], 5_004.0);
    let metrics = proxy.metrics_at_rest();
    assert_eq!(metrics.count(), before);
    for client in ["EVIL", "h7", "/x"] {
        assert!(!metrics.0.contains(client), "{client} is a label");
    }
}

#[test]
fn errors_of_the_proxy_are_told_apart_from_the_upstreams() {
    let closing = Origin::new(|_| Reply::RawClose(Vec::new()));
    let failing = Origin::new(|_| Reply::Whole(502, Vec::new(), Vec::new()));
    let proxy = Proxy::start(
        &[
            named(
                "refused",
                &format!("upstream = \"http://127.0.0.1:{}\"", free_port()),
            ),
            named("closing", &format!("upstream = \"{}\"", closing.url())),
            named("failing", &format!("upstream = \"{}\"", failing.url())),
        ]
        .concat(),
    );
    for path in [
        "/refused", "/refused", "/closing", "/failing", "/none", "/../x",
    ] {
        proxy.get(path);
    }
    proxy.counts(REQUESTS, &[], 6.0);
    let metrics = proxy.metrics_at_rest();
    let error =
        |route, why| metrics.get("pointsman_errors_total", &[("route", route), ("why", why)]);
    assert_eq!(error("refused", "connect_refused"), Some(2.0));
    assert_eq!(error("closing", "upstream_reset"), Some(1.0));
    assert_eq!(error("_unmatched", "no_route"), Some(1.0));
    assert_eq!(error("_unmatched", "bad_path"), Some(1.0));
    assert_eq!(metrics.sum("pointsman_errors_total", &[]), 5.0);
    let failing = [("route", "failing"), ("method", "GET"), ("code", "502")];
    assert_eq!(metrics.get(REQUESTS, &failing), Some(1.0));
}

#[test]
fn bounds_that_are_no_bounds_are_refused_and_others_wait_for_a_restart() {
    let route = named("r", "respond = {}");
    let proxy = Proxy::start(&route);
    let too_many: Vec<_> = (1..=41).map(|bound| format!("{bound}.0")).collect();
    let wrong = [
        "",
        "0.1, 0.1",
        "0.2, 0.1",
        "0.0",
        "-1.0",
        "inf",
        "nan",
        &too_many.join(", "),
    ];
    for bounds in wrong {
        let (status, outcome) = proxy.reload(&format!("metrics.buckets = [{bounds}]\n{route}"));
        assert_eq!(status, 422, "{bounds}: {outcome}");
        assert_eq!(
            outcome["problems"][0]["key"], "metrics.buckets",
            "{outcome}"
        );
    }
    let buckets = || {
        proxy.get("/r");
        let bucket = "pointsman_request_duration_seconds_bucket";
        let metrics = proxy.metrics_at_rest();
        metrics
            .series(bucket)
            .map(|(labels, _)| labels.to_owned())
            .collect::<Vec<_>>()
    };
    let before = buckets();
    let (status, outcome) = proxy.reload(&format!("metrics.buckets = [0.1, 0.7]\n{route}"));
    assert_eq!((status, &outcome["result"]), (200, &"applied".into()));
    assert!(
        outcome["warnings"][0]["message"]
            .as_str()
            .unwrap()
            .contains("next start")
    );
    assert_eq!(buckets(), before);

    let proxy = Proxy::start(&format!("metrics.buckets = [0.1, 0.7]\n{route}"));
    proxy.get("/r");
    let metrics = proxy.metrics_at_rest();
    for bound in ["0.1", "0.7", "+Inf"] {
        assert_eq!(
            metrics.sum(
                "pointsman_request_duration_seconds_bucket",
                &[("le", bound)]
            ),
            1.0
        );
    }
    assert_eq!(
        metrics
            .series("pointsman_request_duration_seconds_bucket")
            .count(),
        3
    );
}

#[test]
fn the_upstreams_time_and_the_proxys_own_are_apart() {
    let origin = Origin::new(|_| {
        thread::sleep(Duration::from_millis(100));
        Reply::text("slow")
    });
    let proxy = Proxy::to(&origin.url());
    let mut before = [0.0; 3];
    let mut least = f64::MAX;
    for round in 1..=5 {
        assert_eq!(proxy.get("/").status, 200);
        proxy.counts(REQUESTS, &[], f64::from(round));
        let metrics = proxy.metrics();
        let now = ["request_duration", "upstream_duration", "proxy_overhead"].map(|name| {
            metrics
                .get(&format!("pointsman_{name}_seconds_sum"), &[])
                .unwrap()
        });
        let [total, upstream, overhead] = [0, 1, 2].map(|at| now[at] - before[at]);
        assert!(upstream >= 0.1 && total >= upstream, "{total} {upstream}");
        least = least.min(overhead);
        before = now;
    }
    // A busy machine may be late now and then.
    assert!(least < 0.005, "{least} s of the proxy's own");
}

#[test]
fn the_lifetime_of_a_stream_is_no_latency() {
    let origin = Origin::new(|received| {
        let head = match received.target.as_str() {
            "/events" => "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
            _ => "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        };
        Reply::Take(Box::new(move |mut stream| {
            use std::io::{Read, Write};
            stream.write_all(head.as_bytes()).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        }))
    });
    let proxy = Proxy::to(&origin.url());
    let ask = |target: &str| {
        let mut client = Client::connect(proxy.address());
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n"));
        client.send("Connection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        client.try_head().unwrap();
        client
    };
    let clients = [ask("/events"), ask("/socket")];
    proxy.counts(IN_FLIGHT, &[], 2.0);
    proxy.counts("pointsman_tunnels", &[], 1.0);
    drop(clients);
    proxy.counts(IN_FLIGHT, &[], 0.0);
    let metrics = proxy.metrics_at_rest();
    let count = |name: &str| metrics.sum(&format!("pointsman_{name}_seconds_count"), &[]);
    assert_eq!(count("stream_duration"), 2.0);
    assert_eq!(count("request_duration"), 0.0);
    assert_eq!(count("upstream_duration"), 2.0);
    assert_eq!(metrics.sum(REQUESTS, &[]), 2.0);
}

#[test]
fn clients_that_vanish_at_any_moment_are_all_counted_and_leave_nothing_behind() {
    const CLIENTS: u32 = 1_000;
    let origin = Origin::new(|_| {
        thread::sleep(Duration::from_millis(3));
        Reply::Whole(200, Vec::new(), vec![b'x'; 100_000])
    });
    let proxy = Proxy::to(&origin.url());
    let address = proxy.address();
    thread::scope(|scope| {
        for worker in 0..8 {
            scope.spawn(move || {
                for round in 0..CLIENTS / 8 {
                    let mut client = Client::connect(address);
                    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                    match (worker + round) % 4 {
                        0 => {}
                        1 => thread::sleep(Duration::from_micros(u64::from(round % 64) * 100)),
                        2 => drop(client.try_head()),
                        _ => drop(client.response()),
                    }
                }
            });
        }
    });
    proxy.counts(REQUESTS, &[], f64::from(CLIENTS));
    proxy.counts(IN_FLIGHT, &[], 0.0);
    proxy.counts("pointsman_connections", &[], 0.0);
    let metrics = proxy.metrics_at_rest();
    let whole = metrics.sum(REQUESTS, &[("code", "200")]);
    let gone = metrics.sum(REQUESTS, &[("code", "499")]);
    assert_eq!(whole + gone, f64::from(CLIENTS));
    assert!(
        whole >= f64::from(CLIENTS / 4) && gone > 0.0,
        "{whole} whole, {gone} gone"
    );
    assert_eq!(
        metrics.sum("pointsman_errors_total", &[("why", "client_gone")]),
        gone
    );
}

#[test]
fn a_scrape_of_two_thousand_routes_does_not_hold_requests_up() {
    let routes = (0..2_000).map(|number| named(&format!("route{number}"), "respond = {}"));
    let proxy = Proxy::start(&("log.access = false\n".to_owned() + &routes.collect::<String>()));
    let mut client = Client::connect(proxy.address());
    for number in 0..2_000 {
        assert_eq!(client.get("a", &format!("/route{number}")).status, 200);
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) {
                assert_eq!(client.get("a", "/route7").status, 200);
                sent += 1;
            }
            sent
        });
        let scrapes = [(); 5].map(|()| {
            let asked = Instant::now();
            let metrics = proxy.metrics_at_rest();
            assert_eq!(metrics.series(REQUESTS).count(), 2_000);
            asked.elapsed()
        });
        done.store(true, Ordering::Relaxed);
        let sent = traffic.join().unwrap();
        // Requests that waited for scrapes would be about as many as those.
        assert!(sent > 20 * scrapes.len(), "{sent} requests in {scrapes:?}");
        // A build for tests on a busy machine is many times slower than the one that is shipped.
        let least = scrapes.iter().min().unwrap();
        assert!(*least < Duration::from_secs(1), "{scrapes:?}");
    });
}

/// A table of series that knows them by their joined labels only would mix these up.
#[test]
fn routes_and_upstreams_of_look_alike_names_are_counted_apart() {
    let names = [
        ("a", "bc"),
        ("ab", "c"),
        ("abc", "GET"),
        ("GET", "200"),
        ("200", "2"),
        ("2", "00"),
        ("a\\\"b", "b.c"),
        ("a\\\\", "b-c"),
        ("_unmatched2", "_unmatched"),
    ];
    let origin = Origin::named("o");
    let routes = names.iter().enumerate().map(|(at, (route, upstream))| {
        format!(
            "[[route]]\nname = \"{route}\"\npath = \"/{at}\"\nupstream = \"{upstream}\"\n\
             [upstream.\"{upstream}\"]\nserver = \"{}\"\n",
            origin.url()
        )
    });
    let proxy = Proxy::start(&routes.collect::<String>());
    let mut client = Client::connect(proxy.address());
    for at in 0..names.len() {
        for _ in 0..=at {
            assert_eq!(client.get("a", &format!("/{at}")).status, 200);
        }
    }
    proxy.counts(REQUESTS, &[], (1..=names.len()).sum::<usize>() as f64);
    let metrics = proxy.metrics_at_rest();
    for (at, (route, upstream)) in names.iter().enumerate() {
        let labels = [("code", "200"), ("method", "GET"), ("route", *route)];
        let requests = metrics.get(REQUESTS, &labels);
        assert_eq!(requests, Some((at + 1) as f64), "{route}");
        let labels = [("upstream", *upstream)];
        let connects = metrics.get("pointsman_upstream_connects_total", &labels);
        assert!(connects >= Some(1.0), "{upstream}: {connects:?}");
    }
}

#[test]
fn the_tasks_alive_rise_and_fall_with_the_connections() {
    let proxy = Proxy::start("[[route]]\nrespond = {}\n");
    let tasks = || proxy.metrics().sum("pointsman_tasks", &[]);
    let before = tasks();
    let clients: Vec<Client> = (0..20).map(|_| Client::connect(proxy.address())).collect();
    eventually("a task for each connection", || tasks() >= before + 20.0);
    drop(clients);
    eventually("and none when they are gone", || tasks() <= before);
}
