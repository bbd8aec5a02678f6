//! `http2` of a listener.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::units::{Size, Time};

/// `false`, or what one connection may take: a table, or `true` for its defaults.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Http2 {
    Off,
    On(Http2Table),
}

impl Default for Http2 {
    fn default() -> Self {
        Self::On(Http2Table::default())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http2Table {
    /// Requests at a time on one connection. Default 128.
    pub max_concurrent_streams: u32,
    /// Bytes of one request's body that may be on their way here. Default 256 KiB.
    pub stream_window: Size,
    /// The same of all requests together. Default 1 MiB.
    pub connection_window: Size,
    /// A connection on which nothing came for so long is asked whether it lives. Default 60 s; 0 asks none.
    pub ping_interval: Time,
    /// How long to wait for its answer. Default 20 s.
    pub ping_timeout: Time,
    /// Let WebSockets be streams of it, as clients that are told so may ask for. Default true.
    pub websocket: bool,
}

impl Default for Http2Table {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 128,
            stream_window: Size(256 * 1024),
            connection_window: Size(1024 * 1024),
            ping_interval: Time::seconds(60),
            ping_timeout: Time::seconds(20),
            websocket: true,
        }
    }
}

impl<'de> Deserialize<'de> for Http2 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct YesOrTable;

        impl<'de> Visitor<'de> for YesOrTable {
            type Value = Http2;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("`false`, or a table such as `{ max_concurrent_streams = 64 }`")
            }

            fn visit_bool<E: de::Error>(self, yes: bool) -> Result<Http2, E> {
                Ok(if yes { Http2::default() } else { Http2::Off })
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Http2, A::Error> {
                Http2Table::deserialize(MapAccessDeserializer::new(table)).map(Http2::On)
            }
        }

        deserializer.deserialize_any(YesOrTable)
    }
}
