//! What never became a request: answered and counted all the same.

use std::sync::Arc;

use http::{Method, Response};

use super::answer::Answer;
use super::{Connection, Observed};
use crate::message::{Accept, Rejection};
use crate::telemetry::{Record, RequestId};
use crate::why::Why;
use crate::wire::server::Refused;

/// The last answer on its connection. The method may not be known, and then is none of the usual;
/// nor is what the client takes, so that it gets text unless the operator has a page for everyone.
pub(crate) fn refuse(connection: &Arc<Connection>, refused: Refused) -> Response<Observed> {
    let rejection = match refused {
        Refused::Rule(rule) => Rejection::of_rule(rule.status(), rule.sentence()),
        Refused::TooSlow => Rejection::from(Why::RequestTimeout),
    };
    let id = RequestId::default();
    tracing::debug!(
        peer = connection.peer().map(tracing::field::display),
        request_id = id.as_str(),
        ?refused,
        "request refused"
    );
    let unread = Method::from_bytes(b"UNREAD").unwrap_or(Method::GET);
    let record = Record::start(&connection.worker.recorder, &unread);
    let snapshot = connection.worker.live.load();
    let pages = &snapshot.error_pages;
    let page = pages.find(None, rejection.status(), &Accept::default());
    Answer::rejection(rejection, page, id.as_str()).into_response(record)
}
