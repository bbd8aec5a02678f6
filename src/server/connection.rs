//! One client connection: HTTP/1.1 around the catch-all handler.

use std::sync::Arc;

use axum::body::Body;
use axum::handler::Handler;
use axum::response::Response;
use http::Request;

use super::workers::Accepted;
use crate::proxy::{self, Worker};
use crate::wire::Limits;
use crate::wire::server::{Handle, Interim, Refused, Terms, serve as serve_http1};

/// Serves requests until the client, a timeout, a drain or the end of the process ends it.
pub(super) async fn serve(accepted: Accepted, worker: Arc<Worker>) {
    let Accepted {
        stream,
        peer,
        listener,
        counted: _counted,
    } = accepted;
    let Ok(stream) = stream.attach() else {
        return;
    };
    let terms = Terms {
        limits: Limits::default(),
        header_timeout: listener.header_timeout,
        idle_timeout: listener.idle_timeout,
    };
    let make = |interim: Interim| {
        let (worker, drain) = (Arc::clone(&worker), Arc::clone(&listener.drain));
        Requests(Arc::new(proxy::Connection::new(
            worker, peer, drain, interim,
        )))
    };
    let closing = async {
        tokio::select! {
            // Until its turn an idle connection may ask once more, and is told that this was the
            // last: closed at once, it could just have been asking.
            () = listener.drain.turn() => {}
            () = worker.stopping.begun() => {}
        }
    };
    tokio::select! {
        () = serve_http1(stream, &terms, make, closing) => {}
        () = listener.drain.over() => {}
        () = worker.stopping.over() => {}
    }
}

/// The requests of one connection: the catch-all handler with its state.
struct Requests(Arc<proxy::Connection>);

impl Handle for Requests {
    fn handle(&self, request: Request<Body>) -> impl Future<Output = Response> {
        Handler::call(proxy::handle, request, Arc::clone(&self.0))
    }

    fn refuse(&self, refused: Refused) -> Response {
        proxy::refuse(&self.0, refused)
    }
}
