//! `http2` of a listener, and of an upstream.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::units::{Size, Time};

/// `false`, or what one connection may take: a table, or `true` for its defaults.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Http2<T = Http2Table> {
    Off,
    On(T),
}

impl<T: Default> Default for Http2<T> {
    fn default() -> Self {
        Self::On(T::default())
    }
}

/// Of a listener.
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

/// Of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamHttp2Table {
    /// Requests at a time on one connection; the server may allow fewer. Default 100.
    pub max_concurrent_streams: u32,
    /// Bytes of one answer that may be on their way here. Default 256 KiB.
    pub stream_window: Size,
    /// A connection on which requests wait, and on which nothing came for so long, is asked whether it
    /// lives. Default 5 s; 0 asks none.
    pub ping_interval: Time,
    /// How long to wait for its answer. Default 5 s.
    pub ping_timeout: Time,
}

impl Default for UpstreamHttp2Table {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 100,
            stream_window: Size(256 * 1024),
            ping_interval: Time::seconds(5),
            ping_timeout: Time::seconds(5),
        }
    }
}

impl<'de, T: Default + Deserialize<'de>> Deserialize<'de> for Http2<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct YesOrTable<T>(PhantomData<T>);

        impl<'de, T: Default + Deserialize<'de>> Visitor<'de> for YesOrTable<T> {
            type Value = Http2<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("`false`, or a table such as `{ max_concurrent_streams = 64 }`")
            }

            fn visit_bool<E: de::Error>(self, yes: bool) -> Result<Http2<T>, E> {
                Ok(if yes { Http2::default() } else { Http2::Off })
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Http2<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(table)).map(Http2::On)
            }
        }

        deserializer.deserialize_any(YesOrTable(PhantomData))
    }
}
