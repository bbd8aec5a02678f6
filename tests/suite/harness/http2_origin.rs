//! An origin that speaks HTTP/2, in clear or under TLS, and does with each stream what a closure says.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::{HeaderMap, Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// One stream in the hands of its closure.
pub(crate) struct Asked {
    pub(crate) request: Request<RecvStream>,
    pub(crate) respond: SendResponse<Bytes>,
}

impl Asked {
    /// All of the body, and the trailers.
    pub(crate) async fn body(&mut self) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
        let stream = self.request.body_mut();
        let mut body = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data?;
            stream.flow_control().release_capacity(data.len())?;
            body.extend_from_slice(&data);
        }
        Ok((body, stream.trailers().await?))
    }

    /// A whole answer.
    pub(crate) fn answer(&mut self, response: Response<()>, body: impl Into<Bytes>) {
        let body = body.into();
        let end = body.is_empty();
        // Whoever asked may have gone.
        if let Ok(mut stream) = self.respond.send_response(response, end)
            && !end
        {
            let _ = stream.send_data(body, true);
        }
    }
}

/// Serves until the test process ends.
#[derive(Debug, Clone)]
pub(crate) struct Http2Origin {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
    /// How connections ended that did not end well.
    errors: Arc<Mutex<Vec<String>>>,
}

/// How it is spoken to.
#[derive(Clone)]
pub(crate) struct Ways {
    pub(crate) builder: Builder,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Streams on one connection before it says goodbye.
    pub(crate) streams: usize,
}

impl Default for Ways {
    fn default() -> Self {
        Self {
            builder: Builder::new(),
            tls: None,
            streams: usize::MAX,
        }
    }
}

impl Http2Origin {
    pub(crate) fn new<F, R>(serve: F) -> Self
    where
        F: Fn(Asked) -> R + Send + Sync + Clone + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::with(Ways::default(), serve)
    }

    pub(crate) fn with<F, R>(ways: Ways, serve: F) -> Self
    where
        F: Fn(Asked) -> R + Send + Sync + Clone + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for an origin");
        let address = listener.local_addr().expect("the origin's address");
        listener.set_nonblocking(true).expect("a port to be polled");
        let origin = Self {
            address,
            connections: Arc::default(),
            open: Arc::default(),
            streams: Arc::default(),
            errors: Arc::default(),
        };
        let serving = origin.clone();
        thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().expect("a runtime");
            runtime.block_on(serving.accept(listener, ways, serve));
        });
        origin
    }

    pub(crate) fn url(&self) -> String {
        format!("h2c://{}", self.address)
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections that have not ended.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Streams so far.
    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    pub(crate) fn errors(&self) -> Vec<String> {
        self.errors.lock().expect("the origin's memory").clone()
    }

    async fn accept<F, R>(self, listener: TcpListener, ways: Ways, serve: F)
    where
        F: Fn(Asked) -> R + Send + Sync + Clone + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            self.connections.fetch_add(1, Ordering::Relaxed);
            self.open.fetch_add(1, Ordering::Relaxed);
            let (origin, ways, serve) = (self.clone(), ways.clone(), serve.clone());
            tokio::spawn(async move {
                let ended = match &ways.tls {
                    None => origin.speak(stream, &ways, serve).await,
                    Some(config) => {
                        match TlsAcceptor::from(Arc::clone(config)).accept(stream).await {
                            Ok(stream) => origin.speak(stream, &ways, serve).await,
                            Err(_) => Ok(()),
                        }
                    }
                };
                if let Err(error) = ended {
                    let mut errors = origin.errors.lock().expect("the origin's memory");
                    errors.push(error.to_string());
                }
                origin.open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    async fn speak<S, F, R>(&self, stream: S, ways: &Ways, serve: F) -> Result<(), h2::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        F: Fn(Asked) -> R,
        R: Future<Output = ()> + Send + 'static,
    {
        let mut connection: Connection<S, Bytes> = ways.builder.handshake(stream).await?;
        let mut left = ways.streams;
        while let Some(asked) = connection.accept().await {
            let (request, respond) = asked?;
            self.streams.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(serve(Asked { request, respond }));
            left = left.saturating_sub(1);
            if left == 0 {
                connection.graceful_shutdown();
            }
        }
        Ok(())
    }
}
