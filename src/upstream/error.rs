//! Why there is no answer, or not all of one.

use std::io;
use std::sync::Arc;

use thiserror::Error;

use super::dial::DialError;
use super::http2;
use crate::message::fault::{BodyFault, cause};
use crate::net::tls::alert;
use crate::why::Why;
use crate::wire::Refusal;
use crate::wire::client::{Cause, Failure};

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum ExchangeError {
    #[error("the upstream has no server")]
    NoServer,
    /// The same for all who waited for this connection.
    #[error(transparent)]
    Dial(Arc<DialError>),
    #[error("only HTTP/1.1 can turn into another protocol, and the server speaks HTTP/2")]
    NoUpgrade,
    #[error(transparent)]
    Http1(#[from] Failure),
    #[error(transparent)]
    Http2(#[from] http2::Fault),
}

impl ExchangeError {
    pub(crate) fn why(&self) -> Why {
        match self {
            Self::NoServer => Why::ConnectFailed,
            Self::NoUpgrade => Why::Unsupported,
            Self::Dial(error) => match &**error {
                DialError::Tls(_) => Why::UpstreamTls,
                DialError::Connect(error) => match error.kind() {
                    io::ErrorKind::ConnectionRefused => Why::ConnectRefused,
                    io::ErrorKind::TimedOut => Why::ConnectTimeout,
                    _ => Why::ConnectFailed,
                },
            },
            Self::Http1(failure) => match failure.cause {
                Cause::Closed(ref error) if alert(error).is_some() => Why::UpstreamTls,
                Cause::Closed(_) => Why::UpstreamReset,
                Cause::Refused(_) => Why::UpstreamInvalid,
                Cause::Body(ref error) => why_of_request(error),
            },
            Self::Http2(http2::Fault::Body(error)) => why_of_request(error),
            Self::Http2(http2::Fault::Tls(_)) => Why::UpstreamTls,
            Self::Http2(http2::Fault::Answer(_)) => Why::UpstreamInvalid,
            Self::Http2(http2::Fault::Stream(error)) if error.is_library() => Why::UpstreamInvalid,
            Self::Http2(http2::Fault::Stream(_)) => Why::UpstreamReset,
        }
    }
}

/// Why the body of a request broke off.
fn why_of_request(error: &axum::Error) -> Why {
    match cause::<BodyFault>(error) {
        Some(BodyFault::TooLarge) => Why::BodyTooLarge,
        Some(BodyFault::Stalled) => Why::BodyTimeout,
        None if cause::<Refusal>(error).is_some() => Why::BadRequest,
        None => Why::ClientGone,
    }
}

/// Why the body of an answer broke off: it may be because that of the request did.
pub(crate) fn why_of_body(error: &axum::Error) -> Why {
    match (cause::<Cause>(error), cause::<http2::Fault>(error)) {
        (Some(Cause::Body(error)), _) | (_, Some(http2::Fault::Body(error))) => {
            why_of_request(error)
        }
        _ => Why::UpstreamTruncated,
    }
}
