//! Servers that are asked whether they are well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::harness::{Asked, Http2Origin, Origin, Proxy, Reply, eventually, route};

const QUICK: &str = "interval = \"50ms\", timeout = \"5s\", healthy = 2, unhealthy = 3";

/// Answers `name`, and to probes as the switch says, which counts them.
fn server(name: &'static str, well: &Arc<AtomicBool>, probes: &Arc<AtomicUsize>) -> Origin {
    let (well, probes) = (Arc::clone(well), Arc::clone(probes));
    Origin::new(move |received| match received.target.as_str() {
        "/healthz" => {
            probes.fetch_add(1, Ordering::Relaxed);
            let status = if well.load(Ordering::Relaxed) {
                204
            } else {
                503
            };
            Reply::Whole(status, Vec::new(), Vec::new())
        }
        _ => Reply::text(name),
    })
}

fn config(servers: &str, more: &str) -> String {
    format!(
        "{}[upstream.app]\nserver = {servers}\nhealth = {{ path = \"/healthz\", {QUICK} }}\n{more}",
        route("all", "/*", "app")
    )
}

fn healthy(proxy: &Proxy, server: &str) -> f64 {
    let labels = [("upstream", "app"), ("server", server)];
    proxy.metrics().sum("pointsman_upstream_healthy", &labels)
}

#[test]
fn a_server_that_is_not_well_is_passed_over_until_it_is_also_through_reloads() {
    let (one, two) = (
        Arc::new(AtomicBool::new(true)),
        Arc::new(AtomicBool::new(true)),
    );
    let (probes, others) = (Arc::default(), Arc::default());
    let first = server("one", &one, &probes);
    let second = server("two", &two, &others);
    let servers = format!("[\"{}\", \"{}\"]", first.url(), second.url());
    let proxy = Proxy::start(&config(&servers, ""));
    let names = |count| -> Vec<String> {
        let mut names: Vec<_> = (0..count).map(|_| proxy.get("/").text()).collect();
        names.sort();
        names.dedup();
        names
    };
    assert_eq!(names(8), ["one", "two"]);
    one.store(false, Ordering::Relaxed);
    eventually("it is not well", || healthy(&proxy, &first.url()) == 0.0);
    let told = proxy.wait_for_log("it is told", |line| {
        line["message"] == "a server is not well"
    });
    assert!(told["why"].as_str().unwrap().contains("503"));
    assert_eq!(names(8), ["two"]);
    // Whatever else is edited, and even while more servers come.
    proxy.apply(&config(
        &servers,
        "[[route]]\npath = \"/more\"\nrespond = {}\n",
    ));
    assert_eq!(healthy(&proxy, &first.url()), 0.0);
    assert_eq!(names(8), ["two"]);
    let third = Origin::named("three");
    let more = format!(
        "[\"{}\", \"{}\", \"{}\"]",
        first.url(),
        third.url(),
        second.url()
    );
    proxy.apply(&config(&more, ""));
    assert_eq!(names(9), ["three", "two"]);
    one.store(true, Ordering::Relaxed);
    eventually("it is well again", || healthy(&proxy, &first.url()) == 1.0);
    assert!(names(9).contains(&"one".to_owned()));
}

#[test]
fn when_none_is_well_they_are_asked_all_the_same() {
    let well = Arc::new(AtomicBool::new(false));
    let origin = server("one", &well, &Arc::default());
    let proxy = Proxy::start(&config(&format!("\"{}\"", origin.url()), ""));
    eventually("it is not well", || healthy(&proxy, &origin.url()) == 0.0);
    assert_eq!(proxy.get("/").text(), "one");
}

#[test]
fn nobody_is_asked_for_an_upstream_that_is_gone() {
    let (well, probes) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let origin = server("one", &well, &probes);
    let proxy = Proxy::start(&config(&format!("\"{}\"", origin.url()), ""));
    let count = || probes.load(Ordering::Relaxed);
    eventually("it is asked", || count() > 1);
    let tasks = proxy.metrics().sum("pointsman_tasks", &[]);
    proxy.apply("[[route]]\nrespond = {}\n");
    eventually("its task ends", || {
        proxy.metrics().sum("pointsman_tasks", &[]) < tasks
    });
    let before = count();
    proxy.apply("[[route]]\nname = \"other\"\nrespond = {}\n");
    assert_eq!(count(), before);
    assert_eq!(proxy.metrics().sum("pointsman_upstream_healthy", &[]), 0.0);
}

/// What the server's health service says, by the last byte of its message; none if there is no such
/// service.
async fn health(mut asked: Asked, status: Option<u8>) {
    let Ok((body, _)) = asked.body().await else {
        return;
    };
    let path = asked.request.uri().path();
    let sound = path == "/grpc.health.v1.Health/Check"
        && body == b"\0\0\0\0\x0b\x0a\x09shop.Cart"
        && asked.request.headers()["te"] == "trailers";
    let response = Response::builder().header("content-type", "application/grpc");
    let Some(status) = status.filter(|_| sound) else {
        let response = response.header("grpc-status", "12").body(()).unwrap();
        return asked.answer(response, "");
    };
    let response = response.body(()).unwrap();
    let Ok(mut stream) = asked.respond.send_response(response, false) else {
        return;
    };
    let message = Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]);
    let _ = stream.send_data(message, false);
    let trailers = (
        HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    );
    let _ = stream.send_trailers(HeaderMap::from_iter([trailers]));
}

#[test]
fn a_server_of_grpc_is_asked_by_its_health_protocol() {
    // Nothing, SERVING, NOT_SERVING.
    let says = Arc::new(AtomicUsize::new(1));
    let said = Arc::clone(&says);
    let origin = Http2Origin::new(move |asked| {
        let status = match said.load(Ordering::Relaxed) {
            0 => None,
            says => Some(says as u8),
        };
        health(asked, status)
    });
    let proxy = Proxy::start(&format!(
        "{}[upstream.app]\nserver = \"{}\"\nhealth = {{ grpc = \"shop.Cart\", {QUICK} }}\n",
        route("all", "/*", "app"),
        origin.url()
    ));
    for (status, well) in [(1, 1.0), (2, 0.0), (1, 1.0), (0, 0.0)] {
        says.store(status, Ordering::Relaxed);
        let streams = origin.streams();
        eventually("it is asked thrice", || origin.streams() > streams + 3);
        eventually("it is seen", || healthy(&proxy, &origin.url()) == well);
    }
}

#[test]
fn a_server_that_takes_probes_and_never_answers_is_not_well() {
    let origin = Origin::raw(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let proxy = Proxy::start(&format!(
        "{}[upstream.app]\nserver = \"{}\"\n\
         health = {{ path = \"/\", interval = \"50ms\", timeout = \"200ms\" }}\n",
        route("all", "/*", "app"),
        origin.url()
    ));
    eventually("it is not well", || healthy(&proxy, &origin.url()) == 0.0);
    let told = proxy.wait_for_log("it is told", |line| {
        line["message"] == "a server is not well"
    });
    assert_eq!(told["why"], "no answer within 200ms");
}
