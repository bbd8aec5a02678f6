//! Serving an axum `Router` of our own: the admin side and the demo origin. Traffic that is only
//! passed on never comes here.

use std::io;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::time::sleep;

/// For the head of a request, and between two.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// After an error that would only come again at once, as when descriptors run out.
const BREATHER: Duration = Duration::from_millis(100);

/// Serves until dropped. hyper rather than `axum::serve`, which waits for a head for ever.
pub(crate) async fn serve_pages(listener: TcpListener, router: Router) -> io::Result<()> {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(BREATHER).await;
                continue;
            }
        };
        // A page that waits for the last packet is only slower.
        let _ = stream.set_nodelay(true);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(
                TokioIo::new(stream),
                TowerToHyperService::new(router.clone()),
            );
        // Errors are the client's.
        tokio::spawn(async { drop(connection.await) });
    }
}
