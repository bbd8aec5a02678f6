//! Bytes on the way, whatever they mean: streams, TLS, pipes, tunnels, connections that must come to an end, who
//! they are relayed for, and pages of our own.

pub(crate) mod alarm;
pub(crate) mod drain;
mod pages;
mod patience;
pub(crate) mod pipe;
mod plain;
pub(crate) mod proxy_protocol;
pub(crate) mod seldom;
pub(crate) mod stream;
pub(crate) mod tap;
pub(crate) mod tls;
pub(crate) mod tunnel;

pub(crate) use alarm::Alarm;
pub(crate) use drain::Drain;
pub(crate) use pages::serve_pages;
pub(crate) use patience::Patience;
pub(crate) use pipe::Pipe;
pub(crate) use plain::{Detached, Plain};
pub(crate) use seldom::Seldom;
pub(crate) use stream::{ReadHalf, Stream, WriteHalf};
pub(crate) use tap::Tap;
