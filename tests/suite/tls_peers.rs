//! TLS with programs that are not ours: curl and openssl.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::harness::{Authority, Origin, Proxy, Reply, TlsSite, passes, route, tool};

struct Site {
    site: TlsSite,
    proxy: Proxy,
}

/// ECDSA and RSA for one name, in front of an origin that sends back what it gets.
fn serve() -> Site {
    let authority = Authority::new();
    let site = TlsSite::new(&[
        ("ecdsa", &authority.issue(&["a.example"])),
        ("rsa", &authority.issue_rsa(&["a.example"])),
    ]);
    fs::write(site.path("ca.pem"), &authority.pem).unwrap();
    let echo = Origin::new(|received| Reply::Whole(200, Vec::new(), received.body.clone()));
    let text = TlsSite::text(&["ecdsa", "rsa"], "", &route("all", "/*", &echo.url()));
    Site {
        proxy: site.serve(&text),
        site,
    }
}

impl Site {
    fn curl(&self, arguments: &[&str]) -> Command {
        let port = self.proxy.address().port();
        let mut curl = tool("curl");
        curl.arg("-sSf")
            .arg("--cacert")
            .arg(self.site.path("ca.pem"));
        curl.args(["--resolve", &format!("a.example:{port}:127.0.0.1")]);
        curl.args(arguments)
            .arg(format!("https://a.example:{port}/"));
        curl
    }

    /// What it says when this is typed, with a pause before each line.
    fn openssl(&self, arguments: &[&str], typed: &[&str]) -> (bool, String) {
        let mut openssl = tool("openssl");
        openssl.args([
            "s_client",
            "-servername",
            "a.example",
            "-verify_return_error",
        ]);
        openssl
            .arg("-connect")
            .arg(self.proxy.address().to_string());
        openssl
            .arg("-CAfile")
            .arg(self.site.path("ca.pem"))
            .args(arguments);
        let pipes = || Stdio::piped();
        openssl.stdin(pipes()).stdout(pipes()).stderr(pipes());
        let mut process = openssl.spawn().unwrap();
        let mut stdin = process.stdin.take().unwrap();
        for line in typed {
            // A person at a keyboard: it takes a command only at the beginning of what it reads.
            thread::sleep(Duration::from_millis(300));
            stdin.write_all(line.as_bytes()).unwrap();
        }
        let said = {
            if !typed.is_empty() {
                thread::sleep(Duration::from_millis(300));
            }
            drop(stdin);
            process.wait_with_output().unwrap()
        };
        let text = [said.stdout, said.stderr].concat();
        (
            said.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }
}

#[test]
#[ignore = "needs curl; make test runs it"]
fn curl_uploads_and_downloads_over_either_version() {
    let site = serve();
    let file = site.site.path("body");
    let body: Vec<u8> = (0..5_000_000_u32)
        .flat_map(|number| number.to_le_bytes())
        .collect();
    fs::write(&file, &body).unwrap();
    let (upload, back) = (format!("@{}", file.display()), site.site.path("back"));
    for version in ["1.2", "1.3"] {
        let to = back.display().to_string();
        let arguments = ["--tls-max", version, "--data-binary", &upload, "-o", &to];
        passes(&mut site.curl(&arguments));
        assert!(fs::read(&back).unwrap() == body, "TLS {version}");
    }
    let written = "%{http_version} %{ssl_verify_result}";
    assert_eq!(passes(&mut site.curl(&["-w", written])), "2 0");
    let old = ["--http1.1", "-w", written];
    assert_eq!(passes(&mut site.curl(&old)), "1.1 0");
}

#[test]
#[ignore = "needs openssl; make test runs it"]
fn openssl_is_shown_what_it_can_verify_and_resumes() {
    let site = serve();
    let table: [(&[&str], &str); 6] = [
        (&["-tls1_3"], "Peer signature type: ECDSA"),
        (&["-tls1_2"], "Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"),
        (
            &["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"],
            "Peer signature type: RSA-PSS",
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
            "Cipher is ECDHE-RSA-AES128-GCM-SHA256",
        ),
        (&["-alpn", "h2,http/1.1"], "ALPN protocol: h2"),
        (&["-alpn", "http/1.1"], "ALPN protocol: http/1.1"),
    ];
    for (arguments, expected) in table {
        let (good, said) = site.openssl(arguments, &[]);
        assert!(good && said.contains(expected), "{arguments:?}\n{said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    }
    let session = site.site.path("session").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        // Tickets of TLS 1.3 come after the handshake.
        let request = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
        site.openssl(&[version, "-sess_out", &session], &[request]);
        let (good, said) = site.openssl(&[version, "-sess_in", &session], &[request]);
        assert!(good && said.contains("Reused, TLSv1"), "{version}\n{said}");
        assert!(said.contains("HTTP/1.1 200 OK"), "{said}");
    }
}

#[test]
#[ignore = "needs openssl; make test runs it"]
fn openssl_gets_nowhere_with_what_is_old_or_unknown() {
    let site = serve();
    let table: [(&[&str], &str); 5] = [
        (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "alert"),
        (&["-tls1", "-cipher", "ALL:@SECLEVEL=0"], "alert"),
        (
            &["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"],
            "handshake failure",
        ),
        (
            &["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"],
            "handshake failure",
        ),
        (&["-alpn", "h3"], "no application protocol"),
    ];
    for (arguments, expected) in table {
        let (good, said) = site.openssl(arguments, &[]);
        assert!(!good && said.contains(expected), "{arguments:?}\n{said}");
    }
    let failures = "pointsman_tls_handshake_failures_total";
    site.proxy
        .counts(failures, &[("reason", "no_version")], 2.0);
    site.proxy.counts(failures, &[("reason", "no_cipher")], 2.0);
    site.proxy
        .counts(failures, &[("reason", "no_protocol")], 1.0);
}

/// RFC 9113 section 9.2.1: TLS 1.2 could.
#[test]
#[ignore = "needs openssl; make test runs it"]
fn openssl_may_not_begin_anew_in_the_middle() {
    let site = serve();
    let request = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let (good, said) = site.openssl(&["-tls1_2"], &[request, "R\n"]);
    assert!(!good && said.contains("no renegotiation"), "{said}");
}

#[test]
#[ignore = "needs openssl; make test runs it"]
fn openssl_may_change_its_keys_in_the_middle() {
    let site = serve();
    let request = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    // `K` changes the keys of both sides, `k` its own.
    let typed = [request, "K\n", request, "k\n", "K\n", request];
    let (_, said) = site.openssl(&["-tls1_3"], &typed);
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 3, "{said}");
    assert_eq!(said.matches("KEYUPDATE").count(), 3, "{said}");
}
