//! Clients that show certificates: who is let in, who their upstream takes them for, and that one site's
//! rules are not another's.

use std::fs;
use std::sync::Arc;

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, NamedGroup};

use crate::harness::{
    Authority, Client, Origin, Pair, Proxy, TlsClient, TlsSite, request, route, showing, trusting,
};
use crate::trailers::chunked;

const FAILURES: &str = "pointsman_tls_handshake_failures_total";
const TOLD: &str =
    "headers = { subject = \"X-Subject\", san = \"X-San\", fingerprint = \"X-Print\" }";
const CLEAR: &str = "[[listener]]\nname = \"clear\"\naddress = \"127.0.0.1:0\"\n";

struct Site {
    servers: Authority,
    clients: Authority,
    origin: Origin,
    site: TlsSite,
    proxy: Proxy,
}

impl Site {
    /// `client` is that of the listener.
    fn new(client: &str, revoked: &[u64]) -> Self {
        let (servers, clients) = (Authority::new(), Authority::new());
        let site = TlsSite::new(&[("a", &servers.issue(&["a.example"]))]);
        site.put_cert("clients", &clients.pem);
        site.put_cert("revoked", &clients.revoke(revoked));
        let origin = Origin::named("one");
        let rest = format!("{CLEAR}{}", route("all", "/*", &origin.url()));
        let client = format!("tls.client = {{ ca = \"tls/clients.pem\", {client} }}\n");
        let proxy = site.serve(&TlsSite::text(&["a"], &client, &rest));
        Self {
            servers,
            clients,
            origin,
            site,
            proxy,
        }
    }

    fn with(&self, pair: &Pair) -> Arc<ClientConfig> {
        Arc::new(showing(&self.servers, pair))
    }

    fn without(&self) -> Arc<ClientConfig> {
        Arc::new(trusting(&self.servers))
    }

    /// Asks, and gives the client for more.
    fn asks(&self, config: &Arc<ClientConfig>) -> std::io::Result<TlsClient> {
        let mut client = TlsClient::try_secured(self.proxy.listener("tls"), config, "a.example")?;
        // In TLS 1.3 a client learns only now that it is not let in.
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(client.try_response(false)?.status, 200);
        Ok(client)
    }

    fn failed(&self, reason: &str, count: f64) {
        self.proxy.counts(FAILURES, &[("reason", reason)], count);
    }
}

#[test]
fn where_a_certificate_is_required_nobody_comes_in_without_a_good_one() {
    let site = Site::new("mode = \"required\"", &[]);
    assert!(site.asks(&site.without()).is_err());
    site.failed("no_client_certificate", 1.0);
    assert!(
        site.asks(&site.with(&Authority::new().client("alice", 1)))
            .is_err()
    );
    site.failed("bad_client_certificate", 1.0);
    assert_eq!(site.origin.received().len(), 0);
    let alice = site.with(&site.clients.client("alice", 1));
    site.asks(&alice).unwrap();
    let mut again = site.asks(&alice).unwrap();
    assert_eq!(
        again.inner().conn.handshake_kind(),
        Some(HandshakeKind::Resumed)
    );
}

#[test]
fn where_it_is_optional_one_may_have_none_but_no_wrong_one() {
    let site = Site::new(&format!("mode = \"optional\", {TOLD}"), &[]);
    site.asks(&site.without()).unwrap();
    let seen = site.origin.last();
    assert_eq!((seen.all("x-subject"), seen.all("x-san")), (vec![], vec![]));
    assert!(
        site.asks(&site.with(&Authority::new().client("alice", 1)))
            .is_err()
    );
    site.failed("bad_client_certificate", 1.0);
    site.asks(&site.with(&site.clients.client("alice", 1)))
        .unwrap();
    assert!(
        site.origin
            .last()
            .header("x-subject")
            .starts_with("CN=alice")
    );
}

