//! `access` of a listener or a route: which clients may pass, by their addresses.

use std::fmt;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::address::{UNIX, network};
use super::units::OneOrMany;

/// `deny` beats `allow`; whoever is in neither may pass unless something is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// Who may pass, and nobody else. Default: everybody.
    pub allow: Option<OneOrMany<Clients>>,
    /// Who may not. Default: nobody.
    pub deny: OneOrMany<Clients>,
    pub mode: GateMode,
}

/// What becomes of a request that a gate would not let pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateMode {
    /// It is refused. The default.
    #[default]
    Enforce,
    /// It passes, and is counted and logged as one that would have been refused.
    Observe,
}

/// Some clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Clients {
    /// `"10.0.0.0/8"`, or one address.
    Network(IpNet),
    /// `"unix:"`: whoever comes by a unix socket, and has no address.
    Unix,
    /// `{ file = "office.txt" }`: a network or an address in each line; `#` begins a comment. Relative to the
    /// directory of the configuration.
    File(String),
}

impl Access {
    /// Every file that is named, as it is written.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let allowed = self.allow.iter().flat_map(OneOrMany::iter);
        let clients = allowed.chain(self.deny.iter());
        clients.filter_map(|clients| match clients {
            Clients::File(name) => Some(name.as_str()),
            Clients::Network(_) | Clients::Unix => None,
        })
    }
}

impl Clients {
    /// The clients that a line of a file names; none if it names nobody.
    pub fn line(line: &str) -> Result<Option<Self>, String> {
        let text = line.split('#').next().unwrap_or_default().trim();
        (!text.is_empty()).then(|| Self::named(text)).transpose()
    }

    fn named(text: &str) -> Result<Self, String> {
        match network(text) {
            Some(network) => Ok(Self::Network(network)),
            None if text == UNIX => Ok(Self::Unix),
            None => Err(format!("`{}` is not a network", text.escape_debug())),
        }
    }
}

impl<'de> Deserialize<'de> for Clients {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrFile;

        impl<'de> Visitor<'de> for TextOrFile {
            type Value = Clients;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .write_str("a network such as \"10.0.0.0/8\", or `{ file = \"office.txt\" }`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Clients, E> {
                Clients::named(text).map_err(|error| {
                    E::custom(format!(
                        "{error}; write one such as \"10.0.0.0/8\", an IP address, \"unix:\" for the \
                         clients of unix sockets, or `{{ file = \"office.txt\" }}`"
                    ))
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Clients, A::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Table {
                    file: String,
                }
                let table = Table::deserialize(MapAccessDeserializer::new(table));
                table.map(|Table { file }| Clients::File(file))
            }
        }

        deserializer.deserialize_any(TextOrFile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_some_clients_or_nobody() {
        let network = |text: &str| Some(Clients::Network(text.parse().unwrap()));
        for (line, clients) in [
            ("10.0.0.0/8", network("10.0.0.0/8")),
            (" 192.0.2.1 # the office", network("192.0.2.1/32")),
            ("2001:db8::/32", network("2001:db8::/32")),
            ("unix:", Some(Clients::Unix)),
            ("# nobody", None),
            ("", None),
            ("\r", None),
        ] {
            assert_eq!(Clients::line(line), Ok(clients), "{line}");
        }
        for line in ["10.0.0.0/33", "10.0.0", "a.example", "10.0.0.1, 10.0.0.2"] {
            assert!(Clients::line(line).is_err(), "{line}");
        }
    }
}
