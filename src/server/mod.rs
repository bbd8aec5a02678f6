//! Sockets: which are open, who accepts on them, and which thread serves a connection.

mod accept;
mod connection;
mod handshake;
mod http2;
mod introduction;
mod listeners;
mod open_files;
mod socket;
mod unix;
mod workers;

pub(crate) use listeners::{BindError, Listeners, Prepared};
pub(crate) use open_files::raise_open_files;
pub(crate) use workers::Workers;
