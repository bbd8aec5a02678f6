//! TLS to upstreams: who a server has to be, what it is shown, and which HTTP is spoken inside.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Authority, Client, Origin, Pair, Proxy, Reply, TlsSite, eventually, get, route,
};

/// A site with an authority `ca`, whose certificates are `app` for app.internal and, with its key, `me`.
fn site() -> (TlsSite, Authority) {
    let authority = Authority::new();
    let site = TlsSite::new(&[("app", &authority.issue(&["app.internal"]))]);
    site.put_cert("ca", &authority.pem);
    site.put("me", &authority.client("me", 7));
    (site, authority)
}

/// A server of TLS in front of an origin: another proxy.
fn secured(site: &TlsSite, listener: &str, origin: &Origin) -> Proxy {
    let text = TlsSite::text(&["app"], listener, &route("back", "/*", &origin.url()));
    site.serve(&text)
}

/// The one in front of it, on a file of its own beside the certificates.
fn front(site: &TlsSite, server: &str, tls: &str) -> Proxy {
    let file = site.path("front.toml");
    std::fs::write(&file, Proxy::text(&config(server, tls))).unwrap();
    Proxy::on_file(&file)
}

fn config(server: &str, tls: &str) -> String {
    format!(
        "{}[upstream.app]\nserver = {server}\n{tls}",
        route("all", "/*", "app")
    )
}

fn url(back: &Proxy) -> String {
    format!("\"https://{}\"", back.listener("tls"))
}

const TRUSTED: &str = "tls = { ca = \"tls/ca.pem\", server_name = \"app.internal\" }\n";

#[test]
fn a_server_has_to_be_whom_it_should_be() {
    let (site, _) = site();
    site.put_cert("other", &Authority::new().pem);
    let back = secured(&site, "", &Origin::named("app"));
    let table = [
        (TRUSTED, 200),
        (
            "tls = { ca = [\"tls/other.pem\", \"tls/ca.pem\"], server_name = \"app.internal\" }\n",
            200,
        ),
        (
            "tls = { ca = \"tls/other.pem\", server_name = \"app.internal\" }\n",
            502,
        ),
        (
            "tls = { ca = \"tls/ca.pem\", server_name = \"other.internal\" }\n",
            502,
        ),
        // It is not for its address.
        ("tls = { ca = \"tls/ca.pem\" }\n", 502),
        // Nobody whom the system trusts has signed it.
        ("tls = { server_name = \"app.internal\" }\n", 502),
        ("", 502),
        ("tls = { insecure = true }\n", 200),
    ];
    for (tls, status) in table {
        let proxy = front(&site, &url(&back), tls);
        let answer = proxy.get("/");
        assert_eq!(answer.status, status, "{tls}");
        let blind = f64::from(u8::from(tls.contains("insecure")));
        proxy.counts(
            "pointsman_upstream_tls_insecure",
            &[("upstream", "app")],
            blind,
        );
        if status == 200 {
            assert_eq!(answer.text(), "app");
            continue;
        }
        assert_eq!(answer.header("x-pointsman-error"), "upstream_tls", "{tls}");
        proxy.counts("pointsman_errors_total", &[("why", "upstream_tls")], 1.0);
        let told = proxy.wait_for_log("it is told", |line| {
            line["message"] == "a server cannot be spoken to"
        });
        let error = told["error"].as_str().unwrap();
        assert!(error.contains("certificate"), "{error}");
    }
}

#[test]
fn connections_are_used_again_whatever_is_spoken_in_them() {
    let (site, _) = site();
    let origin = Origin::new(|received| Reply::text(received.header("via")));
    for (listener, settings, via) in [
        ("", "", "1.1 pointsman, 2.0 pointsman"),
        ("http2 = false\n", "", "1.1 pointsman, 1.1 pointsman"),
        ("", "http2 = false\n", "1.1 pointsman, 1.1 pointsman"),
    ] {
        let back = secured(&site, listener, &origin);
        let proxy = front(&site, &url(&back), &format!("{TRUSTED}{settings}"));
        let mut client = Client::connect(proxy.address());
        for _ in 0..10 {
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
            assert_eq!(client.response().text(), via);
        }
        proxy.counts("pointsman_upstream_connects_total", &[], 1.0);
        back.counts("pointsman_tls_handshakes_total", &[], 1.0);
    }
}

#[test]
fn what_is_shown_is_renewed_live_and_kept_while_its_files_are_broken() {
    let (site, authority) = site();
    let origin = Origin::new(|received| Reply::text(received.header("x-subject")));
    let asks = "tls.client = { ca = \"tls/ca.pem\", headers = { subject = \"X-Subject\" } }\n";
    let back = secured(&site, asks, &origin);
    let without = front(&site, &url(&back), TRUSTED);
    assert_eq!(without.get("/").header("x-pointsman-error"), "upstream_tls");
    let shows = "tls = { ca = \"tls/ca.pem\", server_name = \"app.internal\", \
                 cert = \"tls/me.pem\", key = \"tls/me.key\" }\n";
    let proxy = front(&site, &url(&back), shows);
    assert_eq!(proxy.get("/").text(), "CN=me");
    let shown = [("certificate", "tls/me.pem"), ("upstream", "app")];
    let ends = proxy
        .metrics()
        .sum("pointsman_tls_certificate_not_after_seconds", &shown);
    assert!(ends > 1.7e9);

    site.put_cert("me", "nonsense");
    proxy.counts("pointsman_tls_certificate_kept_back", &shown, 1.0);
    assert_eq!(proxy.get("/").text(), "CN=me");
    site.put("me", &authority.client("me again", 8));
    eventually("the new one is shown", || {
        proxy.get("/").text() == "CN=me again"
    });
    proxy.counts("pointsman_tls_certificate_kept_back", &shown, 0.0);
}

