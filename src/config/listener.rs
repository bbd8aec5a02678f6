//! `[[listener]]`: an address to accept connections on.

use serde::Deserialize;

use super::units::{Address, Time};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// The log field; the address if left out.
    pub name: Option<String>,
    pub address: Address,
    #[serde(default)]
    pub timeout: ListenerTimeout,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerTimeout {
    /// From the connection (or the end of the request before) to the end of a request's head.
    /// Default 60 s.
    pub header: Time,
}

impl Default for ListenerTimeout {
    fn default() -> Self {
        Self {
            header: Time::seconds(60),
        }
    }
}
