//! One client connection: HTTP/1.1 around the catch-all handler.

use std::sync::Arc;

use axum::body::Body;
use axum::handler::Handler;
use axum::response::Response;
use http::Request;

use super::introduction::introduce;
use super::workers::Accepted;
use crate::net::proxy_protocol::Ends;
use crate::proxy::{self, Worker};
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
    let closing = async {
        tokio::select! {
            // Until its turn an idle connection may ask once more, and is told that this was the
            // last: closed at once, it could just have been asking.
            () = listener.drain.turn() => {}
            () = worker.stopping.begun() => {}
        }
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
        () = worker.stopping.begun() => None,
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
    let requests = serve_http1(stream, early, &listener.terms, make, closing);
    let mut requests = std::pin::pin!(Some(requests));
    let served = async {
        if let Some(requests) = requests.as_mut().as_pin_mut() {
            requests.await;
        }
    };
    tokio::select! {
        () = served => return,
        () = listener.drain.over() => {}
        () = worker.stopping.over() => {}
    }
    worker.recorder.cut(|| requests.set(None));
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
