//! What a request and an answer are made of, and the rules for passing them on.

pub mod fault;
pub mod forwarded;
pub mod hop;
pub mod rejection;
pub mod rules;
pub mod target;
pub mod template;

pub use rejection::Rejection;
pub use target::Target;
