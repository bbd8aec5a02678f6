//! An answer on its way back to the client.

use axum::response::IntoResponse;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body as _;

use super::body::{Observed, Watch};
use super::tunnel::Tunnel;
use super::upgrade::is_extended;
use crate::message::page::Page;
use crate::message::template::Variables;
use crate::message::{Rejection, Target, grpc};
use crate::route::{Redirect, Respond};
use crate::telemetry::{Outcome, Record};
use crate::why::Why;
use crate::wire::client::AnswerBody;

/// The port that need not be written.
const HTTPS: u16 = 443;

/// A response, and what is to be observed of it until its last byte.
pub(super) struct Answer {
    response: Response<AnswerBody>,
    /// How the request ended if the client takes the whole answer.
    why: Why,
    kind: Kind,
    watch: Option<Box<Watch>>,
}

enum Kind {
    Plain,
    EventStream,
    /// In a box, because it is large and hardly any answer is one.
    Tunnel(Box<Tunnel>),
}

impl Answer {
    pub(super) fn rejection(rejection: Rejection, page: &Page, request_id: &str) -> Self {
        let response = rejection.answer(page, request_id);
        Self {
            why: rejection.why(),
            ..Self::own(response.map(AnswerBody::from))
        }
    }

    /// A rejection in the words of gRPC.
    pub(super) fn failed_call(rejection: Rejection, request_id: &str) -> Self {
        let response = rejection.to_call(request_id);
        Self {
            why: rejection.why(),
            ..Self::plain(response.map(|_| AnswerBody::Empty))
        }
    }

    pub(super) fn redirect(redirect: &Redirect, variables: &Variables<'_>) -> Result<Self, Why> {
        let to = redirect.to.render(variables);
        let to = HeaderValue::try_from(to).map_err(|_| Why::BadRequest)?;
        let mut response = redirect.status.into_response();
        response.headers_mut().insert(LOCATION, to);
        Ok(Self::own(response.map(AnswerBody::from)))
    }

    /// The same place by HTTPS. 308, so that a request with a body stays what it is.
    pub(super) fn to_https(target: &Target<'_>, port: u16) -> Result<Self, Why> {
        let host = target.host();
        if host.is_empty() {
            // A client of HTTP/1.0 that names no site cannot be sent to one.
            return Err(Why::BadHost);
        }
        let port = if port == HTTPS {
            String::new()
        } else {
            format!(":{port}")
        };
        let query = target
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        let to = format!("https://{host}{port}{}{query}", target.raw_path());
        let to = HeaderValue::try_from(to).map_err(|_| Why::BadRequest)?;
        let mut response = StatusCode::PERMANENT_REDIRECT.into_response();
        response.headers_mut().insert(LOCATION, to);
        Ok(Self::own(response.map(AnswerBody::from)))
    }

    pub(super) fn respond(respond: &Respond, head: &Parts) -> Result<Self, Why> {
        if respond.status.is_success() && is_extended(head) {
            // It would say that there is a tunnel.
            return Err(Why::Unsupported);
        }
        let mut response = Response::new(respond.body.clone().into());
        *response.status_mut() = respond.status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, respond.content_type.clone());
        Ok(Self::own(response))
    }

    /// Made here, and whole: it says its length to HEAD as to GET (RFC 9110 section 9.3.2), where an
    /// upstream's says only what the upstream did.
    fn own(mut response: Response<AnswerBody>) -> Self {
        let length = response.body().size_hint().exact();
        if let Some(length) = length.filter(|_| !is_bodiless(response.status())) {
            let headers = response.headers_mut();
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Self::plain(response)
    }

    fn plain(response: Response<AnswerBody>) -> Self {
        Self {
            response,
            why: Why::Ok,
            kind: Kind::Plain,
            watch: None,
        }
    }

    pub(super) fn forwarded(
        response: Response<AnswerBody>,
        events: bool,
        watch: Option<Box<Watch>>,
    ) -> Self {
        Self {
            kind: if events {
                Kind::EventStream
            } else {
                Kind::Plain
            },
            watch,
            ..Self::plain(response)
        }
    }

    pub(super) fn tunnel(response: Response<AnswerBody>, tunnel: Tunnel) -> Self {
        Self {
            response,
            why: Why::Ok,
            kind: Kind::Tunnel(Box::new(tunnel)),
            watch: None,
        }
    }

    pub(super) fn headers_mut(&mut self) -> &mut HeaderMap {
        self.response.headers_mut()
    }

    /// Hands the Record to whatever lasts until the end: the body, or the tunnel.
    pub(super) fn into_response(self, mut record: Record) -> Response<Observed> {
        let Self {
            response,
            why,
            kind,
            watch,
        } = self;
        let status = response.status().as_u16();
        if let Some(code) = record.code() {
            *code = grpc::code(response.headers());
        }
        let outcome = match kind {
            Kind::Tunnel(tunnel) => {
                record.answered(status, Outcome::Tunnel);
                let mut response = response.map(|_| Observed::none());
                tunnel.start(record, response.extensions_mut());
                return response;
            }
            Kind::EventStream => Outcome::EventStream,
            Kind::Plain => Outcome::Answer,
        };
        record.answered(status, outcome);
        response.map(|body| Observed::new(body, record, why, watch))
    }
}

/// Whatever the method.
fn is_bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