#[test]
fn an_upstream_is_told_who_asks_and_nobody_can_say_it_himself() {
    let site = Site::new(&format!("mode = \"optional\", {TOLD}"), &[]);
    let alice = site.with(&site.clients.client("al,CN=root", 1));
    let lies = "X-Subject: CN=root\r\nX_San: root\r\nx.print: 00\r\nConnection: x-subject\r\n";
    // Also by a session that resumes, which shows no certificate.
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut client = site.asks(&alice).unwrap();
        assert_eq!(client.inner().conn.handshake_kind(), Some(kind));
        client.send(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{lies}\r\n"));
        assert_eq!(client.response().status, 200);
        let seen = site.origin.last();
        assert_eq!(seen.all("x-subject"), ["CN=al\\,CN\\=root"]);
        assert_eq!(seen.all("x-san"), ["DNS:alice.example"]);
        assert_eq!(seen.header("x-print").len(), 64);
        let others = ["x_san", "x.print"].map(|name| seen.all(name).len());
        assert_eq!(others, [0, 0]);
    }
    // Neither without one, nor by another listener.
    let mut client = site.asks(&site.without()).unwrap();
    client.send(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{lies}\r\n"));
    assert_eq!(client.response().status, 200);
    let lies = [
        ("X-Subject", "CN=root"),
        ("x_subject", "CN=root"),
        ("X-Print", "00"),
    ];
    request(site.proxy.listener("clear"), "GET", "/", &lies, "");
    for seen in site.origin.received().iter().rev().take(2) {
        let told = seen.headers.iter().filter(|(name, _)| {
            let name = name.replace(['_', '.'], "-");
            ["x-subject", "x-san", "x-print"].contains(&name.as_str())
        });
        assert_eq!(told.count(), 0, "{seen:?}");
    }
}

#[test]
fn nor_can_anybody_say_it_in_trailers() {
    let site = Site::new(&format!("mode = \"optional\", {TOLD}"), &[]);
    let (origin, trailers) = chunked();
    let client = format!("tls.client = {{ ca = \"tls/clients.pem\", {TOLD} }}\n");
    let rest = format!("{CLEAR}{}", route("all", "/*", &origin.url()));
    let proxy = site.site.serve(&TlsSite::text(&["a"], &client, &rest));
    let alice = site.with(&site.clients.client("alice", 1));
    let mut alice = TlsClient::secured(proxy.listener("tls"), &alice, "a.example");
    let text = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\
                X-Subject: CN=root\r\nx_san: root\r\n\r\n";
    alice.send(text);
    assert_eq!(alice.response().status, 200);
    assert_eq!(*trailers.lock().unwrap(), ["x-sum: 1\r\n"]);
    trailers.lock().unwrap().clear();
    let mut clear = Client::connect(proxy.listener("clear"));
    clear.send(text);
    assert_eq!(clear.response().status, 200);
    assert_eq!(*trailers.lock().unwrap(), ["x-sum: 1\r\n"]);
}

#[test]
fn a_certificate_that_is_taken_back_opens_no_door_from_then_on() {
    let site = Site::new("crl = \"tls/revoked.pem\"", &[7]);
    let (alice, bob) = (
        site.clients.client("alice", 1),
        site.clients.client("bob", 7),
    );
    assert!(site.asks(&site.with(&bob)).is_err());
    site.failed("bad_client_certificate", 1.0);
    let alice = site.with(&alice);
    site.asks(&alice).unwrap();
    let mut open = site.asks(&alice).unwrap();
    assert_eq!(
        open.inner().conn.handshake_kind(),
        Some(HandshakeKind::Resumed)
    );
    site.site.put_cert("revoked", &site.clients.revoke(&[1, 7]));
    assert_eq!(site.proxy.ask_reload().1["result"], "applied");
    // Nor does the ticket that she has.
    assert!(site.asks(&alice).is_err());
    assert!(site.asks(&alice).is_err());
    site.failed("bad_client_certificate", 3.0);
    assert_eq!(
        open.get("a.example", "/").status,
        200,
        "an edit of a file cuts nobody"
    );
    let carol = site.with(&site.clients.client("carol", 2));
    site.asks(&carol).unwrap();
}

/// Offers the tickets of one site to another.
#[derive(Debug)]
struct Confused(ClientSessionMemoryCache);

fn anywhere() -> ServerName<'static> {
    "anywhere.example".try_into().unwrap()
}

impl ClientSessionStore for Confused {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(anywhere(), group);
    }
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&anywhere())
    }
    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(anywhere(), value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&anywhere())
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&anywhere());
    }
    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(anywhere(), value);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&anywhere())
    }
}

/// `open.example` and `also.example` for everybody, `closed.example` for those with a certificate.
fn sites() -> (Site, String) {
    let site = Site::new("", &[]);
    for name in ["open", "also", "closed"] {
        site.site
            .put(name, &site.servers.issue(&[&format!("{name}.example")]));
    }
    let rest = route("all", "/*", &site.origin.url());
    let text = TlsSite::text(&["open", "also", "closed"], "", &rest);
    let client = "closed.key\", client = { ca = \"tls/clients.pem\" }";
    (site, text.replace("closed.key\"", client))
}

