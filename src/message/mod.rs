//! What a request and an answer are made of, and the rules for passing them on.

pub mod accept;
pub mod error_pages;
pub mod fault;
pub mod fields;
pub mod forwarded;
pub mod forwarded_text;
pub mod grpc;
pub mod hop;
pub mod host;
pub mod maps;
pub mod page;
pub mod rejection;
pub mod rules;
pub mod target;
pub mod template;
mod via;
pub mod websocket;

pub use accept::Accept;
pub use error_pages::ErrorPages;
pub use rejection::Rejection;
pub use target::Target;
