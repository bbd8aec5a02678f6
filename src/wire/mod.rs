//! HTTP/1.1 on the wire (RFC 9112): what the bytes mean, and the bytes for what is meant.
//!
//! `parse`, `framing`, `chunked` and `encode` know no sockets: they take bytes and give bytes, so
//! that fuzzers and property tests can drive all of them. `server` and `client` are the two ends.

mod buffers;
pub mod chunked;
pub mod client;
mod date;
pub mod encode;
mod fault;
pub mod framing;
mod head_end;
mod heads;
mod incoming;
mod outgoing;
pub mod parse;
mod preface;
mod refusal;
pub mod server;
mod socket;
mod target;
mod upgraded;

pub use framing::{BodyLength, Reuse};
pub use outgoing::{Piece, Sent};
pub use parse::{Limits, RequestHead, ResponseHead};
pub use refusal::Refusal;
pub use upgraded::{OnUpgrade, Upgraded};
