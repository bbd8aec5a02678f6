//! One question to one server: is it well?

use std::time::Duration;

use axum::body::{Body, Bytes};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Limited};
use tokio::time::{Instant, timeout};

use super::health::Question;
use super::{Caller, Upstream};
use crate::message::fault::chain;
use crate::message::grpc;

/// What is read of an answer. Nobody has more to say about it.
const MOST: usize = 64 * 1024;

/// An error says why it is not, for the operator.
pub(super) async fn probe(
    upstream: &Upstream,
    question: &Question,
    limit: Duration,
) -> Result<(), String> {
    let asked = async {
        match question {
            Question::Http(path) => http(upstream, path).await,
            Question::Grpc(service) => call(upstream, service).await,
        }
    };
    let late = |_| Err(format!("no answer within {limit:?}"));
    timeout(limit, asked).await.unwrap_or_else(late)
}

async fn http(upstream: &Upstream, path: &str) -> Result<(), String> {
    let request = request(Method::GET, path)?;
    let (status, ..) = ask(upstream, request).await?;
    match status.is_success() || status.is_redirection() {
        true => Ok(()),
        false => Err(format!("the answer is {status}")),
    }
}

/// `grpc.health.v1.Health/Check`, as github.com/grpc/grpc has it in doc/health-checking.md.
async fn call(upstream: &Upstream, service: &str) -> Result<(), String> {
    let mut request = request(Method::POST, "/grpc.health.v1.Health/Check")?;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    let request = request.map(|_| Body::from(question(service)));
    let (status, head, body, trailers) = ask(upstream, request).await?;
    if !status.is_success() {
        return Err(format!("the answer is {status}"));
    }
    let code = trailers.as_ref().and_then(grpc::code);
    match code.or_else(|| grpc::code(&head)) {
        Some(0) if is_serving(&body) => Ok(()),
        Some(0) => Err("it says that it does not serve".to_owned()),
        Some(code) => Err(format!("the status of the call is {code}")),
        None => Err("the call ended without a status".to_owned()),
    }
}

/// A message of gRPC with a HealthCheckRequest, whose first field is the service.
fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if let Ok(length) = u8::try_from(service.len())
        && length > 0
    {
        message.extend_from_slice(&[0x0a, length]);
        message.extend_from_slice(service.as_bytes());
    }
    let length = message.len() as u32;
    [&[0][..], &length.to_be_bytes(), &message].concat()
}

/// Is it a HealthCheckResponse whose first field says SERVING, uncompressed?
fn is_serving(message: &[u8]) -> bool {
    const SERVING: [u8; 2] = [0x08, 1];
    message.first() == Some(&0) && message.get(5..7) == Some(&SERVING)
}

fn request(method: Method, path: &str) -> Result<Request<Body>, String> {
    let uri: Uri = path.parse().map_err(|_| "the path is none".to_owned())?;
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let agent = HeaderValue::from_static(concat!("pointsman/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(USER_AGENT, agent);
    Ok(request)
}

async fn ask(
    upstream: &Upstream,
    request: Request<Body>,
) -> Result<(http::StatusCode, HeaderMap, Bytes, Option<HeaderMap>), String> {
    let (mut head, body) = request.into_parts();
    if let Some(length) = http_body::Body::size_hint(&body)
        .exact()
        .filter(|length| *length > 0)
    {
        let length = HeaderValue::from(length);
        head.headers.insert(http::header::CONTENT_LENGTH, length);
    }
    let caller = Caller {
        worker: 0,
        now: Instant::now(),
        client: None,
        forwarded: None,
        upgrades: false,
    };
    let answer = upstream.exchange(caller, &mut head, body, |_, _| {}).await;
    let (head, body) = answer.map_err(|error| chain(&error))?.into_parts();
    let body = Limited::new(body, MOST).collect().await;
    let body = body.map_err(|error| format!("the answer broke off: {error}"))?;
    let trailers = body.trailers().cloned();
    Ok((head.status, head.headers, body.to_bytes(), trailers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_of_the_health_protocol() {
        assert_eq!(question(""), [0, 0, 0, 0, 0]);
        assert_eq!(question("a.B"), [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        assert!(is_serving(&[0, 0, 0, 0, 2, 8, 1]));
        // NOT_SERVING, SERVICE_UNKNOWN, UNKNOWN by being left out, compressed, cut.
        let others: [&[u8]; 5] = [
            &[0, 0, 0, 0, 2, 8, 2],
            &[0, 0, 0, 0, 2, 8, 3],
            &[0, 0, 0, 0, 0],
            &[1, 0, 0, 0, 2, 8, 1],
            &[0, 0, 0, 0, 2, 8],
        ];
        for message in others {
            assert!(!is_serving(message), "{message:?}");
        }
    }
}