#[test]
fn a_websocket_passes_although_the_server_would_speak_http_2() {
    let (site, _) = site();
    let origin = Origin::raw(|mut stream| {
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).unwrap();
        let answer = "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhi";
        stream.write_all(answer.as_bytes()).unwrap();
        std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap();
    });
    let back = secured(&site, "", &origin);
    let proxy = front(&site, &url(&back), TRUSTED);
    let mut client = Client::connect(proxy.address());
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    );
    assert_eq!(client.try_head().unwrap().status, 101);
    client.send("frames");
    assert_eq!(client.bytes(8).unwrap(), b"hiframes");
}

#[test]
fn a_server_that_never_shakes_hands_or_breaks_off_gives_way_to_the_next() {
    let (site, _) = site();
    let back = secured(&site, "", &Origin::named("app"));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closes = Origin::raw(|mut stream| {
        let _ = stream.read(&mut [0; 64]);
    });
    let silent = format!("\"https://{}\"", silent.local_addr().unwrap());
    let closes = format!("\"https://{}\"", closes.address);
    let time = format!("{TRUSTED}timeout = {{ connect = \"500ms\" }}\n");
    for (broken, word) in [(&silent, "connect_timeout"), (&closes, "upstream_tls")] {
        let alone = front(&site, broken, &time);
        let began = Instant::now();
        assert_eq!(alone.get("/").header("x-pointsman-error"), word);
        assert!(began.elapsed() < Duration::from_secs(10));
        let proxy = front(&site, &format!("[{broken}, {}]", url(&back)), &time);
        for _ in 0..4 {
            assert_eq!(proxy.get("/").text(), "app");
        }
    }
}

#[test]
fn an_answer_that_only_its_end_ends_is_not_whole_without_a_goodbye() {
    let (site, _) = site();
    let back = secured(
        &site,
        "http2 = false\n",
        &Origin::raw(|mut stream| {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).unwrap();
            let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\nhalf";
            stream.write_all(answer.as_bytes()).unwrap();
        }),
    );
    let proxy = front(&site, &url(&back), TRUSTED);
    let mut client = Client::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.try_response(false).is_err());
    proxy.counts(
        "pointsman_errors_total",
        &[("why", "upstream_truncated")],
        1.0,
    );
}

#[test]
fn a_certificate_that_has_signed_itself_is_its_own_authority() {
    let own = rcgen::generate_simple_self_signed(["app.internal".to_owned()]).unwrap();
    let pair = Pair {
        cert: own.cert.pem(),
        key: own.signing_key.serialize_pem(),
    };
    let site = TlsSite::new(&[("app", &pair)]);
    let back = secured(&site, "", &Origin::named("app"));
    let tls = TRUSTED.replace("tls/ca.pem", "tls/app.pem");
    let proxy = front(&site, &url(&back), &tls);
    assert_eq!(proxy.get("/").text(), "app");
}

#[test]
fn a_server_of_several_names_is_asked_for_the_right_one() {
    let authority = Authority::new();
    let (first, app) = (
        authority.issue(&["first.internal"]),
        authority.issue(&["app.internal"]),
    );
    let site = TlsSite::new(&[("first", &first), ("app", &app)]);
    site.put_cert("ca", &authority.pem);
    let origin = Origin::named("app");
    let text = TlsSite::text(&["first", "app"], "", &route("back", "/*", &origin.url()));
    let back = site.serve(&text);
    // Whoever asks for none is shown the first.
    let proxy = front(&site, &url(&back), TRUSTED);
    assert_eq!(proxy.get("/").text(), "app");
}

/// Nobody's handshake ends before so many connections are there.
fn together(count: usize, to: SocketAddr) -> Origin {
    let barrier = Arc::new(Barrier::new(count));
    Origin::raw(move |stream| {
        barrier.wait();
        let server = TcpStream::connect(to).unwrap();
        let (mut client, mut back) = (stream.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || io::copy(&mut client, &mut back));
        let (mut client, mut back) = (stream, server);
        // The end is whoever's.
        let _ = io::copy(&mut back, &mut client);
    })
}

#[test]
fn as_many_connections_are_made_at_once_as_those_who_wait_need() {
    const COUNT: usize = 4;
    let (site, _) = site();
    let gate = Arc::new(Barrier::new(COUNT));
    let origin = Origin::new(move |_| {
        gate.wait();
        Reply::text("ok")
    });
    let back = secured(&site, "", &origin);
    let relay = together(COUNT, back.listener("tls"));
    let one = format!("{TRUSTED}http2 = {{ max_concurrent_streams = 1 }}\n");
    let proxy = front(&site, &format!("\"https://{}\"", relay.address), &one);
    let clients: Vec<_> = (0..COUNT)
        .map(|_| {
            let address = proxy.address();
            thread::spawn(move || get(address, "/").text())
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap(), "ok");
    }
}
