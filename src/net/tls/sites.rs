//! Which certificate is shown to whom: by the name that the client asks for, and by what it can verify.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;

/// A certificate in its place.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// What stands for it in metrics and messages: the name of its file.
    pub label: String,
    /// The name of its key's file; none if it was made here.
    pub key: String,
    /// Tells whether its files hold the same as before.
    pub content: u64,
    pub certificate: Arc<Certificate>,
    /// The number of its policy.
    pub policy: usize,
    /// Its files hold something else that cannot be used.
    pub kept_back: bool,
}

/// The certificates of one listener by name. The first one is shown to whoever asks for none of them.
#[derive(Debug)]
pub(crate) struct Sites {
    entries: Vec<Entry>,
    exact: HashMap<String, Vec<usize>>,
    /// By what follows the `*.`
    wildcard: HashMap<String, Vec<usize>>,
    default: Vec<usize>,
}

impl Sites {
    /// Of at least one entry.
    pub(crate) fn new(entries: Vec<Entry>) -> Self {
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for (index, entry) in entries.iter().enumerate() {
            for name in entry.certificate.names() {
                let (table, name) = match name.strip_prefix("*.") {
                    Some(below) => (&mut wildcard, below),
                    None => (&mut exact, name.as_str()),
                };
                let places: &mut Vec<usize> = table.entry(name.to_owned()).or_default();
                places.push(index);
            }
        }
        // ECDSA first: it costs a handshake a tenth of RSA.
        for places in exact.values_mut().chain(wildcard.values_mut()) {
            places.sort_by_key(|index| !entries[*index].certificate.is_ecdsa());
        }
        let first = entries
            .first()
            .map_or(&[][..], |entry| entry.certificate.names());
        let alike = |entry: &Entry| entry.policy == 0 && entry.certificate.names() == first;
        let mut default: Vec<usize> = (0..entries.len())
            .filter(|index| *index == 0 || alike(&entries[*index]))
            .collect();
        default.sort_by_key(|index| !entries[*index].certificate.is_ecdsa());
        Self {
            entries,
            exact,
            wildcard,
            default,
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn policy(&self, host: Option<&str>) -> usize {
        let found = self.find(host).first();
        found.map_or(0, |index| self.entries[*index].policy)
    }

    /// The exact name, else the wildcard one level above, else the default. `host` is in lower case.
    fn find(&self, host: Option<&str>) -> &[usize] {
        let found = host.and_then(|host| {
            let above = || self.wildcard.get(host.split_once('.')?.1);
            self.exact.get(host).or_else(above)
        });
        found.unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Sites {
    /// Of several for one name, the first that the client can verify; to one that can verify none, the
    /// first of all, for it may be wrong about itself.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = self.find(hello.server_name());
        let certificate = |index: &usize| &self.entries[*index].certificate;
        let mut candidates = found.iter().map(certificate);
        let fits = candidates.find(|certificate| verifies(&hello, certificate));
        let shown = fits.or_else(|| found.first().map(certificate));
        shown.map(|certificate| Arc::clone(&certificate.key))
    }
}

/// rustls has left out what no cipher of the client goes with.
fn verifies(hello: &ClientHello<'_>, certificate: &Certificate) -> bool {
    let key = &certificate.key.key;
    key.choose_scheme(hello.signature_schemes()).is_some()
}
