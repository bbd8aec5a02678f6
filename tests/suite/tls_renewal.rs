//! Certificates that are renewed while they serve: nobody notices but who asks for the new one.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::harness::{
    Authority, Backend, Pair, Proxy, TlsClient, TlsSite, eventually, route, trusting,
};

const HOST: &str = "a.example";
const KEPT_BACK: &str = "pointsman_tls_certificate_kept_back";

fn der(pair: &Pair) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()
}

struct Site {
    authority: Authority,
    site: TlsSite,
    proxy: Proxy,
    text: String,
}

impl Site {
    /// Certificates in these files, the first of which is of [`HOST`].
    fn new(names: &[&str], reload: &str, upstream: &str) -> Self {
        let authority = Authority::new();
        let site = TlsSite::new(&[]);
        for (number, name) in names.iter().enumerate() {
            let host = if number == 0 {
                HOST.to_owned()
            } else {
                format!("{name}.example")
            };
            site.put(name, &authority.issue(&[&host]));
        }
        let rest = format!("{}[reload]\n{reload}", route("all", "/*", upstream));
        let text = TlsSite::text(names, "", &rest);
        Self {
            proxy: site.serve(&text),
            authority,
            site,
            text,
        }
    }

    fn shown(&self) -> CertificateDer<'static> {
        let config = Arc::new(trusting(&self.authority));
        TlsClient::secured(self.proxy.address(), &config, HOST).shown()
    }

    #[track_caller]
    fn shows(&self, pair: &Pair) {
        let expected = der(pair);
        eventually("the new certificate is shown", || self.shown() == expected);
    }

    /// Does the route of that name take a request?
    fn is_taken_by(&self, route: &str) -> bool {
        let config = Arc::new(trusting(&self.authority));
        let mut client = TlsClient::secured(self.proxy.address(), &config, HOST);
        client.get(HOST, "/");
        let metrics = self.proxy.metrics();
        metrics.sum("pointsman_requests_total", &[("route", route)]) > 0.0
    }

    fn kept_back(&self) -> f64 {
        let labels = [("listener", "tls"), ("certificate", "tls/a.pem")];
        self.proxy.metrics().get(KEPT_BACK, &labels).unwrap()
    }
}

#[test]
fn a_renewed_pair_is_shown_without_an_edit_and_cuts_nobody() {
    for mode in ["watch", "poll"] {
        let backend = Backend::new("one");
        let reload =
            format!("mode = \"{mode}\"\npoll_interval = \"100ms\"\ndrain_timeout = \"0s\"\n");
        let site = Site::new(&["a"], &reload, &backend.url());
        let config = Arc::new(trusting(&site.authority));
        let mut before = TlsClient::secured(site.proxy.address(), &config, HOST);
        assert_eq!(before.get(HOST, "/").status, 200);
        let renewed = site.authority.issue(&[HOST]);
        assert_ne!(site.shown(), der(&renewed));
        site.site.put("a", &renewed);
        site.shows(&renewed);
        for _ in 0..3 {
            assert_eq!(before.get(HOST, "/").header("connection"), "");
        }
        // Even one certificate more, which is an edit, is none of the connections' business.
        site.site.put("b", &site.authority.issue(&["b.example"]));
        let text = site.text.replace(
            "key = \"tls/a.key\" }",
            "key = \"tls/a.key\" }, { cert = \"tls/b.pem\", key = \"tls/b.key\" }",
        );
        site.site.write(&text);
        eventually("the other site", || {
            TlsClient::try_secured(site.proxy.address(), &config, "b.example").is_ok()
        });
        for _ in 0..3 {
            assert_eq!(before.get(HOST, "/").header("connection"), "");
        }
        assert_eq!(backend.connections(), 1, "no pool was touched");
    }
}

