//! One exchange with one server over HTTP/1.1.

use std::error::Error as _;
use std::io;

use axum::body::Body;
use http::header::HOST;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use thiserror::Error;

use super::Server;
use super::pool::Client;
use crate::why::Why;

/// A server picked for a request.
pub(super) struct Attempt<'a> {
    pub(super) client: &'a Client,
    pub(super) server: &'a Server,
}

impl Attempt<'_> {
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, ExchangeError> {
        *request.uri_mut() = self.uri(request.uri())?;
        *request.version_mut() = Version::HTTP_11;
        if !request.headers().contains_key(HOST)
            && let Ok(host) = HeaderValue::from_str(self.server.authority.as_str())
        {
            request.headers_mut().insert(HOST, host);
        }
        Ok(self.client.request(request).await?)
    }

    /// Base path and request path meet in exactly one slash.
    fn uri(&self, uri: &Uri) -> Result<Uri, ExchangeError> {
        let own = uri.path_and_query().cloned();
        let own = own.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let path = match self.server.base_path.as_str() {
            "" => own,
            base => PathAndQuery::try_from(format!("{base}{own}")).map_err(http::Error::from)?,
        };
        let authority = self.server.authority.clone();
        Ok(Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(authority)
            .path_and_query(path)
            .build()?)
    }
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ExchangeError {
    #[error("the upstream has no server")]
    NoServer,
    #[error("the request cannot be sent")]
    Request(#[from] http::Error),
    #[error(transparent)]
    Exchange(#[from] legacy::Error),
}

impl ExchangeError {
    pub(super) fn no_server() -> Self {
        Self::NoServer
    }

    /// Has no server seen anything of the request? Then any other may be tried.
    pub(super) fn before_any_byte(&self) -> bool {
        matches!(self, Self::Exchange(error) if error.is_connect())
    }

    pub fn why(&self) -> Why {
        match self {
            Self::NoServer => Why::ConnectFailed,
            Self::Request(_) => Why::BadRequest,
            Self::Exchange(error) if error.is_connect() => match io_kind(error) {
                Some(io::ErrorKind::ConnectionRefused) => Why::ConnectRefused,
                Some(io::ErrorKind::TimedOut) => Why::ConnectTimeout,
                _ => Why::ConnectFailed,
            },
            Self::Exchange(error) => match hyper_error(error) {
                Some(error) if error.is_parse() => Why::UpstreamInvalid,
                // The body that the client sends broke off.
                Some(error) if error.is_user() => Why::ClientGone,
                _ => Why::UpstreamReset,
            },
        }
    }
}

type Cause = dyn std::error::Error + 'static;

fn causes(error: &legacy::Error) -> impl Iterator<Item = &Cause> {
    std::iter::successors(error.source(), |error: &&Cause| (*error).source())
}

fn io_kind(error: &legacy::Error) -> Option<io::ErrorKind> {
    causes(error)
        .find_map(|cause| cause.downcast_ref::<io::Error>())
        .map(io::Error::kind)
}

fn hyper_error(error: &legacy::Error) -> Option<&hyper::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}
