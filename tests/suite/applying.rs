//! What a request, a connection, a pool and a counter notice of a change: what it must, no more.

use crate::harness::{Backend, Client, Metrics, Origin, Proxy, eventually, route};

/// Reloads only when asked, so that the answer to the asking tells what happened.
const ASKED: &str = "reload.mode = \"off\"\n";

/// A route with a rule that tells which version of it answered.
fn version(number: u64, upstream: &str) -> String {
    let rules = ["request", "response"]
        .map(|which| format!("{which}_header.set = {{ X-Generation = \"{number}\" }}\n"));
    ASKED.to_owned() + &route("all", "/*", upstream) + &rules.concat()
}

#[test]
fn a_kept_connection_sees_the_change_at_its_next_request() {
    let (one, two) = (Backend::new("one"), Backend::new("two"));
    let proxy = Proxy::start(&version(1, &one.url()));
    let mut client = Client::connect(proxy.address());
    for round in 0..20 {
        for (number, name, backend) in [("1", "one", &one), ("2", "two", &two)] {
            let before = backend.received().len();
            let answer = client.get("test", "/");
            assert_eq!(answer.text(), name, "round {round}");
            assert_eq!(answer.header("x-generation"), number);
            assert_eq!(backend.received().len(), before + 1);
            assert_eq!(backend.last().header("x-generation"), number);
            let (next, upstream) = if number == "1" { (2, &two) } else { (1, &one) };
            proxy.apply(&version(next, &upstream.url()));
        }
    }
    let accepted = proxy.metrics().sum("pointsman_connections_total", &[]);
    assert_eq!(accepted, 1.0);
}

#[test]
fn a_request_under_way_ends_as_it_began_whatever_is_applied_meanwhile() {
    let (one, two) = (Backend::new("one"), Backend::new("two"));
    let proxy = Proxy::start(&version(1, &one.url()));
    let mut slow = Client::connect(proxy.address());
    slow.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("the slow request is under way", || one.has_seen("/slow"));
    proxy.apply(&version(2, &two.url()));
    // A change that takes every route away is the harshest.
    proxy.apply(ASKED);
    assert_eq!(proxy.get("/").status, 404);
    eventually("its generation is kept, the one between is not", || {
        snapshots(&proxy.metrics()) == 2.0
    });
    one.release();
    let answer = slow.response();
    assert_eq!((answer.status, answer.header("x-generation")), (200, "1"));
    assert_eq!(answer.header("x-seen"), "1");
    eventually("its generation is let go", || {
        snapshots(&proxy.metrics()) == 1.0
    });
}

fn snapshots(metrics: &Metrics) -> f64 {
    metrics.sum("pointsman_config_snapshots", &[])
}

#[test]
fn connections_to_an_upstream_survive_every_change_that_is_not_about_it() {
    let (kept, other) = (Origin::named("kept"), Origin::named("other"));
    // Both kinds: an upstream of its own table and one that is only a URL.
    let pool = format!(
        "[upstream.app]\nserver = \"{}\"\npool.idle_timeout = \"60s\"\n",
        kept.url()
    );
    let config = |round: usize| {
        let mut config = ASKED.to_owned() + &route("app", "/app/*", "app");
        config += &format!("response_header.set = {{ X-Round = \"{round}\" }}\n");
        for extra in 0..round % 3 {
            config += &route(
                &format!("extra {extra}"),
                &format!("/extra/{extra}"),
                &other.url(),
            );
        }
        config + &pool
    };
    let proxy = Proxy::start(&config(0));
    let mut client = Client::connect(proxy.address());
    client.get("test", "/app/");
    assert_eq!(kept.connections(), 1);
    for round in 1..=40 {
        proxy.apply(&config(round));
        for _ in 0..25 {
            let answer = client.get("test", "/app/");
            assert_eq!(answer.header("x-round"), round.to_string());
        }
    }
    assert_eq!(kept.received().len(), 1001);
    assert_eq!(
        kept.connections(),
        1,
        "the first connection carries all requests"
    );

    // A server more is a change of the upstream, but not of the connections to the first.
    let more = format!("server = [\"{}\", \"{}\"]", kept.url(), other.url());
    let config = config(40).replace(&format!("server = \"{}\"", kept.url()), &more);
    proxy.apply(&config);
    let names: Vec<_> = (0..6).map(|_| client.get("test", "/app/").text()).collect();
    assert!(names.contains(&"kept".to_owned()) && names.contains(&"other".to_owned()));
    assert_eq!((kept.connections(), other.connections()), (1, 1));
}

#[test]
fn counters_of_a_route_that_stays_go_on_and_those_of_a_removed_one_go_after_a_last_scrape() {
    let backend = Backend::new("one");
    let stays = ASKED.to_owned() + &route("stays", "/stays", &backend.url());
    let both = stays.clone() + &route("goes", "/slow", &backend.url());
    let proxy = Proxy::start(&both);
    let counted = |metrics: &Metrics, name: &'static str| {
        metrics.sum("pointsman_requests_total", &[("route", name)])
    };
    let gauged =
        |metrics: &Metrics| metrics.get("pointsman_requests_in_flight", &[("route", "goes")]);
    for round in 1..=100 {
        proxy.get("/stays");
        let text = format!("{both}response_header.set = {{ X-Round = \"{round}\" }}\n");
        proxy.apply(&text);
        eventually("the counter goes on", || {
            counted(&proxy.metrics(), "stays") == f64::from(round)
        });
    }

    let mut slow = Client::connect(proxy.address());
    slow.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("the request is in flight", || {
        gauged(&proxy.metrics()) == Some(1.0)
    });
    proxy.apply(&stays);
    for _ in 0..3 {
        let metrics = proxy.metrics_at_rest();
        assert_eq!(gauged(&metrics), None, "gone from the next scrape");
        let bytes = metrics.get("pointsman_response_bytes_total", &[("route", "goes")]);
        assert_eq!(
            bytes,
            Some(0.0),
            "its counters are not: a request is in flight"
        );
    }
    backend.release();
    slow.response();
    eventually("what it counted last is shown", || {
        counted(&proxy.metrics(), "goes") == 1.0
    });
    let left = proxy.metrics();
    assert!(
        !left.0.contains("route=\"goes\""),
        "and nothing after that:\n{}",
        left.0
    );

    proxy.apply(&both);
    assert_eq!(
        gauged(&proxy.metrics()),
        Some(0.0),
        "taken back, it counts from new"
    );
    assert_eq!(counted(&proxy.metrics_at_rest(), "stays"), 100.0);
}
