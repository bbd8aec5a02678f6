//! One request to one upstream: which server, which connection, and whether once more.

use std::sync::Arc;

use axum::body::Body;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;

use super::dial::{DialError, Purpose};
use super::error::ExchangeError;
use super::pool::{Counted, Opened, Return, WorkerPool};
use super::{Caller, Server, Upstream, http2, request};
use crate::wire::Limits;
use crate::wire::client::{self, AnswerBody};
use crate::wire::encode;

/// Answers have larger heads than requests, and come from those whom the operator chose.
const LIMITS: Limits = Limits {
    head: 256 * 1024,
    target: 0,
    fields: 256,
};

/// How often a request is sent at most that servers say they have not looked at.
const UNSEEN: usize = 5;

/// One request to one upstream.
pub(super) struct Attempt<'u, 'a, I> {
    pub(super) upstream: &'u Upstream,
    pub(super) caller: Caller<'a>,
    pub(super) head: &'a mut Parts,
    /// The `Host` is to be that of the server that is picked, also when another one is.
    pub(super) own_host: bool,
    pub(super) interim: I,
}

/// Which connection of HTTP/1.1 a try may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pick {
    /// One that was used before, if the poller knows nothing against it.
    Idle,
    /// One that was used before and that the kernel knows nothing against either: what is sent on it
    /// cannot be sent again, and that is worth a system call.
    Sure,
    New,
}

/// How a try failed.
struct Failed {
    error: ExchangeError,
    /// The connection may have ended before the server saw the request.
    stale: bool,
    /// The server said that it did not look at the request; with the body to send again.
    unseen: Option<Body>,
}

impl<'u, I: FnMut(StatusCode, &HeaderMap)> Attempt<'u, '_, I> {
    /// A server that cannot be connected to has seen nothing of the request, so the next one is
    /// tried, each at most once.
    pub(super) async fn send(
        mut self,
        mut body: Body,
    ) -> Result<Response<AnswerBody>, ExchangeError> {
        // Whether the origin saw a request whose connection broke cannot be known. One without a
        // body that changes nothing may be sent again.
        let again = body.is_end_stream() && is_safe(&self.head.method);
        let mut pick = if again { Pick::Idle } else { Pick::Sure };
        let mut unseen = 0;
        loop {
            let turn = self.upstream.turn(self.caller.worker);
            // In a box, because making one is large and hardly any request does.
            let (server, opened) = match self.idle(turn, pick) {
                Some(found) => found,
                None => Box::pin(self.connection(turn, pick)).await?,
            };
            let sent = match opened {
                Opened::Http1(connection) => self.http1(server, connection, body).await,
                Opened::Http2(slot) => self.http2(server, slot, body).await,
            };
            let failed = match sent {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            body = match failed.unseen {
                Some(body) if unseen < UNSEEN => {
                    unseen += 1;
                    body
                }
                _ if again && failed.stale && pick != Pick::New => {
                    pick = Pick::New;
                    Body::empty()
                }
                _ => {
                    self.upstream.complain(server, &failed.error);
                    return Err(failed.error);
                }
            };
        }
    }

    /// A connection to the server whose turn it is that is there already.
    fn idle(&self, turn: usize, pick: Pick) -> Option<(&'u Server, Opened)> {
        let server = self.upstream.candidates(turn).next()?;
        let connection = self.checkout(server, pick)?;
        Some((server, Opened::Http1(connection)))
    }

    fn checkout(&self, server: &Server, pick: Pick) -> Option<Counted> {
        let pool = self.upstream.pool.worker(self.caller.worker);
        match pick {
            Pick::New => None,
            Pick::Idle | Pick::Sure => {
                pool.checkout(&server.place, self.caller.now, pick == Pick::Sure)
            }
        }
    }

    async fn connection(
        &self,
        turn: usize,
        pick: Pick,
    ) -> Result<(&'u Server, Opened), ExchangeError> {
        let upstream = self.upstream;
        let pool = upstream.pool.worker(self.caller.worker);
        let mut error = ExchangeError::NoServer;
        for server in upstream.candidates(turn) {
            if let Some(connection) = self.checkout(server, pick) {
                return Ok((server, Opened::Http1(connection)));
            }
            match self.open(server, pool).await {
                Ok(Opened::Http2(_)) if self.caller.upgrades => error = ExchangeError::NoUpgrade,
                Ok(opened) => return Ok((server, opened)),
                Err(failed) => {
                    error = ExchangeError::Dial(failed);
                    upstream.complain(server, &error);
                }
            }
        }
        Err(error)
    }

    async fn open(
        &self,
        server: &Server,
        pool: &Arc<WorkerPool>,
    ) -> Result<Opened, Arc<DialError>> {
        let purpose = Purpose {
            client: self.caller.client,
            upgrades: self.caller.upgrades,
        };
        pool.open(&server.place, &self.upstream.row, purpose).await
    }

    async fn http1(
        &mut self,
        server: &Server,
        connection: Counted,
        body: Body,
    ) -> Result<Response<AnswerBody>, Failed> {
        if self.own_host
            && let Ok(host) = HeaderValue::from_str(server.place.host())
        {
            self.head.headers.insert(HOST, host);
        }
        let target = request::target(self.head, server);
        let pool = Arc::clone(self.upstream.pool.worker(self.caller.worker));
        let reclaim = Return {
            pool,
            server: server.place.clone(),
        };
        let head = encode::Head {
            method: &self.head.method,
            target: &target,
            headers: &self.head.headers,
            forwarded: self.caller.forwarded,
        };
        let sent = client::exchange(connection, head, body, LIMITS, reclaim, &mut self.interim);
        sent.await.map_err(|failure| Failed {
            stale: failure.reused && !failure.answered,
            error: failure.into(),
            unseen: None,
        })
    }

    async fn http2(
        &mut self,
        server: &Server,
        slot: http2::Slot,
        body: Body,
    ) -> Result<Response<AnswerBody>, Failed> {
        let request = request::http2(self.head, server, self.own_host);
        let sent = http2::exchange(slot, request, body, &mut self.interim);
        Box::pin(sent).await.map_err(|failure| Failed {
            error: failure.fault.into(),
            stale: failure.stale,
            unseen: failure.unseen,
        })
    }
}

/// Methods that change nothing (RFC 9110 section 9.2.1).
fn is_safe(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    )
}
