//! Sections 3.2, 3.4 and 9.2: what is otherwise under TLS, where ALPN says beforehand what is spoken.

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::peer::Peer;
use super::{Closes, Ends, Ignored, PROTOCOL_ERROR, Row, Site, must};
use crate::harness::TlsClient;
use crate::harness::http2::{PING, PREFACE};

#[rustfmt::skip]
const SECURED: &[Row] = &[
    Row("3.2", "the preface, where h2 was agreed on", |p| p.begins(), must(Ignored)),
    Row("3.4", "a request of HTTP/1.1 instead",
        |p| p.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n"), must(Ends(PROTOCOL_ERROR)).by(Closes)),
    Row("3.4", "a preface whose last byte is another",
        |p| { p.send(&PREFACE[..23]); p.send("x"); p.settings(&[]) }, must(Ends(PROTOCOL_ERROR)).by(Closes)),
    Row("3.4", "SETTINGS and no preface", |p| p.settings(&[]), must(Ends(PROTOCOL_ERROR)).by(Closes)),
    Row("3.4", "PING before SETTINGS",
        |p| { p.send(PREFACE); p.frame(PING, 0, 0, &[0; 8]) }, must(Ends(PROTOCOL_ERROR))),
];

impl Site {
    /// A connection of that version on which these are offered.
    fn secured(&self, version: &'static SupportedProtocolVersion, offers: &[&[u8]]) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der.clone()).unwrap();
        let builder = ClientConfig::builder_with_protocol_versions(&[version]);
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = offers.iter().map(|offer| offer.to_vec()).collect();
        TlsClient::secured(self.proxy.listener("tls"), &Arc::new(config), "a.example")
    }
}

#[test]
fn under_tls_nothing_but_the_preface_follows_what_was_agreed_on() {
    for version in [&TLS12, &TLS13] {
        Site::new().observes(SECURED, |site| {
            Peer::over(site.secured(version, &[b"h2", b"http/1.1"]).into_inner())
        });
    }
}

#[test]
fn under_tls_the_preface_is_none_where_h2_was_not_agreed_on() {
    let site = Site::new();
    for offers in [&[][..], &[&b"http/1.1"[..]]] {
        let mut client = site.secured(&TLS13, offers);
        client.send(PREFACE);
        assert_eq!(client.response().status, 505, "{offers:?}");
    }
}
