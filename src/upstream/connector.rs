//! Connecting to a server: bounded in time, counted while it lasts.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use crate::metrics::{ConnectionRow, OpenConnection};

/// Resolves and connects. Names are resolved anew for each connection, so a moved server is found
/// without a reload.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    http: HttpConnector,
    timeout: Duration,
    row: Arc<ConnectionRow>,
}

impl Connector {
    pub(super) fn new(timeout: Duration, row: Arc<ConnectionRow>) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        // Shared out among the addresses of a name, so that one that swallows packets does not use
        // up the time of all.
        http.set_connect_timeout(Some(timeout));
        Self { http, timeout, row }
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = Counted;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Counted, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.http.poll_ready(cx).map_err(Error::from)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.http.call(uri);
        let (limit, row) = (self.timeout, Arc::clone(&self.row));
        Box::pin(async move {
            match timeout(limit, connecting).await {
                Ok(connected) => Ok(Counted {
                    io: connected?,
                    _open: row.open(),
                }),
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            }
        })
    }
}

pin_project_lite::pin_project! {
    /// A connection that is in the gauge until it is dropped.
    #[derive(Debug)]
    pub(super) struct Counted {
        #[pin]
        io: TokioIo<TcpStream>,
        _open: OpenConnection,
    }
}

impl Connection for Counted {
    fn connected(&self) -> Connected {
        self.io.connected()
    }
}

impl Read for Counted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().io.poll_read(cx, buffer)
    }
}

impl Write for Counted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.project().io.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().io.poll_write_vectored(cx, bytes)
    }
}
