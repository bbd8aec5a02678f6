//! One client connection: HTTP/1.1 around the catch-all handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::extract::State;
use http::{Request, Response};

use super::introduction::introduce;
use super::workers::Accepted;
use crate::net::Drain;
use crate::net::proxy_protocol::Ends;
use crate::proxy::{self, Observed, Worker};
use crate::wire::server::{Handle, Interim, Refused, serve as serve_http1};

/// Serves requests until the client, a timeout, a drain or the end of the process ends it.
pub(super) async fn serve(accepted: Accepted, worker: Arc<Worker>) {
    let Accepted {
        stream,
        peer,
        listener,
        held,
    } = accepted;
    let Ok(mut stream) = stream.attach() else {
        return;
    };
    // Not to be taken for a unix socket, which may be trusted.
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let ends = peer.zip(local).map(|(source, destination)| Ends {
        source,
        destination,
    });
    let introduced = tokio::select! {
        biased;
        introduced = introduce(&mut stream, ends, &listener) => introduced,
        // Whoever has not even said for whom it comes has asked nothing.
        () = listener.drain.over() => None,
        _ = worker.stopping.begun() => None,
    };
    let Some((ends, early)) = introduced else {
        return;
    };
    let make = |interim: Interim| {
        let (worker, drain) = (Arc::clone(&worker), Arc::clone(&listener.drain));
        Requests(Arc::new(proxy::Connection::new(
            worker,
            ends,
            drain,
            interim,
            Arc::new(held),
        )))
    };
    let closing = AtomicBool::new(false);
    let mut requests = std::pin::pin!(Some(serve_http1(
        stream,
        early,
        &listener.terms,
        make,
        &closing
    )));
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
        () = listener => {}
        () = process => {}
    }
}

/// The requests of one connection: the catch-all handler with its state.
struct Requests(Arc<proxy::Connection>);

impl Handle for Requests {
    type Body = Observed;

    /// Called as the function that it is. By way of [`axum::handler::Handler`], which it is too,
    /// future and body would each be put in a box of their own for each request.
    fn handle(&self, request: Request<Body>) -> impl Future<Output = Response<Observed>> {
        proxy::handle(State(Arc::clone(&self.0)), request)
    }

    fn refuse(&self, refused: Refused) -> Response<Observed> {
        proxy::refuse(&self.0, refused)
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
