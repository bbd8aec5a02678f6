//! HTTP/2 with clients that are not ours: curl, nghttp and h2load.

use std::fs;

use crate::harness::{Authority, Origin, Proxy, Reply, TlsSite, passes, tool};

/// An origin that answers with what it was sent, behind a listener with TLS and one in clear.
struct Peers {
    site: TlsSite,
    proxy: Proxy,
}

impl Peers {
    fn new() -> Self {
        let authority = Authority::new();
        let pair = authority.issue(&["localhost"]);
        let site = TlsSite::new(&[("site", &pair)]);
        fs::write(site.path("ca.pem"), &authority.pem).unwrap();
        let origin = Origin::new(|received| match received.body.is_empty() {
            true => Reply::text("hello"),
            false => Reply::Whole(200, Vec::new(), received.body.clone()),
        });
        let rest = format!(
            "[[listener]]\nname = \"clear\"\naddress = \"127.0.0.1:0\"\n\
             [[route]]\nupstream = \"{}\"\n",
            origin.url()
        );
        let proxy = site.serve(&TlsSite::text(&["site"], "", &rest));
        Self { site, proxy }
    }

    fn urls(&self) -> [String; 2] {
        let port = |name| self.proxy.listener(name).port();
        [
            format!("https://localhost:{}/", port("tls")),
            format!("http://localhost:{}/", port("clear")),
        ]
    }

    fn curl(&self, arguments: &[&str]) -> String {
        let authority = self.site.path("ca.pem");
        let mut command = tool("curl");
        command.args(["-sSf", "--max-time", "60", "--cacert"]);
        passes(command.arg(authority).args(arguments))
    }
}

#[test]
#[ignore = "needs curl; make test runs it"]
fn curl_speaks_http_2_over_tls_and_in_clear() {
    let peers = Peers::new();
    let [tls, clear] = peers.urls();
    for (how, url) in [("--http2", &tls), ("--http2-prior-knowledge", &clear)] {
        let said = peers.curl(&[how, "-w", " %{http_version} %{http_code}", url]);
        assert_eq!(said, "hello 2 200", "{how}");
        let (file, back) = (peers.site.path("body"), peers.site.path("back"));
        let body: Vec<u8> = (0..2_000_000_u32).flat_map(u32::to_le_bytes).collect();
        fs::write(&file, &body).unwrap();
        let upload = format!("@{}", file.display());
        let to = back.display().to_string();
        peers.curl(&[how, "--data-binary", &upload, "-o", &to, url]);
        assert!(fs::read(&back).unwrap() == body, "{how}");
    }
    // Asked to change over, it goes on as it began.
    let said = peers.curl(&["--http2", "-w", " %{http_version}", &clear]);
    assert_eq!(said, "hello 1.1");
    peers.proxy.counts("pointsman_errors_total", &[], 0.0);
}

#[test]
#[ignore = "needs nghttp; make test runs it"]
fn nghttp_sees_frames_that_it_finds_sound() {
    let peers = Peers::new();
    for url in peers.urls() {
        let said = passes(tool("nghttp").args(["-nv", "--multiply=20", "--no-verify-peer", &url]));
        assert_eq!(said.matches(":status: 200").count(), 20, "{said}");
        assert!(
            !said.contains("RST_STREAM") && !said.replace("NO_ERROR", "").contains("ERROR"),
            "{said}"
        );
    }
}

#[test]
#[ignore = "needs h2load; make test runs it"]
fn h2load_loses_no_request() {
    let peers = Peers::new();
    for url in peers.urls() {
        let arguments = ["-n", "5000", "-c", "10", "-m", "32", &url];
        let said = passes(tool("h2load").args(arguments));
        assert!(
            said.contains("5000 succeeded, 0 failed, 0 errored"),
            "{said}"
        );
    }
    peers
        .proxy
        .counts("pointsman_requests_total", &[], 10_000.0);
    peers.proxy.counts("pointsman_errors_total", &[], 0.0);
    peers.proxy.counts("pointsman_requests_in_flight", &[], 0.0);
}
