//! One client connection.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::handler::Handler;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::workers::Accepted;
use crate::proxy::{self, Worker};

/// Serves requests until the client, a timeout, a drain or the end of the process ends it.
pub(super) async fn serve(accepted: Accepted, worker: Arc<Worker>) {
    let Accepted {
        stream,
        peer,
        listener,
        counted: _counted,
    } = accepted;
    let Ok(stream) = TcpStream::from_std(stream) else {
        return;
    };
    let drain = Arc::clone(&listener.drain);
    let state = Arc::new(proxy::Connection::new(Arc::clone(&worker), peer, drain));
    let service = service_fn(move |request: http::Request<Incoming>| {
        let arrived = proxy::Arrived::new(&state, request.method());
        let answer = Handler::call(proxy::handle, request.map(Body::new), Arc::clone(&state));
        async {
            arrived.handed_over();
            Ok::<_, Infallible>(answer.await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(listener.header_timeout)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    // Errors are the client's: it broke the protocol, was too slow, or left.
    tokio::select! {
        _ = connection.as_mut() => return,
        // Until its turn an idle connection may ask once more, and is told that this was the last:
        // closed at once, it could just have been asking.
        () = listener.drain.turn() => {}
        () = worker.stopping.begun() => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection.as_mut() => {}
        () = listener.drain.over() => {}
        () = worker.stopping.over() => {}
    }
}
