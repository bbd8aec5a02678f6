//! Addresses: where to listen, the path of a unix socket, and sets of peers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What a unix socket is written with, before its path; alone, the peers who come by one. They have
/// no address.
pub const UNIX: &str = "unix:";

/// The longest path that a socket can have: the kernel's 108 bytes, of which the last is a zero.
const LONGEST_PATH: usize = 107;

/// IP and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpPort(pub SocketAddr);

impl FromStr for IpPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let full = match text.strip_prefix(':') {
            Some(port) => format!("0.0.0.0:{port}"),
            None => text.to_owned(),
        };
        full.parse().map(Self).map_err(|_| {
            format!(
                "`{text}` is not an address to listen on; write IP:PORT, such as \
                 \"127.0.0.1:8080\", \"0.0.0.0:80\" or \"[::]:80\""
            )
        })
    }
}

/// An address to listen on: `IP:PORT`, or `unix:/PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    Ip(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    /// Does the kernel pick the port?
    pub fn is_picked(&self) -> bool {
        matches!(self, Self::Ip(address) if address.port() == 0)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(UNIX) {
            Some(path) => socket_path(path)
                .map(Self::Unix)
                .map_err(|why| format!("`{text}` {why}; write one such as \"unix:/run/web.sock\"")),
            None => text
                .parse()
                .map(|IpPort(address)| Self::Ip(address))
                .map_err(|error| format!("{error}, or \"unix:/run/web.sock\"")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "{UNIX}{}", path.display()),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A path that a socket can have and that means the same to everyone: not relative to wherever the
/// process was started, and with nothing in it that would have to be escaped in the file.
pub(super) fn socket_path(path: &str) -> Result<PathBuf, &'static str> {
    let odd = |c: char| c.is_control() || matches!(c, '"' | '\\' | '$');
    if !path.starts_with('/') || path.ends_with('/') {
        return Err("is not the whole path of a socket, from `/` on");
    }
    if path.len() > LONGEST_PATH {
        return Err("is longer than the 107 bytes that the path of a socket can have");
    }
    if path.contains(odd) {
        return Err("has a control character, a quote, `\\` or `$` in the path of its socket");
    }
    Ok(Path::new(path).to_owned())
}

/// A network, or an address alone.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let single = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| single()).ok()
}

/// Peers: networks, single addresses, and `"unix:"` for whoever comes by a unix socket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Peers {
    pub networks: Vec<IpNet>,
    pub unix: bool,
}

impl<'de> Deserialize<'de> for Peers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut peers = Self::default();
        for text in Vec::<String>::deserialize(deserializer)? {
            match network(&text) {
                Some(network) => peers.networks.push(network),
                None if text == UNIX => peers.unix = true,
                None => {
                    return Err(de::Error::custom(format!(
                        "`{text}` is not a network; write one such as \"10.0.0.0/8\", an IP \
                         address, or \"unix:\" for the peers of unix sockets"
                    )));
                }
            }
        }
        Ok(peers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_the_host() {
        let all = Address::Ip(([0, 0, 0, 0], 80).into());
        assert_eq!(":80".parse(), Ok(all));
        assert!("localhost".parse::<Address>().is_err());
    }

    #[test]
    fn a_unix_socket_has_a_whole_and_sane_path() {
        let address: Address = "unix:/run/web.sock".parse().unwrap();
        assert_eq!(address, Address::Unix("/run/web.sock".into()));
        assert_eq!(address.to_string(), "unix:/run/web.sock");
        let long = format!("unix:/{}", "x".repeat(LONGEST_PATH));
        for wrong in [
            "unix:",
            "unix:web.sock",
            "unix:/run/",
            "unix:/a\0b",
            "unix:/a\"b",
            &long,
        ] {
            let error = wrong.parse::<Address>().expect_err(wrong);
            assert!(error.contains("unix:/run/web.sock"), "{error}");
        }
        assert!(long[..long.len() - 1].parse::<Address>().is_ok());
    }
}
