//! `tls = "internal"`: HTTPS with certificates that are made here, by an authority that is kept.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

use crate::harness::{Proxy, TlsClient, eventually, passes, pointsman, tool};

const TEXT: &str = "listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\n\
                    server.state_dir = \"state\"\n\
                    [[listener]]\nname = \"tls\"\naddress = \"127.0.0.1:0\"\ntls = \"internal\"\n\
                    [[route]]\nrespond = { body = \"here\" }\n";

/// A place for a configuration.
fn place() -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("pointsman.toml");
    fs::write(&config, TEXT).unwrap();
    (directory, config)
}

fn authority(directory: &TempDir) -> PathBuf {
    directory.path().join("state/local-authority.pem")
}

fn trusting(authority: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(authority).unwrap())
        .unwrap();
    let builder = ClientConfig::builder().with_root_certificates(roots);
    Arc::new(builder.with_no_client_auth())
}

fn shown(proxy: &Proxy, config: &Arc<ClientConfig>, name: &str) -> CertificateDer<'static> {
    // A session that resumes shows what was shown before.
    let mut config = (**config).clone();
    config.resumption = Resumption::disabled();
    let mut client = TlsClient::secured(proxy.listener("tls"), &Arc::new(config), name);
    assert_eq!(client.get(name, "/").text(), "here");
    client.shown()
}

#[test]
fn one_word_makes_https_whose_authority_is_trusted_once() {
    let (directory, config) = place();
    let proxy = Proxy::on_file(&config);
    let trust = trusting(&authority(&directory));
    for name in ["localhost", "127.0.0.1"] {
        shown(&proxy, &trust, name);
    }
    let key = authority(&directory).with_extension("key");
    for (path, mode) in [(&key, 0o600), (&directory.path().join("state"), 0o700)] {
        let found = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{}", path.display());
    }
    let not_after = proxy.metrics();
    let labels = [("listener", "tls"), ("certificate", "internal")];
    assert!(
        not_after
            .get("pointsman_tls_certificate_not_after_seconds", &labels)
            .is_some()
    );
    // Another process has the same authority.
    drop(proxy);
    let again = Proxy::on_file(&config);
    shown(&again, &trust, "localhost");
}

#[test]
fn hosts_of_routes_are_in_the_certificate_which_is_made_anew_for_them_alone() {
    let (directory, config) = place();
    let proxy = Proxy::on_file(&config);
    let trust = trusting(&authority(&directory));
    let first = shown(&proxy, &trust, "localhost");
    // An edit of something else.
    fs::write(
        &config,
        TEXT.replace("respond", "name = \"other\"\nrespond"),
    )
    .unwrap();
    assert_eq!(proxy.ask_reload().1["result"], "applied");
    assert_eq!(shown(&proxy, &trust, "localhost"), first);
    let mut open = TlsClient::secured(proxy.listener("tls"), &trust, "localhost");
    let hosts = "host = [\"App.test\", \"*.dev.test\"]\nrespond";
    fs::write(&config, TEXT.replace("respond", hosts)).unwrap();
    assert_eq!(proxy.ask_reload().1["result"], "applied");
    for name in ["app.test", "a.dev.test"] {
        assert_ne!(shown(&proxy, &trust, name), first);
    }
    assert_eq!(
        open.get("app.test", "/").header("connection"),
        "",
        "it is not drained"
    );
}

#[test]
fn a_check_makes_nothing() {
    let (directory, config) = place();
    let said = pointsman(&[&"check", &config]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(!directory.path().join("state").exists());
}

#[test]
fn what_is_wrong_with_the_authority_is_told_with_what_to_do() {
    let (directory, config) = place();
    drop(Proxy::on_file(&config));
    let key = authority(&directory).with_extension("key");
    let refused = || {
        let said = pointsman(&[&"check", &config]);
        assert_eq!(said.code, Some(1), "{}", said.err);
        assert!(
            said.err.contains("pointsman.toml:7:7 (listener[0].tls)"),
            "{}",
            said.err
        );
        said.err
    };
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    let said = refused();
    assert!(
        said.contains(&format!("run `chmod 0600 {}`", key.display())),
        "{said}"
    );
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let whole = fs::read_to_string(&key).unwrap();
    fs::write(&key, &whole[..60]).unwrap();
    assert!(refused().contains("no certificate can be made by the authority"));
    fs::remove_file(&key).unwrap();
    assert!(refused().contains("and no "));
    fs::remove_file(authority(&directory)).unwrap();
    fs::remove_dir(directory.path().join("state")).unwrap();
    fs::write(directory.path().join("state"), "a file").unwrap();
    let said = pointsman(&[&"run", &"--config", &config]).err;
    assert!(said.contains("write `server.state_dir"), "{said}");
    fs::write(&config, TEXT.replace("\"internal\"", "\"external\"")).unwrap();
    let said = pointsman(&[&"check", &config]).err;
    assert!(
        said.contains("`external` is no source of certificates"),
        "{said}"
    );
}

#[test]
fn a_command_tells_how_to_trust_it() {
    let (directory, config) = place();
    let before = pointsman(&[&"trust", &"--config", &config]);
    assert_eq!(before.code, Some(1));
    assert!(before.err.contains("it is made when"), "{}", before.err);
    let _proxy = Proxy::on_file(&config);
    let said = pointsman(&[&"trust", &"--config", &config]);
    let place = authority(&directory).display().to_string();
    assert_eq!(said.code, Some(0));
    assert!(
        said.out.contains(&format!("curl --cacert {place}")),
        "{}",
        said.out
    );
    let pem = pointsman(&[&"trust", &"--pem", &"--config", &config]);
    assert_eq!(pem.out, fs::read_to_string(authority(&directory)).unwrap());
}

#[test]
fn a_listener_goes_over_to_it_and_back_while_it_serves() {
    let (directory, config) = place();
    fs::write(&config, TEXT.replace("tls = \"internal\"\n", "")).unwrap();
    let proxy = Proxy::on_file(&config);
    assert_eq!(proxy.get("/").text(), "here");
    fs::write(&config, TEXT).unwrap();
    eventually("it is made", || authority(&directory).exists());
    let trust = trusting(&authority(&directory));
    eventually("it is spoken", || {
        TlsClient::try_secured(proxy.listener("tls"), &trust, "localhost").is_ok()
    });
    fs::write(&config, TEXT.replace("tls = \"internal\"\n", "")).unwrap();
    eventually("it is spoken no more", || proxy.get("/").status == 200);
}

#[test]
#[ignore = "needs curl and openssl; make test runs it"]
fn curl_and_openssl_trust_it() {
    let (directory, config) = place();
    let proxy = Proxy::on_file(&config);
    let (ca, port) = (authority(&directory), proxy.listener("tls").port());
    let url = format!("https://localhost:{port}/");
    let mut curl = tool("curl");
    assert_eq!(
        passes(curl.args(["-sS", "--cacert"]).arg(&ca).arg(url)),
        "here"
    );
    let mut openssl = tool("openssl");
    openssl.args(["s_client", "-brief", "-verify_return_error", "-connect"]);
    openssl
        .arg(format!("127.0.0.1:{port}"))
        .arg("-CAfile")
        .arg(&ca);
    openssl.args(["-verify_ip", "127.0.0.1", "-x509_strict"]);
    passes(openssl.stdin(std::process::Stdio::null()));
}
