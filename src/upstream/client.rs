//! One exchange with one of an upstream's servers over HTTP/1.1.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;
use thiserror::Error;
use tokio::io::AsyncWriteExt;

use super::connect::connect;
use super::pool::{Counted, Return};
use super::{Caller, Place, Server, Upstream};
use crate::message::fault::{BodyFault, cause};
use crate::net::Stream;
use crate::net::proxy_protocol::write;
use crate::why::Why;
use crate::wire::client::{self, AnswerBody, Cause, Connection, Failure};
use crate::wire::{Limits, Refusal, encode};

/// Answers have larger heads than requests, and come from those whom the operator chose.
const LIMITS: Limits = Limits {
    head: 256 * 1024,
    target: 0,
    fields: 256,
};

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum ExchangeError {
    #[error("the upstream has no server")]
    NoServer,
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error(transparent)]
    Exchange(#[from] Failure),
}

impl ExchangeError {
    pub(crate) fn why(&self) -> Why {
        match self {
            Self::NoServer => Why::ConnectFailed,
            Self::Connect(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => Why::ConnectRefused,
                io::ErrorKind::TimedOut => Why::ConnectTimeout,
                _ => Why::ConnectFailed,
            },
            Self::Exchange(failure) => match failure.cause {
                Cause::Closed(_) => Why::UpstreamReset,
                Cause::Refused(_) => Why::UpstreamInvalid,
                Cause::Body(ref error) => why_of_request(error),
            },
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
    match cause::<Cause>(error) {
        Some(Cause::Body(error)) => why_of_request(error),
        _ => Why::UpstreamTruncated,
    }
}

/// One request to one upstream.
pub(super) struct Attempt<'u, 'a, I> {
    pub(super) upstream: &'u Upstream,
    pub(super) caller: Caller<'a>,
    pub(super) head: &'a mut Parts,
    /// The `Host` is to be that of the server that is picked, also when another one is.
    pub(super) own_host: bool,
    pub(super) interim: I,
}

/// Which connection a try may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pick {
    /// One that was used before, if the poller knows nothing against it.
    Idle,
    /// One that was used before and that the kernel knows nothing against either: what is sent on it
    /// cannot be sent again, and that is worth a system call.
    Sure,
    New,
}

impl<'u, I: FnMut(StatusCode, &HeaderMap)> Attempt<'u, '_, I> {
    /// A server that cannot be connected to has seen nothing of the request, so the next one is
    /// tried, each at most once.
    pub(super) async fn send(mut self, body: Body) -> Result<Response<AnswerBody>, ExchangeError> {
        // Whether the origin saw a request whose connection broke cannot be known. One without a
        // body that changes nothing may be sent again.
        let again = body.is_end_stream() && is_safe(&self.head.method);
        let pick = if again { Pick::Idle } else { Pick::Sure };
        let (server, connection) = self.connection(pick).await?;
        match self.exchange(server, connection, body).await {
            Err(failure) if again && failure.reused && !failure.answered => {
                let (server, connection) = self.connection(Pick::New).await?;
                Ok(self.exchange(server, connection, Body::empty()).await?)
            }
            result => Ok(result?),
        }
    }

    async fn connection(&self, pick: Pick) -> Result<(&'u Server, Counted), ExchangeError> {
        let upstream = self.upstream;
        let pool = upstream.pool.worker(self.caller.worker);
        let mut error = ExchangeError::NoServer;
        for server in upstream.candidates(self.caller.worker) {
            if pick != Pick::New
                && let Some(connection) =
                    pool.checkout(&server.place, self.caller.now, pick == Pick::Sure)
            {
                return Ok((server, connection));
            }
            match self.connect(&server.place).await {
                Ok(stream) => {
                    return Ok((server, Connection::new(stream, upstream.row.open())));
                }
                Err(failed) => error = ExchangeError::Connect(failed),
            }
        }
        Err(error)
    }

    async fn connect(&self, place: &Place) -> io::Result<Stream> {
        let settings = self.upstream.pool.settings();
        let mut stream = connect(place, settings.connect_timeout).await?;
        if let Some(version) = settings.proxy_protocol {
            // A new connection has room for so few bytes.
            stream
                .write_all(&write(version, self.caller.client))
                .await?;
        }
        Ok(stream)
    }

    async fn exchange(
        &mut self,
        server: &Server,
        connection: Counted,
        body: Body,
    ) -> Result<Response<AnswerBody>, Failure> {
        let own = self
            .head
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let joined;
        let target = match server.base_path.as_str() {
            "" => own,
            // `OPTIONS *` asks the server as a whole, wherever on it our paths begin.
            _ if own == "*" => own,
            // Base path and request path meet in exactly one slash.
            base => {
                joined = format!("{base}{own}");
                &joined
            }
        };
        if self.own_host
            && let Ok(host) = HeaderValue::from_str(server.place.host())
        {
            self.head.headers.insert(HOST, host);
        }
        let pool = Arc::clone(self.upstream.pool.worker(self.caller.worker));
        let server = server.place.clone();
        let reclaim = Return { pool, server };
        let head = encode::Head {
            method: &self.head.method,
            target,
            headers: &self.head.headers,
            forwarded: self.caller.forwarded,
        };
        client::exchange(connection, head, body, LIMITS, reclaim, &mut self.interim).await
    }
}

/// Methods that change nothing (RFC 9110 section 9.2.1).
fn is_safe(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    )
}
