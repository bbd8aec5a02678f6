//! TLS of a listener: which certificate is shown to whom, and what is spoken.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme,
    SupportedCipherSuite,
};

use crate::harness::{Authority, Client, Origin, Pair, Proxy, TlsClient, TlsSite, route, trusting};

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

/// Takes every certificate, as somebody does who only wants to see it.
#[derive(Debug)]
struct Curious(Vec<SignatureScheme>);

impl ServerCertVerifier for Curious {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

const ECDSA: [SignatureScheme; 1] = [SignatureScheme::ECDSA_NISTP256_SHA256];
const RSA: [SignatureScheme; 1] = [SignatureScheme::RSA_PSS_SHA256];

fn curious(
    schemes: &[SignatureScheme],
    suites: Option<Vec<SupportedCipherSuite>>,
) -> Arc<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(suites) = suites {
        provider.cipher_suites = suites;
    }
    let has13 = provider
        .cipher_suites
        .iter()
        .any(|suite| suite.tls13().is_some());
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&VERSIONS[..1 + usize::from(has13)]);
    let builder = builder.unwrap().dangerous();
    let verifier = Arc::new(Curious(schemes.to_vec()));
    let builder = builder.with_custom_certificate_verifier(verifier);
    Arc::new(builder.with_no_client_auth())
}

fn der(pair: &Pair) -> CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()
}

/// A site with these certificates, in front of an origin.
fn serve(pairs: &[(&str, &Pair)], more: &str, origin: &Origin) -> (TlsSite, Proxy) {
    let site = TlsSite::new(pairs);
    let names: Vec<&str> = pairs.iter().map(|(name, _)| *name).collect();
    let route = route("all", "/*", &origin.url());
    let proxy = site.serve(&TlsSite::text(&names, more, &route));
    (site, proxy)
}

#[test]
fn the_certificate_is_the_one_for_the_name_or_its_wildcard_or_the_first() {
    let authority = Authority::new();
    let first = authority.issue(&["first.example"]);
    let exact = authority.issue(&["Deep.wild.example", "b.example"]);
    let wild = authority.issue(&["*.wild.example"]);
    let pairs = [("first", &first), ("exact", &exact), ("wild", &wild)];
    let (_site, proxy) = serve(&pairs, "", &Origin::named("one"));
    let table = [
        ("first.example", &first),
        ("b.example", &exact),
        ("B.EXAMPLE", &exact),
        ("deep.wild.example", &exact),
        ("any.wild.example", &wild),
        ("two.deep.wild.example", &first),
        ("wild.example", &first),
        ("other.example", &first),
        // An address is no name, and is not sent.
        ("127.0.0.1", &first),
    ];
    let config = curious(&ECDSA, None);
    for (name, pair) in table {
        let mut client = TlsClient::secured(proxy.address(), &config, name);
        assert_eq!(client.shown(), der(pair), "{name}");
        assert_eq!(client.get(name, "/").status, 200);
    }
}

#[test]
fn of_an_ecdsa_and_an_rsa_certificate_each_client_gets_the_one_that_it_can_verify() {
    let authority = Authority::new();
    let names = ["a.example"];
    let (rsa, ecdsa) = (authority.issue_rsa(&names), authority.issue(&names));
    let origin = Origin::named("one");
    let (_site, proxy) = serve(&[("rsa", &rsa), ("ecdsa", &ecdsa)], "", &origin);
    let both = [ECDSA, RSA].concat();
    let rsa12 = cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
    let table = [
        (curious(&both, None), &ecdsa),
        (curious(&ECDSA, None), &ecdsa),
        (curious(&RSA, None), &rsa),
        // Up to TLS 1.2 the ciphers decide, too.
        (curious(&both, Some(vec![rsa12])), &rsa),
    ];
    for (config, pair) in table {
        for name in ["a.example", "other.example"] {
            let mut client = TlsClient::secured(proxy.address(), &config, name);
            assert_eq!(client.shown(), der(pair), "{config:?}");
            assert_eq!(client.get("a.example", "/").status, 200);
        }
    }
}

#[test]
fn tls_1_2_and_1_3_are_spoken_with_forward_secrecy_and_nothing_older() {
    let authority = Authority::new();
    let pair = authority.issue(&["a.example"]);
    let (_site, proxy) = serve(&[("a", &pair)], "", &Origin::named("one"));
    for version in VERSIONS {
        let config = trusting_with(&authority, version);
        let mut client = TlsClient::secured(proxy.address(), &config, "a.example");
        assert_eq!(client.get("a.example", "/").text(), "one");
        let spoken = client.inner().conn.protocol_version();
        assert_eq!(spoken, Some(version.version));
    }
    // TLS 1.1 with ciphers of its time, without signature algorithms, which it did not know, and with.
    for (extensions, alert) in [(&b""[..], 40), (b"\0\x08\0\x0d\0\x04\0\x02\x04\x03", 70)] {
        let mut client = Client::connect(proxy.address());
        client.send(old_hello(extensions));
        let answer = client.until_closed().unwrap();
        assert_eq!(
            (answer[0], &answer[5..]),
            (21, &[2, alert][..]),
            "a fatal alert"
        );
    }
    let failures = "pointsman_tls_handshake_failures_total";
    proxy.counts(failures, &[("reason", "no_version")], 2.0);
    proxy.counts(failures, &[], 2.0);
}

