//! A thousand changes leave nothing behind.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{BINARY, Backend, Events, Proxy, Socket, Usage, eventually, route};

const RELOADS: usize = 1000;
const WARM: usize = 50;
const ROUTES: usize = 200;

/// The file is watched, but nothing is made of what is seen: reloads are asked for.
const SETTINGS: &str = "reload = { settle = \"1h\", max_wait = \"1h\", drain_timeout = \"0s\" }\n\
                        log.access = false\n";
/// KiB, of some ten thousand: a kilobyte a reload, where one generation that stayed is hundreds.
const GROWTH: u64 = 2048;

/// Some routes stay, some change, some come and go.
fn config(odd: bool, url: &str) -> String {
    let (version, from) = if odd { ("odd", 50) } else { ("even", 0) };
    let mut text = SETTINGS.to_owned();
    text += &route("lasting", "/lasting/*", url);
    for number in from..from + ROUTES - 1 {
        text += &route(
            &format!("route {number}"),
            &format!("/{number}/*"),
            &format!("{url}/{number}"),
        );
        if number % 2 == 0 {
            text += &format!("response_header.set = {{ X-Version = \"{version}\" }}\n");
        }
    }
    text
}

#[test]
fn a_thousand_reloads_leave_memory_files_threads_tasks_and_snapshots_as_they_were() {
    let backend = Backend::new("one");
    let texts = [false, true].map(|odd| config(odd, &backend.url()));
    let directory = TempDir::new().unwrap();
    let proxy = start(&directory.path().join("pointsman.toml"), &texts[0]);
    let mut socket = Socket::open(proxy.address(), "/lasting/socket");
    // Of a route that changes: plain answers are left alone, so it outlives its snapshot.
    let stream = Events::open(proxy.address(), "/100/stream");
    let mut early = None;
    for number in 1..=RELOADS {
        let text = &texts[number % 2];
        if number % 5 == 0 {
            replace(&proxy, text);
        } else {
            proxy.write(text);
        }
        let (status, outcome) = proxy.ask_reload();
        assert_eq!(
            (status, &outcome["result"]),
            (200, &"applied".into()),
            "{outcome:#}"
        );
        if number % 25 == 0 {
            assert_eq!(
                proxy.get(&format!("/{}/once", 50 + number % 100)).status,
                200
            );
            socket.echo();
            proxy.metrics();
        }
        if number == WARM {
            early = Some((at_rest(&proxy), tasks(&proxy)));
        }
    }
    let ((early, tasks_early), late) = (early.unwrap(), at_rest(&proxy));
    socket.echo();
    stream.flows();
    println!("after {WARM} reloads {early:?}, after {RELOADS} {late:?}");
    eventually("no more files and threads than before", || {
        let now = Usage::of(proxy.id());
        now.files <= early.files && now.threads <= early.threads
    });
    eventually("no more tasks than before", || tasks(&proxy) <= tasks_early);
    let grown = late.memory.saturating_sub(early.memory);
    assert!(
        grown <= GROWTH,
        "{grown} KiB more than {} KiB",
        early.memory
    );
}

/// Of all runtimes, this scrape included.
fn tasks(proxy: &Proxy) -> f64 {
    proxy.metrics().sum("pointsman_tasks", &[])
}

/// The C library gives threads heaps of their own, so that memory would tell how many threads once
/// had work at the same time. With one heap it tells what is kept.
fn start(file: &Path, config: &str) -> Proxy {
    fs::write(file, Proxy::text(config)).unwrap();
    let mut command = Command::new(BINARY);
    command.args(["run", "--config"]).arg(file);
    command.env("MALLOC_ARENA_MAX", "1");
    Proxy::run(command, file)
}

/// What the process holds once nothing of the last change is under way any more.
fn at_rest(proxy: &Proxy) -> Usage {
    eventually("only the snapshot that serves is in memory", || {
        proxy.metrics().sum("pointsman_config_snapshots", &[]) == 1.0
    });
    let (mut usage, mut calm) = (Usage::of(proxy.id()), 0);
    eventually("nothing opens or closes for a while", || {
        let before = std::mem::replace(&mut usage, Usage::of(proxy.id()));
        let same = (before.files, before.threads) == (usage.files, usage.threads);
        calm = if same { calm + 1 } else { 0 };
        calm == 20
    });
    usage
}

/// Puts a new file in the place of the old one, as editors do: all that watches it is made anew.
fn replace(proxy: &Proxy, config: &str) {
    let aside = proxy.config().with_extension("new");
    fs::write(&aside, Proxy::text(config)).unwrap();
    fs::rename(&aside, proxy.config()).unwrap();
}
