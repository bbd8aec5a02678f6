//! What never became a request: answered and counted all the same.

use std::sync::Arc;

use axum::response::Response;
use http::Method;

use super::Connection;
use super::answer::Answer;
use crate::message::Rejection;
use crate::telemetry::Record;
use crate::why::Why;
use crate::wire::server::Refused;

/// The last answer on its connection. The method may not be known, and then is none of the usual.
pub(crate) fn refuse(connection: &Arc<Connection>, refused: Refused) -> Response {
    let rejection = match refused {
        Refused::Rule(rule) => Rejection::of_rule(rule.status(), rule.sentence()),
        Refused::TooSlow => Rejection::from(Why::RequestTimeout),
    };
    tracing::debug!(
        peer = connection.peer().map(tracing::field::display),
        ?refused,
        "request refused"
    );
    let unread = Method::from_bytes(b"UNREAD").unwrap_or(Method::GET);
    let record = Record::start(&connection.worker.recorder, &unread);
    Answer::rejection(rejection).into_response(record, false)
}
