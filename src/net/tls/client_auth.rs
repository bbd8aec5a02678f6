//! Clients' certificates: who has signed them, and who they say a client is.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::HeaderValue;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::x509::X509Name;

use super::{provider, roots};

/// Verifies by these files, each with its name. An error names one of them.
pub(crate) fn verifier(
    authorities: &[(&str, &[u8])],
    revoked: &[(&str, &[u8])],
    optional: bool,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let roots = roots(authorities)?;
    let mut lists = Vec::new();
    for (name, pem) in revoked {
        let before = lists.len();
        for list in CertificateRevocationListDer::pem_slice_iter(pem) {
            lists.push(list.map_err(|error| format!("`{name}` is not sound PEM: {error}"))?);
        }
        if lists.len() == before {
            return Err(format!(
                "`{name}` holds no list of revoked certificates in PEM"
            ));
        }
    }
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = builder.with_crls(lists).only_check_end_entity_revocation();
    let builder = match optional {
        true => builder.allow_unauthenticated(),
        false => builder,
    };
    builder.build().map_err(|error| error.to_string())
}

/// A client that has shown a certificate, in the words of its upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub subject: HeaderValue,
    pub san: HeaderValue,
    pub fingerprint: HeaderValue,
}

impl Identity {
    /// None if it cannot be read, which the verifier has seen to.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let alternatives = parsed.subject_alternative_name().ok().flatten();
        let names = alternatives.map(|names| names.value.general_names.as_slice());
        let names: Vec<String> = names
            .unwrap_or_default()
            .iter()
            .filter_map(alternative)
            .collect();
        let mut fingerprint = String::new();
        for byte in Sha256::digest(certificate) {
            // A string takes everything.
            let _ = write!(fingerprint, "{byte:02x}");
        }
        let value = |text: String| HeaderValue::try_from(text).ok();
        Some(Self {
            subject: value(distinguished(parsed.subject()))?,
            san: value(names.join(", "))?,
            fingerprint: value(fingerprint)?,
        })
    }
}

/// RFC 4514: the last part first, and whatever could be read otherwise escaped.
fn distinguished(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let part = |part: &&x509_parser::x509::RelativeDistinguishedName<'_>| {
        let attributes = part.iter().map(|attribute| {
            let oid = attribute.attr_type();
            let value = attribute.as_str().unwrap_or_default();
            format!("{}={}", short(&oid.to_id_string()), escape(value))
        });
        attributes.collect::<Vec<_>>().join("+")
    };
    let parts: Vec<String> = parts.iter().rev().map(part).collect();
    parts.join(",")
}

/// The names that RFC 4514 section 3 gives; any other attribute is called by its number.
fn short(oid: &str) -> &str {
    match oid {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        other => other,
    }
}

fn escape(value: &str) -> String {
    let mut escaped = String::new();
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let at_edge = byte == b' ' && (at == 0 || at == last) || byte == b'#' && at == 0;
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' | b'=' => {
                escaped.push('\\');
                escaped.push(char::from(byte));
            }
            0x20..=0x7e if !at_edge => escaped.push(char::from(byte)),
            byte => {
                let _ = write!(escaped, "\\{byte:02X}");
            }
        }
    }
    escaped
}

fn alternative(name: &GeneralName<'_>) -> Option<String> {
    Some(match name {
        GeneralName::DNSName(name) => format!("DNS:{}", encode(name)),
        GeneralName::RFC822Name(name) => format!("EMAIL:{}", encode(name)),
        GeneralName::URI(name) => format!("URI:{}", encode(name)),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => format!("IP:{}", Ipv4Addr::new(*a, *b, *c, *d)),
            _ => format!("IP:{}", Ipv6Addr::from(<[u8; 16]>::try_from(*bytes).ok()?)),
        },
        _ => return None,
    })
}

/// What could end one name and begin another is written as `%XX`.
fn encode(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b',' | b'%' | ..=0x20 | 0x7f.. => {
                let _ = write!(encoded, "%{byte:02X}");
            }
            byte => encoded.push(char::from(byte)),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_can_pass_for_another_attribute_or_another_name() {
        assert_eq!(escape("alice"), "alice");
        assert_eq!(escape("alice,CN=root"), "alice\\,CN\\=root");
        assert_eq!(escape(" #a "), "\\20#a\\20");
        assert_eq!(escape("#\\\"<>;+"), "\\23\\\\\\\"\\<\\>\\;\\+");
        assert_eq!(escape("é\r\n"), "\\C3\\A9\\0D\\0A");
        assert_eq!(encode("a.example, DNS:b"), "a.example%2C%20DNS:b");
        assert_eq!(encode("spiffe://a/%2C\u{7f}é"), "spiffe://a/%252C%7F%C3%A9");
    }
}
