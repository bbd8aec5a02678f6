//! One type says no: it knows the status, the word that says why, and whether to close.

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::grpc;
use super::page::{Page, Told};
use crate::why::Why;

/// The header by which an answer of the proxy itself can be told from an upstream's.
pub const ERROR_HEADER: HeaderName = HeaderName::from_static("x-pointsman-error");
/// By which the answer is found again in the access log.
const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// An answer made by the proxy instead of an upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejection {
    why: Why,
    /// What the why does not tell: another status, and the rule that was broken.
    rule: Option<(StatusCode, &'static str)>,
}

impl From<Why> for Rejection {
    fn from(why: Why) -> Self {
        Self { why, rule: None }
    }
}

impl Rejection {
    /// Of a request that broke this rule.
    pub fn of_rule(status: StatusCode, sentence: &'static str) -> Self {
        let rule = Some((status, sentence));
        Self {
            why: Why::BadRequest,
            rule,
        }
    }

    pub fn why(self) -> Why {
        self.why
    }

    pub fn status(self) -> StatusCode {
        if let Some((status, _)) = self.rule {
            return status;
        }
        match self.why {
            Why::RequestTimeout | Why::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Why::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Why::NoRoute => StatusCode::NOT_FOUND,
            Why::BadHost | Why::BadRequest | Why::BadPath => StatusCode::BAD_REQUEST,
            Why::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Why::DeniedIp => StatusCode::FORBIDDEN,
            Why::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Why::ConnectTimeout
            | Why::HeaderTimeout
            | Why::TotalTimeout
            | Why::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Why::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Why::ConnectRefused
            | Why::ConnectFailed
            | Why::UpstreamTls
            | Why::UpstreamReset
            | Why::UpstreamInvalid
            | Why::UpstreamTruncated
            | Why::UpstreamStalled
            | Why::ClientGone
            | Why::ClientStalled
            | Why::TunnelIdle
            | Why::Ok => StatusCode::BAD_GATEWAY,
        }
    }

    /// A request that could be read in two ways leaves a connection that cannot be trusted.
    fn closes(self) -> bool {
        matches!(
            self.why,
            Why::BadHost
                | Why::BadRequest
                | Why::BadPath
                | Why::RequestTimeout
                | Why::BodyTimeout
                | Why::BodyTooLarge
                | Why::Misdirected
                | Why::Unsupported
        )
    }

    /// For whoever reads the body: what happened, without inner detail.
    fn sentence(self) -> &'static str {
        if let Some((_, sentence)) = self.rule {
            return sentence;
        }
        match self.why {
            Why::NoRoute => "no route of this proxy matches the request",
            Why::BadHost => {
                "the Host header is missing, repeated, malformed or not what :authority says"
            }
            Why::BadRequest => "the request cannot be forwarded",
            Why::RequestTimeout => "the head of the request did not come in time",
            Why::BodyTimeout => "the body of the request did not come in time",
            Why::BodyTooLarge => "the body of the request is larger than this route allows",
            Why::BadPath => "the path holds a dot segment, a control character or a broken escape",
            Why::Misdirected => {
                "the connection was made for a site with other rules; ask for this one by a new one"
            }
            Why::DeniedIp => "this address may not ask for that",
            Why::Unsupported => "this listener does not do what the request asks for",
            Why::ConnectRefused => "the upstream refuses connections",
            Why::ConnectTimeout => "the upstream did not accept a connection in time",
            Why::ConnectFailed => "the upstream cannot be reached",
            Why::UpstreamTls => "the upstream and this proxy cannot agree on TLS",
            Why::HeaderTimeout => "the upstream did not answer in time",
            Why::TotalTimeout => "the request took longer than this route allows",
            Why::DeadlineExceeded => "the call took longer than its caller wanted to wait",
            Why::UpstreamStalled => "the upstream stopped in the middle of its answer",
            Why::UpstreamReset => "the upstream closed the connection before it answered",
            Why::UpstreamInvalid => "the upstream's answer cannot be forwarded",
            Why::UpstreamTruncated => "the upstream's answer ended early",
            Why::Draining => "this route is going away",
            Why::ClientGone | Why::ClientStalled | Why::TunnelIdle | Why::Ok => {
                "the request was not completed"
            }
        }
    }

    /// The whole answer, in the form of that page.
    pub fn answer(self, page: &Page, request_id: &str) -> Response {
        let status = self.status();
        let body = page.render(Told {
            status,
            error: self.why.word(),
            message: self.sentence(),
            request_id,
        });
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, page.content_type());
        headers.insert(VARY, HeaderValue::from_static("accept"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.mark(headers, request_id);
        if self.closes() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if matches!(
            self.why,
            Why::ConnectRefused | Why::ConnectTimeout | Why::ConnectFailed
        ) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    /// The same for a call of gRPC, whose HTTP is always well.
    pub fn to_call(self, request_id: &str) -> Response {
        let mut response = grpc::failure(self.why, self.sentence());
        self.mark(response.headers_mut(), request_id);
        response
    }

    /// By which it is known for one of ours, and found in the log.
    fn mark(self, headers: &mut HeaderMap, request_id: &str) {
        headers.insert(ERROR_HEADER, HeaderValue::from_static(self.why.word()));
        if let Ok(request_id) = HeaderValue::from_str(request_id) {
            headers.insert(REQUEST_ID_HEADER, request_id);
        }
    }
}
