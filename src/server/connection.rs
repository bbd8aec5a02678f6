//! One client connection: its beginning, then HTTP/1.1 around the catch-all handler, or HTTP/2.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::extract::State;
use bytes::BytesMut;
use futures_util::future::{Either, ready};
use http::{Request, Response};

use super::handshake::{Begun, begin};
use super::http2::serve as serve_http2;
use super::introduction::introduce;
use super::workers::Accepted;
use crate::net::proxy_protocol::Ends;
use crate::net::{Detached, Drain};
use crate::proxy::{self, Observed, Worker};
use crate::snapshot::Listener;
use crate::wire::Refusal;
use crate::wire::server::{Handle, Interim, Refused, serve as serve_http1};

/// Serves requests until the client, a timeout, a drain or the end of the process ends it.
pub(super) async fn serve(accepted: Accepted, worker: Arc<Worker>) {
    let Accepted {
        stream,
        peer,
        listener,
        held,
    } = accepted;
    let Some((ends, begun)) = beginning(stream, peer, &listener, &worker).await else {
        return;
    };
    let clear = matches!(begun, Begun::Clear(..));
    let (stream, early, secured, answers) = match begun {
        Begun::Clear(stream, early) => (stream, early, None, true),
        Begun::Secured(stream, secured) => (stream, BytesMut::new(), Some(secured), true),
        Begun::WantsTls(stream, early) => (stream, early, None, false),
    };
    let agreed = secured.as_ref().is_some_and(|secured| secured.http2);
    // In clear nothing was agreed on, and the first bytes tell.
    let preface = clear && listener.http2.is_some();
    let held: Arc<dyn Any + Send + Sync> = Arc::new(held);
    let connection = |interim: Option<Interim>| {
        let (worker, listener) = (Arc::clone(&worker), Arc::clone(&listener));
        let (secured, held) = (secured.clone(), Arc::clone(&held));
        Arc::new(proxy::Connection::new(
            worker, ends, listener, secured, interim, held,
        ))
    };
    let make = |interim: Interim| Requests {
        connection: connection(Some(interim)),
        answers,
    };
    let closing = AtomicBool::new(false);
    let requests = async {
        let http2 = match agreed {
            true => Some((stream, early.freeze())),
            false => serve_http1(stream, early, &listener.terms, make, preface, &closing).await,
        };
        if let Some((stream, early)) = http2 {
            let requests = serve_http2(stream, early, connection(None), &listener, &closing);
            // Boxed, so that a connection of HTTP/1.1 does not hold the room that it takes.
            Box::pin(requests).await;
        }
    };
    let mut requests = std::pin::pin!(Some(requests));
    let served = async {
        if let Some(requests) = requests.as_mut().as_pin_mut() {
            requests.await;
        }
    };
    tokio::select! {
        // First, so that a request knows whether it is the last.
        biased;
        () = ending(&listener.drain, &worker.stopping, &closing) => {}
        () = served => return,
    }
    worker.recorder.cut(|| requests.set(None));
}

/// For whom it comes and under which keys; none if there is no connection any more.
async fn beginning(
    stream: Detached,
    peer: Option<SocketAddr>,
    listener: &Listener,
    worker: &Worker,
) -> Option<(Option<Ends>, Begun)> {
    let mut stream = stream.attach().ok()?;
    // Not to be taken for a unix socket, which may be trusted.
    let local = stream.local_addr().ok()?;
    let ends = peer.zip(local).map(|(source, destination)| Ends {
        source,
        destination,
    });
    let beginning = async {
        let (ends, early) = introduce(&mut stream, ends, listener).await?;
        let begun = begin(stream, early, listener, worker).await?;
        Some((ends, begun))
    };
    tokio::select! {
        biased;
        begun = beginning => begun,
        // Whoever has not come so far has asked nothing.
        () = listener.drain.over() => None,
        _ = worker.stopping.begun() => None,
    }
}

/// Resolves when the connection has to be gone, because its listener goes or the process does.
/// Before that it says that no more requests are wanted.
async fn ending(listener: &Drain, process: &Drain, closing: &AtomicBool) {
    let listener = async {
        let until = listener.begun().await;
        // Until its turn an idle connection may ask once more, and is told that this was the last:
        // closed at once, it could just have been asking.
        until.turn().await;
        closing.store(true, Ordering::Relaxed);
        until.over().await;
    };
    let process = async {
        let until = process.begun().await;
        closing.store(true, Ordering::Relaxed);
        until.over().await;
    };
    tokio::select! {
        // Asked at each wake-up of the connection: no dice are thrown for the order.
        biased;
        () = listener => {}
        () = process => {}
    }
}

/// The requests of one connection: the catch-all handler with its state.
struct Requests {
    connection: Arc<proxy::Connection>,
    /// They may be asked here: they do not come in clear where TLS is spoken.
    answers: bool,
}

impl Handle for Requests {
    type Body = Observed;

    /// Called as the function that it is. By way of [`axum::handler::Handler`], which it is too,
    /// future and body would each be put in a box of their own for each request.
    fn handle(&self, request: Request<Body>) -> impl Future<Output = Response<Observed>> {
        if self.answers {
            let state = State(Arc::clone(&self.connection));
            Either::Left(proxy::handle(state, request))
        } else {
            Either::Right(ready(self.refuse(Refused::Rule(Refusal::NotHttps))))
        }
    }

    fn refuse(&self, refused: Refused) -> Response<Observed> {
        proxy::refuse(&self.connection, refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catch_all_is_an_axum_handler() {
        let _: axum::Router<Arc<proxy::Connection>> = axum::Router::new().fallback(proxy::handle);
    }
}