#[test]
fn half_a_renewal_is_held_back_until_the_other_half_is_there() {
    let backend = Backend::new("one");
    let reload = "settle = \"20ms\"\n";
    let site = Site::new(&["a"], reload, &backend.url());
    for (number, key_first) in [false, true, false].into_iter().enumerate() {
        let before = site.shown();
        let renewed = site.authority.issue(&[HOST]);
        if key_first {
            site.site.put_key("a", &renewed.key);
        } else {
            site.site.put_cert("a", &renewed.cert);
        }
        eventually("it is held back", || site.kept_back() == 1.0);
        assert_eq!(site.shown(), before);
        let status = site.proxy.status();
        let warning = &status["warnings"][0];
        let message = warning["message"].as_str().unwrap();
        assert!(
            message.contains("is not the key of the certificate"),
            "{message}"
        );
        assert!(message.contains("the pair before goes on"), "{message}");
        assert_eq!(warning["key"], "listener[0].tls.certificate[0].key");
        assert_eq!(site.proxy.reloads("refused"), 0.0);
        // What else is edited meanwhile is not held back with it.
        let label = format!("round-{number}");
        site.site.write(
            &site
                .text
                .replace("name = \"all\"", &format!("name = \"{label}\"")),
        );
        eventually("the edit", || site.is_taken_by(&label));
        assert_eq!(site.shown(), before);
        site.site.put("a", &renewed);
        site.shows(&renewed);
        eventually("it is held back no more", || site.kept_back() == 0.0);
        assert!(
            site.proxy.status()["warnings"]
                .as_array()
                .unwrap()
                .is_empty()
        );
    }
}

#[test]
fn a_pair_that_is_renewed_by_its_links_is_shown_as_certbot_and_kubernetes_do_it() {
    let backend = Backend::new("one");
    let site = Site::new(&["a"], "mode = \"watch\"\n", &backend.url());
    let at = |name: &str| site.site.path(&format!("tls/{name}"));
    let link = |to: &str, name: &str| {
        symlink(to, at("link.new")).unwrap();
        fs::rename(at("link.new"), at(name)).unwrap();
    };
    // certbot: one link for each file, to an archive.
    fs::create_dir(at("archive")).unwrap();
    for number in 1..=2 {
        let renewed = site.authority.issue(&[HOST]);
        site.site.put(&format!("archive/a{number}"), &renewed);
        for kind in ["pem", "key"] {
            link(&format!("archive/a{number}.{kind}"), &format!("a.{kind}"));
        }
        site.shows(&renewed);
    }
    // Kubernetes: links that stay, by way of one that is moved to another directory.
    for version in ["v1", "v2"] {
        fs::create_dir(at(version)).unwrap();
    }
    let first = site.authority.issue(&[HOST]);
    site.site.put("v1/a", &first);
    link("v1", "..data");
    for kind in ["pem", "key"] {
        link(&format!("..data/a.{kind}"), &format!("a.{kind}"));
    }
    site.shows(&first);
    let renewed = site.authority.issue(&[HOST]);
    site.site.put("v2/a", &renewed);
    link("v2", "..data");
    site.shows(&renewed);
    assert_eq!(site.kept_back(), 0.0);
}

#[test]
fn a_file_that_is_still_being_written_is_waited_for() {
    let backend = Backend::new("one");
    let site = Site::new(&["a"], "settle = \"20ms\"\n", &backend.url());
    let (before, renewed) = (site.shown(), site.authority.issue(&[HOST]));
    let half = renewed.cert.len() / 2;
    let mut file = fs::File::create(site.site.path("tls/a.pem")).unwrap();
    file.write_all(&renewed.cert.as_bytes()[..half]).unwrap();
    // Many times what settling takes, and less than a writer is waited for.
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        assert_eq!(site.shown(), before);
        assert_eq!(site.kept_back(), 0.0);
    }
    fs::write(site.site.path("tls/a.key"), &renewed.key).unwrap();
    file.write_all(&renewed.cert.as_bytes()[half..]).unwrap();
    drop(file);
    site.shows(&renewed);
    assert!(site.proxy.logged("warn").is_empty());
}

