//! A certificate with its key: read from PEM, compared with each other, and what is told of it.

use std::sync::Arc;

use rustls::crypto::KeyProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, SignatureAlgorithm};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::provider;

/// A sound pair.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    /// In lower case; those that begin with `*.` are wildcards.
    pub(super) names: Vec<String>,
    /// As Unix time, in seconds.
    pub not_before: i64,
    pub not_after: i64,
}

/// Which of the two files a fault is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Certificate,
    Key,
}

/// What is wrong, as the end of a sentence that begins with the file, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub part: Part,
    pub message: String,
    pub help: Option<String>,
}

impl Fault {
    fn new(part: Part, message: impl Into<String>) -> Self {
        Self {
            part,
            message: message.into(),
            help: None,
        }
    }

    fn help(mut self, help: &str) -> Self {
        self.help = Some(help.to_owned());
        self
    }
}

impl Certificate {
    /// Of the text of both files.
    pub(crate) fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, Fault> {
        let chain = chain(certificate)?;
        let key = private_key(key)?;
        Self::new(chain, key)
    }

    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Fault> {
        let of_certificate = |message: String| Fault::new(Part::Certificate, message);
        let leaf = chain
            .first()
            .ok_or_else(|| of_certificate("holds no certificate".to_owned()))?;
        let (_, parsed) = X509Certificate::from_der(leaf)
            .map_err(|error| of_certificate(format!("holds a broken certificate: {error}")))?;
        let (names, validity) = (names(&parsed), parsed.validity());
        let (not_before, not_after) = (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        );
        let provider: &dyn KeyProvider = provider().key_provider;
        let key = provider.load_private_key(key).map_err(|error| {
            let message = format!("holds a key that cannot be used: {error}");
            Fault::new(Part::Key, message)
        })?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(_) => {
                return Err(Fault::new(Part::Key, "is not the key of the certificate")
                    .help("give both files of one pair, each whole"));
            }
        }
        Ok(Self {
            key: Arc::new(key),
            names,
            not_before,
            not_after,
        })
    }

    pub(super) fn is_ecdsa(&self) -> bool {
        self.key.key.algorithm() == SignatureAlgorithm::ECDSA
    }

    /// Every name that it is for, as it stands in the certificate.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }
}

/// The leaf first.
fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| {
        Fault::new(Part::Certificate, format!("is not sound PEM: {error}"))
            .help("it may be written half; `openssl x509 -in FILE -noout -text` reads it")
    })?;
    if chain.is_empty() {
        let fault = Fault::new(Part::Certificate, "holds no certificate in PEM");
        return Err(fault.help("it begins with `-----BEGIN CERTIFICATE-----`, the leaf first"));
    }
    Ok(chain)
}

/// Nothing of the key is told, whatever is wrong with it.
fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
        if pem.windows(encrypted.len()).any(|part| part == encrypted) {
            let fault = Fault::new(Part::Key, "is locked with a passphrase");
            return fault.help("write it without: `openssl pkey -in LOCKED -out KEY`");
        }
        match error {
            PemError::NoItemsFound => Fault::new(Part::Key, "holds no private key in PEM")
                .help("it begins with `-----BEGIN PRIVATE KEY-----`"),
            _ => Fault::new(Part::Key, "is not sound PEM").help("it may be written half"),
        }
    })
}

/// The names of hosts; those of people and machines' addresses are never asked for in a handshake.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names = alternatives
        .iter()
        .flat_map(|names| &names.value.general_names);
    let host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(host) => Some(host.to_ascii_lowercase()),
        _ => None,
    };
    names.filter_map(host).collect()
}
