//! Clients that connect and then do nothing, too few or too slowly; and a process out of files.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Client, DEADLINE, Load, Origin, Proxy, Usage, eventually, get, limit_files, route,
};

const LISTENER: &str = "[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n";

fn proxy_with_header_timeout(time: &str, upstream: &str) -> Proxy {
    let routes = route("all", "/*", upstream);
    Proxy::with_config(&format!(
        "admin.listen = \"127.0.0.1:0\"\nlog.access = false\n\
         {LISTENER}timeout = {{ header = \"{time}\" }}\n{routes}"
    ))
}

fn open_connections(proxy: &Proxy) -> f64 {
    proxy.metrics().sum("pointsman_connections", &[])
}

#[test]
fn clients_that_send_nothing_or_half_a_head_hold_up_nobody_and_are_cut() {
    const STALLED: usize = 600;
    let origin = Origin::named("one");
    let proxy = proxy_with_header_timeout("2s", &origin.url());
    let address = proxy.address();
    let load = Load::start(address, 4, "/", |response| assert_eq!(response.status, 200));
    let began = Instant::now();
    let starts = [
        "",
        "G",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: test\r\nX: ",
    ];
    let stalled = starts.iter().cycle().take(STALLED).map(|start| {
        let mut client = Client::connect(address);
        client.send(start);
        client
    });
    let mut stalled: Vec<_> = stalled.collect();
    // Never idle, and never done either.
    let mut dribbling = Client::connect(address);
    dribbling.send("GET / HTTP/1.1\r\nX: ");
    let dribble = dribbling.stream().try_clone().unwrap();
    let dribble = thread::spawn(move || {
        while (&dribble).write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    eventually("all of them are accepted", || {
        open_connections(&proxy) >= STALLED as f64
    });
    let asked = Instant::now();
    load.answers(200);
    assert_eq!(
        get(address, "/").text(),
        "one",
        "a new client is served as well"
    );
    let waited = asked.elapsed();

    for client in &mut stalled {
        // Whether by an end or by a reset.
        let _ = client.until_closed();
    }
    let time = began.elapsed();
    assert!(
        time >= Duration::from_secs(2),
        "cut before the time: {time:?}"
    );
    assert!(
        time < Duration::from_secs(2) + DEADLINE / 4,
        "cut late: {time:?}"
    );
    dribble.join().unwrap();
    eventually("their connections are gone", || {
        open_connections(&proxy) == 4.0
    });
    load.stop();
    println!("200 answers among {STALLED} stalled clients in {waited:?}");
}

#[test]
fn out_of_files_the_proxy_does_not_spin_and_recovers_when_some_are_free_again() {
    let origin = Origin::named("one");
    let proxy = proxy_with_header_timeout("60s", &origin.url());
    let address = proxy.address();
    get(address, "/");
    let before = Usage::of(proxy.id());
    limit_files(proxy.id(), before.files + 30);
    // The kernel takes those that the proxy cannot accept.
    let crowd: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    proxy.wait_for_log("the trouble", |line| {
        line["message"] == "cannot accept connections" && line["level"] == "error"
    });
    let ticks = Usage::of(proxy.id()).ticks;
    // What is measured is a time: how much of it the processor was used.
    thread::sleep(Duration::from_secs(1));
    let used = Usage::of(proxy.id()).ticks - ticks;
    assert!(used <= 20, "{used} of 100 ticks");
    let complaints = proxy.log();
    let complaints = complaints
        .iter()
        .filter(|line| line["level"] == "error")
        .count();
    assert!(complaints < 5, "{complaints} lines about one trouble");

    drop(crowd);
    eventually("it accepts again", || {
        let mut client = Client::connect(address);
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        client
            .try_response(false)
            .is_ok_and(|answer| answer.status == 200)
    });
    eventually("every file is given back", || {
        Usage::of(proxy.id()).files <= before.files + 2
    });
    println!("{used} ticks of 100 while out of files");
}
