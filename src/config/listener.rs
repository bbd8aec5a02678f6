//! `[[listener]]`: an address to accept connections on.

use serde::Deserialize;

use super::units::{Mode, Time};
use super::{Address, Peers};

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
    #[serde(default)]
    pub timeout: ListenerTimeout,
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
}

impl Default for ListenerTimeout {
    fn default() -> Self {
        Self {
            header: Time::seconds(10),
            idle: Time::seconds(75),
        }
    }
}