#[test]
fn a_handshake_for_one_site_asks_nothing_of_another_with_other_rules() {
    let (site, text) = sites();
    let proxy = site.site.serve(&text);
    let alice = site.with(&site.clients.client("alice", 1));
    let status = |config, name: &str, host: &str| {
        let mut client = TlsClient::secured(proxy.address(), config, name);
        let response = client.get(host, "/");
        let closes = response.header("connection") == "close";
        assert_eq!(closes, response.status == 421, "{host}");
        response.status
    };
    let open = &site.without();
    for host in [
        "open.example",
        "also.example",
        "unknown.example",
        "OPEN.example:443",
        "[::1]",
    ] {
        assert_eq!(status(open, "open.example", host), 200, "{host}");
        assert_eq!(status(&alice, "closed.example", host), 421, "{host}");
    }
    for host in ["closed.example", "CLOSED.example.", "closed.example:8443"] {
        assert_eq!(status(open, "open.example", host), 421, "{host}");
        assert_eq!(status(&alice, "closed.example", host), 200, "{host}");
    }
    let mut client = TlsClient::secured(proxy.address(), open, "open.example");
    client.send("GET https://closed.example/ HTTP/1.1\r\nHost: open.example\r\n\r\n");
    let response = client.response();
    assert_eq!(response.status, 421);
    assert_eq!(response.header("x-pointsman-error"), "misdirected");
}

#[test]
fn a_ticket_of_one_site_resumes_no_session_of_another() {
    let (site, text) = sites();
    let proxy = site.site.serve(&text);
    let mut config = showing(&site.servers, &site.clients.client("alice", 1));
    let cache = Arc::new(Confused(ClientSessionMemoryCache::new(32)));
    config.resumption = Resumption::store(cache);
    let config = Arc::new(config);
    let kind = |name: &str| {
        let mut client = TlsClient::secured(proxy.address(), &config, name);
        assert_eq!(client.get(name, "/").status, 200);
        client.inner().conn.handshake_kind().unwrap()
    };
    assert_eq!(kind("open.example"), HandshakeKind::Full);
    assert_eq!(kind("open.example"), HandshakeKind::Resumed);
    assert_ne!(kind("closed.example"), HandshakeKind::Resumed);
    assert_eq!(kind("closed.example"), HandshakeKind::Resumed);
    assert_ne!(kind("open.example"), HandshakeKind::Resumed);
}

#[test]
fn rules_that_become_stricter_hold_for_the_next_request_of_an_open_connection() {
    let (site, text) = sites();
    let before = text.replace(", client = { ca = \"tls/clients.pem\" }", "");
    let proxy = site.site.serve(&before);
    let open = site.without();
    let connect = |name: &str| {
        let mut client = TlsClient::secured(proxy.address(), &open, name);
        assert_eq!(client.get(name, "/").status, 200);
        client
    };
    let (mut closed, mut other) = (connect("closed.example"), connect("open.example"));
    site.site.write(&text);
    assert_eq!(proxy.ask_reload().1["result"], "applied");
    assert_eq!(closed.get("closed.example", "/").status, 421);
    let response = other.get("open.example", "/");
    assert_eq!((response.status, response.header("connection")), (200, ""));
}

#[test]
fn what_is_wrong_with_the_files_of_clients_is_told_at_its_place() {
    let site = Site::new("", &[]);
    let path = |name: &str| site.site.path(&format!("tls/{name}.pem"));
    fs::write(path("nonsense"), "nonsense").unwrap();
    site.site.put("open", &site.servers.issue(&["a.example"]));
    let check = |client: &str| {
        let client = format!("tls.client = {client}\n");
        site.site
            .write(&TlsSite::text(&["a"], &client, "[[route]]\nrespond = {}\n"));
        let said = crate::harness::pointsman(&[&"check", &site.site.config()]);
        assert_eq!(said.code, Some(1), "{client}");
        said.err
    };
    let table = [
        (
            "{ ca = \"tls/absent.pem\" }",
            "`tls/absent.pem` is not there",
            "client.ca",
        ),
        (
            "{ ca = \"tls/nonsense.pem\" }",
            "`tls/nonsense.pem` holds no certificate",
            "client",
        ),
        ("{ ca = [] }", "nobody is named who signs", "client.ca"),
        (
            "{ ca = \"tls/clients.pem\", crl = \"tls/a.pem\" }",
            "`tls/a.pem` holds no list of revoked certificates",
            "client",
        ),
        (
            "{ ca = \"tls/clients.pem\", mode = \"maybe\" }",
            "write one of \"required\", \"optional\"",
            "client.mode",
        ),
        (
            "{ ca = \"tls/clients.pem\", headers = { subject = \"X Subject\" } }",
            "`X Subject` is not the name of a field",
            "client.headers.subject",
        ),
    ];
    for (client, message, key) in table {
        let said = check(client);
        assert!(said.contains(message), "{message}\n{said}");
        assert!(
            said.contains(&format!("(listener[0].tls.{key})")),
            "{key}\n{said}"
        );
    }
    // One name cannot have two answers.
    let text = TlsSite::text(&["a", "open"], "", "[[route]]\nrespond = {}\n");
    let own = "open.key\", client = { ca = \"tls/clients.pem\" }";
    site.site.write(&text.replace("open.key\"", own));
    let said = crate::harness::pointsman(&[&"check", &site.site.config()]).err;
    assert!(
        said.contains("`a.example` is in another certificate"),
        "{said}"
    );
}