/// What a client of TLS 1.1 says first.
pub(crate) fn old_hello(extensions: &[u8]) -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.extend(b"\0\0\x04\xc0\x13\0\x2f\x01\0");
    hello.extend(extensions);
    let length = u8::try_from(hello.len()).unwrap();
    let record = [0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
    [record.to_vec(), hello].concat()
}

fn trusting_with(
    authority: &Authority,
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der.clone()).unwrap();
    let builder = ClientConfig::builder_with_protocol_versions(&[version]);
    let builder = builder.with_root_certificates(roots);
    Arc::new(builder.with_no_client_auth())
}

#[test]
fn http_1_1_is_what_is_agreed_on_inside() {
    let authority = Authority::new();
    let pair = authority.issue(&["a.example"]);
    let (_site, proxy) = serve(&[("a", &pair)], "", &Origin::named("one"));
    let offers = |protocols: &[&str]| {
        let mut config = trusting(&authority);
        let protocols = protocols
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec());
        config.alpn_protocols = protocols.collect();
        TlsClient::try_secured(proxy.address(), &Arc::new(config), "a.example")
    };
    let agreed: Option<&[u8]> = Some(b"http/1.1");
    for (protocols, expected) in [(&["http/1.1", "other"][..], agreed), (&[], None)] {
        let mut client = offers(protocols).unwrap();
        assert_eq!(client.get("a.example", "/").status, 200);
        assert_eq!(client.inner().conn.alpn_protocol(), expected);
    }
    let refused = offers(&["other"]).unwrap_err().to_string();
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    proxy.counts(
        "pointsman_tls_handshake_failures_total",
        &[("listener", "tls"), ("reason", "no_protocol")],
        1.0,
    );
}

#[test]
fn a_session_resumes_through_reloads_and_never_at_another_listener() {
    let authority = Authority::new();
    let pair = authority.issue(&["a.example"]);
    let origin = Origin::named("one");
    let site = TlsSite::new(&[("a", &pair)]);
    let second = "[[listener]]\nname = \"second\"\naddress = \"127.0.0.1:0\"\n\
                  tls.certificate = [{ cert = \"tls/a.pem\", key = \"tls/a.key\" }]\n";
    let all = route("all", "/*", &origin.url());
    let text = TlsSite::text(&["a"], "", &format!("{second}{all}"));
    let proxy = site.serve(&text);
    let kinds = |kind| {
        let labels = [("listener", "tls"), ("kind", kind)];
        proxy
            .metrics()
            .sum("pointsman_tls_handshakes_total", &labels)
    };
    for version in VERSIONS {
        site.write(&text);
        proxy.ask_reload();
        let config = trusting_with(&authority, version);
        let before = (kinds("full"), kinds("resumed"));
        let kind = |listener| {
            let address = proxy.listener(listener);
            let mut client = TlsClient::secured(address, &config, "a.example");
            assert_eq!(client.get("a.example", "/").status, 200);
            client.inner().conn.handshake_kind()
        };
        assert_eq!(kind("tls"), Some(HandshakeKind::Full));
        assert_eq!(kind("tls"), Some(HandshakeKind::Resumed));
        // Another generation, with another certificate of the same site.
        site.put("a", &authority.issue(&["a.example"]));
        site.write(&format!(
            "{text}response_header.set = {{ X-Two = \"2\" }}\n"
        ));
        assert_eq!(proxy.ask_reload().1["result"], "applied");
        assert_eq!(kind("tls"), Some(HandshakeKind::Resumed));
        assert_eq!(
            (kinds("full"), kinds("resumed")),
            (before.0 + 1.0, before.1 + 2.0)
        );
        assert_ne!(kind("second"), Some(HandshakeKind::Resumed));
    }
}

#[test]
fn whoever_speaks_clear_http_is_told_so_in_clear() {
    let authority = Authority::new();
    let pair = authority.issue(&["a.example"]);
    let origin = Origin::named("one");
    let (_site, proxy) = serve(&[("a", &pair)], "", &origin);
    let mut client = Client::connect(proxy.address());
    let head = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc";
    client.send(format!("{head}{head}"));
    let response = client.response();
    assert_eq!(response.status, 400);
    assert!(
        response.text().contains("speaks HTTPS"),
        "{}",
        response.text()
    );
    assert_eq!(response.header("connection"), "close");
    assert_eq!(client.until_closed().unwrap(), b"");
    let mut client = Client::connect(proxy.address());
    client.send("SSH-2.0-\r\n\r\n");
    assert_eq!(client.response().status, 400);
    let mut client = Client::connect(proxy.address());
    client.send("\0\0\0\0");
    assert_eq!(client.until_closed().unwrap_or_default(), b"");
    assert_eq!(origin.received().len(), 0);
    let not_tls = [("reason", "not_tls")];
    proxy.counts("pointsman_tls_handshake_failures_total", &not_tls, 3.0);
}
