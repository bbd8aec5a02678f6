//! `tls` of a listener, and what else makes a site HTTPS.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::client_auth::ClientAuth;
use super::units::Time;

/// What a listener shows, and asks of its clients: a table, or `"internal"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tls {
    pub certificate: CertificateSource,
    /// What clients have to show themselves, if their certificate's entry does not say. Default: nothing.
    pub client: Option<ClientAuth>,
}

/// Where certificates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// `[{ cert = "tls/site.pem", key = "tls/site.key" }]`; the first is for clients that ask for none
    /// of the names.
    Files(Vec<CertificateFiles>),
    /// `"internal"`: made here, by an authority that is made here too.
    Internal,
}

/// A listener is not another one because of its certificates: its connections live on when they change.
impl Hash for CertificateSource {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// Names are relative to the directory of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// PEM: the certificate, then those that lead from it to its root.
    pub cert: String,
    /// PEM, without a passphrase. Its owner alone may read it, or its group too.
    pub key: String,
    /// Take a key that others can read, as where the file system gives no better. Default false.
    #[serde(default)]
    pub allow_loose_key: bool,
    /// What clients have to show who ask for one of its names. Default: as for the listener.
    pub client: Option<ClientAuth>,
}

impl<'de> Deserialize<'de> for Tls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrTable;

        impl<'de> Visitor<'de> for WordOrTable {
            type Value = Tls;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("\"internal\", or a table with `certificate`")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Tls, E> {
                let certificate = internal(word)?;
                Ok(Tls {
                    certificate,
                    client: None,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Tls, A::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Table {
                    certificate: CertificateSource,
                    client: Option<ClientAuth>,
                }
                let table = Table::deserialize(MapAccessDeserializer::new(table));
                table.map(
                    |Table {
                         certificate,
                         client,
                     }| Tls {
                        certificate,
                        client,
                    },
                )
            }
        }

        deserializer.deserialize_any(WordOrTable)
    }
}

impl<'de> Deserialize<'de> for CertificateSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrList;

        impl<'de> Visitor<'de> for WordOrList {
            type Value = CertificateSource;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("\"internal\", or a list of tables with `cert` and `key`")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<CertificateSource, E> {
                internal(word)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<CertificateSource, A::Error> {
                let list = Vec::deserialize(SeqAccessDeserializer::new(list));
                list.map(CertificateSource::Files)
            }
        }

        deserializer.deserialize_any(WordOrList)
    }
}

fn internal<E: de::Error>(word: &str) -> Result<CertificateSource, E> {
    match word {
        "internal" => Ok(CertificateSource::Internal),
        _ => Err(E::custom(format!(
            "`{word}` is no source of certificates; write \"internal\" for those that are made here, \
             or `{{ certificate = [{{ cert = \"...\", key = \"...\" }}] }}`"
        ))),
    }
}

impl Tls {
    /// Every file that is named, as it is written.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let listed = match &self.certificate {
            CertificateSource::Files(listed) => listed.as_slice(),
            CertificateSource::Internal => &[],
        };
        let own = listed.iter().filter_map(|files| files.client.as_ref());
        let clients = own.chain(&self.client).flat_map(ClientAuth::files);
        let pairs = listed
            .iter()
            .flat_map(|files| [files.cert.as_str(), files.key.as_str()]);
        pairs.chain(clients)
    }
}

/// What the named files hold, by the names as they are written.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles(pub BTreeMap<String, TlsFile>);

/// The content of one file, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFile {
    /// Where the name leads to.
    pub place: String,
    pub content: Result<Secret, String>,
    /// Who may read it.
    pub mode: u32,
}

/// Those who sign the certificates that are made here, as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAuthority {
    /// Where they are kept.
    pub place: String,
    /// Certificate and key, or why they cannot be had and what to do.
    pub content: Result<(Secret, Secret), (String, String)>,
    /// Counts up with time: for each, certificates are made anew.
    pub period: u64,
}

/// Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Bytes);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(not shown)")
    }
}

/// `redirect_to_https`: `true`, or the port that clients reach HTTPS by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RedirectToHttps {
    No,
    /// To the port of the listener that speaks TLS.
    Yes,
    Port(u16),
}

impl<'de> Deserialize<'de> for RedirectToHttps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct YesOrPort;

        impl Visitor<'_> for YesOrPort {
            type Value = RedirectToHttps;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("`true`, or a port such as 8443")
            }

            fn visit_bool<E: de::Error>(self, yes: bool) -> Result<RedirectToHttps, E> {
                Ok(match yes {
                    true => RedirectToHttps::Yes,
                    false => RedirectToHttps::No,
                })
            }

            fn visit_i64<E: de::Error>(self, port: i64) -> Result<RedirectToHttps, E> {
                let port = u16::try_from(port).ok().filter(|port| *port > 0);
                let port = port.ok_or_else(|| E::custom("a port is from 1 to 65535"))?;
                Ok(RedirectToHttps::Port(port))
            }
        }

        deserializer.deserialize_any(YesOrPort)
    }
}

/// `hsts`: how long browsers are to ask by HTTPS only. `"365d"`, or a table of it and what else RFC 6797
/// and the browsers' list know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hsts(pub HstsTable);

#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HstsTable {
    pub max_age: Time,
    /// Of every host below this one, too. Default false.
    #[serde(default)]
    pub include_subdomains: bool,
    /// May be put on the list that browsers ship. Default false.
    #[serde(default)]
    pub preload: bool,
}

impl<'de> Deserialize<'de> for Hsts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeOrTable;

        impl<'de> Visitor<'de> for TimeOrTable {
            type Value = Hsts;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a duration such as \"365d\", or a table with `max_age`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Hsts, E> {
                Ok(Hsts(HstsTable {
                    max_age: text.parse().map_err(E::custom)?,
                    include_subdomains: false,
                    preload: false,
                }))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Hsts, A::Error> {
                HstsTable::deserialize(MapAccessDeserializer::new(table)).map(Hsts)
            }
        }

        deserializer.deserialize_any(TimeOrTable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let file = TlsFile {
            place: "a.key".to_owned(),
            content: Ok(Secret(Bytes::from_static(b"shibboleth"))),
            mode: 0o600,
        };
        let shown = format!("{file:?}");
        assert!(
            !shown.contains("shibboleth") && shown.contains("not shown"),
            "{shown}"
        );
    }
}