#[test]
fn what_cannot_be_used_is_held_back_at_a_reload_and_refused_at_a_start() {
    let backend = Backend::new("one");
    let site = Site::new(&["a"], "mode = \"off\"\n", &backend.url());
    let before = site.shown();
    let renewed = site.authority.issue(&[HOST]);
    let key = site.site.path("tls/a.key");
    let breaks: [&dyn Fn(); 5] = [
        &|| site.site.put_cert("a", "nonsense"),
        &|| {
            site.site
                .put_cert("a", &renewed.cert[..renewed.cert.len() / 2])
        },
        &|| {
            site.site
                .put_key("a", &renewed.key[..renewed.key.len() / 2])
        },
        &|| fs::remove_file(&key).unwrap(),
        &|| {
            site.site.put("a", &renewed);
            fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
        },
    ];
    for (number, spoil) in breaks.into_iter().enumerate() {
        spoil();
        let (code, outcome) = site.proxy.ask_reload();
        assert_eq!(code, 200, "{outcome:#}");
        assert_eq!(outcome["warnings"][0]["severity"], "warning", "{number}");
        assert_eq!(site.shown(), before, "{number}");
        assert_eq!(site.kept_back(), 1.0);
        let check = crate::harness::pointsman(&[&"check", &site.site.config()]);
        assert_eq!(check.code, Some(1), "{number}: {}", check.err);
    }
    // The mode is what was wrong last, and all that has to be mended.
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(site.proxy.ask_reload().1["result"], "applied");
    assert_eq!(site.shown(), der(&renewed));
    assert_eq!(site.kept_back(), 0.0);
}

#[test]
fn the_end_of_each_certificate_is_told_and_that_of_one_which_is_gone_is_not() {
    let backend = Backend::new("one");
    let site = Site::new(&["a", "b"], "mode = \"off\"\n", &backend.url());
    let until = |year| {
        let key = rcgen::KeyPair::generate().unwrap();
        site.authority.sign(&[HOST], &key, |params| {
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
        })
    };
    let told = |name| {
        let labels = [("listener", "tls"), ("certificate", name)];
        let metrics = site.proxy.metrics();
        metrics.get("pointsman_tls_certificate_not_after_seconds", &labels)
    };
    site.site.put("a", &until(2040));
    site.proxy.ask_reload();
    assert_eq!(told("tls/a.pem"), Some(2_208_988_800.0));
    site.site.put("a", &until(2050));
    site.proxy.ask_reload();
    assert_eq!(told("tls/a.pem"), Some(2_524_608_000.0));
    assert!(told("tls/b.pem").is_some());
    let text = site
        .text
        .replace(", { cert = \"tls/b.pem\", key = \"tls/b.key\" }", "");
    site.site.write(&text);
    site.proxy.ask_reload();
    assert_eq!(told("tls/b.pem"), None);
}

#[test]
fn a_hundred_renewals_under_load_with_resumption_fail_no_handshake() {
    const ROTATIONS: usize = 100;
    let backend = Backend::new("one");
    let site = Site::new(&["a"], "mode = \"off\"\n", &backend.url());
    let address = site.proxy.address();
    let (done, asked, resumed) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let client = || {
        let config = Arc::new(trusting(&site.authority));
        while !done.load(Ordering::Relaxed) {
            let mut client = TlsClient::secured(address, &config, HOST);
            assert_eq!(client.get(HOST, "/").status, 200);
            assert_eq!(client.get(HOST, "/").status, 200);
            if client.inner().conn.handshake_kind() == Some(HandshakeKind::Resumed) {
                resumed.fetch_add(1, Ordering::Relaxed);
            }
            asked.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mut last = None;
    thread::scope(|scope| {
        let clients = [(); 3].map(|()| scope.spawn(client));
        for _ in 0..ROTATIONS {
            let seen = asked.load(Ordering::Relaxed);
            let renewed = site.authority.issue(&[HOST]);
            // One half is seen before the other, as it can happen.
            site.site.put_cert("a", &renewed.cert);
            assert_eq!(site.proxy.ask_reload().1["result"], "applied");
            site.site.put_key("a", &renewed.key);
            assert_eq!(site.proxy.ask_reload().1["result"], "applied");
            eventually("handshakes go on", || {
                assert!(!clients.iter().any(|client| client.is_finished()));
                asked.load(Ordering::Relaxed) > seen
            });
            last = Some(renewed);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(site.shown(), der(&last.unwrap()));
    assert!(resumed.into_inner() > ROTATIONS / 2);
    let metrics = site.proxy.metrics();
    assert_eq!(
        metrics.sum("pointsman_tls_handshake_failures_total", &[]),
        0.0
    );
    assert_eq!(metrics.sum("pointsman_errors_total", &[]), 0.0);
}
