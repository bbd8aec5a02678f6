//! `[[listener]]`: an address to accept connections on.

use serde::Deserialize;

use super::units::{Mode, Size, Time};
use super::{Access, Address, Hsts, Http2, Peers, RedirectToHttps, Tls};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// The log field; the address if left out.
    pub name: Option<String>,
    pub address: Address,
    /// Of a unix socket: who may connect, as of a file. Default: what the umask leaves of 0777.
    pub mode: Option<Mode>,
    /// Peers that relay for others, and say so in a PROXY header.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Speak TLS, and nothing in clear.
    pub tls: Option<Tls>,
    /// Send every request to the same place by HTTPS. Default false.
    pub redirect_to_https: Option<RedirectToHttps>,
    /// Tell browsers to ask by HTTPS only, for so long. Said over TLS only. Default: nothing is said.
    pub hsts: Option<Hsts>,
    /// Speak HTTP/2 to clients that do: over TLS as they agree, in clear to those who begin with it.
    /// Default: yes.
    #[serde(default)]
    pub http2: Http2,
    /// Which clients may pass. Default: all. It may change while connections are open.
    pub access: Option<Access>,
    #[serde(default)]
    pub timeout: ListenerTimeout,
    #[serde(default)]
    pub limit: ListenerLimit,
}

/// What one client, or all together, may take.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerLimit {
    /// Open connections; more wait to be accepted. Default: no limit but `server.max_connections`.
    pub connections: Option<usize>,
    /// Requests on one connection, the last of which closes it. Default: no limit.
    pub requests: Option<u64>,
    /// Bytes of the head of a request. Default 128 KiB. 431.
    pub head: Size,
    /// Bytes of its target. Default 64 KiB. 414.
    pub target: Size,
    /// Fields of its head. Default 128, at most 256. 431.
    pub fields: usize,
}

impl Default for ListenerLimit {
    fn default() -> Self {
        Self {
            connections: None,
            requests: None,
            head: Size(128 * 1024),
            target: Size(64 * 1024),
            fields: 128,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocol {
    /// They must send a header, and nobody else can: networks, single addresses, or `"unix:"`.
    pub from: Peers,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerTimeout {
    /// From the connection, or the first byte of a later request, to the end of the head.
    /// Default 10 s. 408.
    pub header: Time,
    /// From the end of an answer to the first byte of the next request. Default 75 s.
    pub idle: Time,
    /// Of a client that takes nothing of an answer. Default 60 s.
    pub write: Time,
    /// From the connection, or the PROXY header, to the end of the TLS handshake. Default 10 s.
    pub handshake: Time,
}

impl Default for ListenerTimeout {
    fn default() -> Self {
        Self {
            header: Time::seconds(10),
            idle: Time::seconds(75),
            write: Time::seconds(60),
            handshake: Time::seconds(10),
        }
    }
}
