//! `client` of `tls` or of one of its certificates: who is let in by a certificate of their own.

use serde::Deserialize;

use super::units::OneOrMany;

/// Which clients are let in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientAuth {
    /// PEM: those who sign clients' certificates, in one file or several.
    pub ca: OneOrMany<String>,
    /// PEM: the lists of certificates that their signers have taken back, one for each signer.
    #[serde(default)]
    pub crl: OneOrMany<String>,
    #[serde(default)]
    pub mode: ClientAuthMode,
    /// Fields by which an upstream is told who asks. Cleared of every request first.
    #[serde(default)]
    pub headers: ClientHeaders,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMode {
    /// Without a certificate there is no connection. The default.
    #[default]
    Required,
    /// Who has none may come in; a wrong one is refused.
    Optional,
}

/// The names of fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientHeaders {
    /// The subject, as RFC 4514 writes it: `CN=alice,O=Example`.
    pub subject: Option<String>,
    /// The subject's alternative names: `DNS:a.example, URI:spiffe://example/a`.
    pub san: Option<String>,
    /// The SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: Option<String>,
}

impl ClientAuth {
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.ca.iter().chain(self.crl.iter()).map(String::as_str)
    }
}
