//! `[upstream.NAME]`: a group of servers and how to connect to them.

use serde::Deserialize;

use super::http2::{Http2, UpstreamHttp2Table};
use super::tls::CertificateFiles;
use super::units::{OneOrMany, Time};
use super::url::Url;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// `"http://127.0.0.1:3000"`, or a list that is taken in turn.
    pub server: OneOrMany<Url>,
    /// Each connection begins with a PROXY header that tells the client, and carries one request.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How servers of `https://` are known, and what is shown to them.
    pub tls: Option<UpstreamTls>,
    /// How servers of `h2c://` are spoken to, and those of `https://` that can; `false` asks none of
    /// these whether it can.
    #[serde(default)]
    pub http2: Http2<UpstreamHttp2Table>,
    /// How servers are asked whether they are well. Default: they are not.
    pub health: Option<Health>,
    #[serde(default)]
    pub pool: Pool,
    #[serde(default)]
    pub timeout: UpstreamTimeout,
}

/// Names of files are relative to the directory of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTls {
    /// PEM: those who sign the servers' certificates, in one file or several. Default: those whom the
    /// system trusts.
    pub ca: OneOrMany<String>,
    /// The name that a server's certificate must hold, and that it is asked for. Default: the host of
    /// its URL.
    pub server_name: Option<String>,
    /// PEM: what is shown to servers that ask, then those that lead from it to its root.
    pub cert: Option<String>,
    /// PEM, without a passphrase. Its owner alone may read it, or its group too.
    pub key: Option<String>,
    /// Take a key that others can read. Default false.
    pub allow_loose_key: bool,
    /// Take any certificate, from whomever: whoever is in between reads and changes everything. Default
    /// false.
    pub insecure: bool,
}

impl UpstreamTls {
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        let pair = self.cert.iter().chain(&self.key);
        self.ca.iter().chain(pair).map(String::as_str)
    }

    /// What is shown; none unless both of its files are named.
    pub fn pair(&self) -> Option<CertificateFiles> {
        Some(CertificateFiles {
            cert: self.cert.clone()?,
            key: self.key.clone()?,
            allow_loose_key: self.allow_loose_key,
            client: None,
        })
    }
}

/// `path` or `grpc`, and when.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// A GET of this path, which 2xx and 3xx answer well.
    pub path: Option<String>,
    /// gRPC's health protocol, for this service; `""` for the server as a whole.
    pub grpc: Option<String>,
    /// Between two probes of a server. Default 5 s.
    pub interval: Time,
    /// For one probe, connecting included. Default 1 s.
    pub timeout: Time,
    /// Good answers in a row after which a server is well again. Default 2.
    pub healthy: u32,
    /// Failures in a row after which it is not. Default 3.
    pub unhealthy: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: None,
            grpc: None,
            interval: Time::seconds(5),
            timeout: Time::seconds(1),
            healthy: 2,
            unhealthy: 3,
        }
    }
}

/// Idle connections kept for reuse.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    /// For each server and worker. Default 64.
    pub max_idle: usize,
    /// Default 4 s: below the 5 s after which many servers close theirs, so that no request meets
    /// a connection that is just being closed.
    pub idle_timeout: Time,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            max_idle: 64,
            idle_timeout: Time::seconds(4),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTimeout {
    /// To resolve the name, connect and, where it is spoken, shake hands for TLS. Default 3 s.
    pub connect: Time,
}

impl Default for UpstreamTimeout {
    fn default() -> Self {
        Self {
            connect: Time::seconds(3),
        }
    }
}

/// Which PROXY header is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}
