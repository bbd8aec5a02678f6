//! For which host an upstream is asked.

use http::header::HOST;
use http::{HeaderMap, HeaderValue};

use super::target::Authority;

/// The `Host` that the upstream sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPolicy {
    /// The client's.
    Preserve,
    /// The server's own, from its URL.
    Upstream,
    Literal(HeaderValue),
}

impl HostPolicy {
    /// Sets `Host`; with [`HostPolicy::Upstream`] it is taken away, and the sending side fills in
    /// the server that was picked.
    pub fn apply(&self, headers: &mut HeaderMap, authority: &Authority) {
        match self {
            Self::Preserve => {
                if !authority.is_host && !authority.value.is_empty() {
                    headers.insert(HOST, authority.value.clone());
                }
            }
            Self::Upstream => {
                headers.remove(HOST);
            }
            Self::Literal(host) => {
                headers.insert(HOST, host.clone());
            }
        }
    }
}
