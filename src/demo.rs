//! The origin that is built in for trying things out: a real HTTP server on a port of its own,
//! which answers with what it received. Requests reach it on the ordinary forwarding path.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::net::serve_pages;

/// Starts the origin when it is first needed.
#[derive(Debug, Default)]
pub struct Demo {
    address: Option<SocketAddr>,
}

impl Demo {
    /// Where it listens, started if need be. To be called on a runtime, which then serves it.
    pub fn address(&mut self) -> io::Result<Option<SocketAddr>> {
        if self.address.is_none() {
            let socket = std::net::TcpListener::bind(("127.0.0.1", 0))?;
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            let listener = TcpListener::from_std(socket)?;
            tokio::spawn(async move { serve(listener).await });
            self.address = Some(address);
        }
        Ok(self.address)
    }
}

/// Serves until dropped.
pub(crate) async fn serve(listener: TcpListener) -> io::Result<()> {
    let router = Router::new()
        .route("/slow", get(slow))
        .route("/stream", get(stream))
        .route("/error", get(|| async { status(Path(500)).await }))
        .route("/status/{code}", get(status))
        .fallback(whoami);
    serve_pages(listener, router).await
}

/// What was received, as `whoami` images show it.
async fn whoami(request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, 64 * 1024).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let seen = json!({
        "service": "pointsman demo origin",
        "method": head.method.as_str(),
        "uri": head.uri.to_string(),
        "headers": headers(&head.headers),
        "body": String::from_utf8_lossy(&body),
        "try": ["/slow?ms=500", "/stream?events=5", "/status/418", "/error"],
    });
    let text = serde_json::to_string_pretty(&seen).unwrap_or_default();
    ([(CONTENT_TYPE, "application/json")], text + "\n").into_response()
}

fn headers(headers: &HeaderMap) -> serde_json::Value {
    let names = headers.keys().map(|name| {
        let values = headers.get_all(name).iter();
        let values: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        (name.as_str().to_owned(), json!(values.join(", ")))
    });
    serde_json::Value::Object(names.collect())
}

#[derive(Debug, Deserialize)]
struct Slow {
    ms: Option<u64>,
}

/// Answers after a while: 1 s, or `?ms=`, at most a minute.
async fn slow(Query(Slow { ms }): Query<Slow>) -> Response {
    let wait = Duration::from_millis(ms.unwrap_or(1000).min(60_000));
    sleep(wait).await;
    Json(json!({ "waited_ms": wait.as_millis() })).into_response()
}

#[derive(Debug, Deserialize)]
struct Stream {
    events: Option<u64>,
    ms: Option<u64>,
}

/// Sends events: 10, or `?events=`, one a second or every `?ms=`.
async fn stream(Query(Stream { events, ms }): Query<Stream>) -> Response {
    let (last, pause) = (
        events.unwrap_or(10),
        Duration::from_millis(ms.unwrap_or(1000)),
    );
    let events = futures_util::stream::unfold(0, move |number| async move {
        if number == last {
            return None;
        }
        if number > 0 {
            sleep(pause).await;
        }
        let event = format!("data: event {number}\n\n");
        Some((
            Ok::<_, Infallible>(Frame::data(Bytes::from(event))),
            number + 1,
        ))
    });
    let body = Body::new(StreamBody::new(events));
    ([(CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// Answers with the status asked for.
async fn status(Path(code): Path<u16>) -> Response {
    let status = StatusCode::from_u16(code)
        .ok()
        .filter(|status| !status.is_informational());
    let status = status.unwrap_or(StatusCode::BAD_REQUEST);
    (status, Json(json!({ "status": status.as_u16() }))).into_response()
}
