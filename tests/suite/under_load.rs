//! The file is rewritten again and again while clients ask without a pause.

use std::fs;

use crate::harness::{Backend, Load, Metrics, Proxy, Response, eventually};

const CLIENTS: usize = 64;
const CHANGES: u64 = 200;
const BROKEN: u64 = 50;

/// What makes a file invalid, one after another.
const WRONG: [&str; 5] = [
    "[[route]]\nupstream = \"nowhere\"\n",
    "[[route]\n",
    "unknown = true\n",
    "[[route]]\npath = \"no-slash\"\nrespond = {}\n",
    "[[listener]]\naddress = \"192.0.2.1:1\"\n[[route]]\nrespond = {}\n",
];

/// One route that says of itself, on the way there and on the way back, which version it is.
fn version(number: u64, path: &str, upstream: &str) -> String {
    format!(
        "reload.settle = \"1ms\"\n\
         log.access = false\n\
         [[route]]\n\
         name = \"all\"\n\
         path = \"{path}\"\n\
         upstream = \"{upstream}\"\n\
         request_header.set = {{ X-Generation = \"{number}\" }}\n\
         response_header.set = {{ X-Generation = \"{number}\" }}\n"
    )
}

/// Route, rules of the request, upstream and rules of the answer are of one version.
fn is_of_one_version(response: &Response) {
    let part = |name| response.header(name).to_owned();
    let parts = (
        response.status,
        part("x-origin"),
        part("x-seen"),
        part("x-generation"),
    );
    let of =
        |origin: &str, number: &str| (200, origin.to_owned(), number.to_owned(), number.to_owned());
    assert!(
        parts == of("one", "1") || parts == of("two", "2"),
        "status, origin and both headers: {parts:?}"
    );
}

#[test]
fn no_request_fails_or_sees_two_versions_through_hundreds_of_edits() {
    let (one, two) = (Backend::new("one"), Backend::new("two"));
    let versions = [
        version(2, "/api/{rest}", &two.url()),
        version(1, "/api/*", &one.url()),
    ];
    let proxy = Proxy::start(&versions[1]);
    let load = Load::start(proxy.address(), CLIENTS, "/api/x", is_of_one_version);
    load.answers(CLIENTS as u64);

    let mut refused = 0;
    for change in 0..CHANGES {
        if change % (CHANGES / BROKEN) == 0 {
            proxy.write(WRONG[refused as usize % WRONG.len()]);
            refused += 1;
            eventually("the watcher finds the file broken", || {
                reloads(&proxy.metrics(), "refused") == refused as f64
            });
        }
        save(&proxy, &versions[change as usize % 2], change % 3 == 0);
        eventually("the watcher finds the new version", || {
            proxy.generation() == 2 + change
        });
        load.answers(10);
    }

    let sent = load.stop();
    let requests = |metrics: &Metrics, labels| metrics.sum("pointsman_requests_total", labels);
    eventually("every request is counted", || {
        requests(&proxy.metrics(), &[]) >= sent as f64
    });
    let metrics = proxy.metrics();
    let good = requests(&metrics, &[("route", "all"), ("code", "200")]);
    assert_eq!((requests(&metrics, &[]), good), (sent as f64, sent as f64));
    let accepted = metrics.sum("pointsman_connections_total", &[]);
    assert_eq!(accepted, CLIENTS as f64, "no client had to connect again");
    let applied = reloads(&metrics, "applied");
    assert_eq!((applied, refused), (CHANGES as f64, BROKEN));
    println!("{sent} requests, {applied} generations, {refused} edits refused");
}

fn reloads(metrics: &Metrics, result: &str) -> f64 {
    metrics.sum("pointsman_config_reloads_total", &[("result", result)])
}

/// Writes over the file, or puts another in its place, as editors do.
fn save(proxy: &Proxy, config: &str, replace: bool) {
    let file = proxy.config().to_owned();
    if !replace {
        return proxy.write(config);
    }
    let aside = file.with_extension("new");
    fs::write(&aside, Proxy::text(config)).unwrap();
    fs::rename(&aside, &file).unwrap();
}
