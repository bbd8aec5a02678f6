//! Bytes on the way, whatever they mean: tunnels, and connections that must come to an end.

pub(crate) mod drain;
pub(crate) mod tunnel;
mod websocket;

pub(crate) use drain::Drain;
