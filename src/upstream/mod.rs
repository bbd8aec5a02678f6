//! Servers, and the one way we speak to them.

mod attempt;
mod dial;
mod error;
mod health;
mod http2;
mod pool;
mod probe;
mod request;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use crossbeam_utils::CachePadded;
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Response, StatusCode};
use tokio::time::Instant;

pub(crate) use error::{ExchangeError, why_of_body};
pub(crate) use health::{Check, Health, Question};
pub(crate) use pool::{Pool, PoolSettings};

use crate::config::{Scheme, UNIX};
use crate::message::fault::chain;
use crate::message::fields::has;
use crate::message::forwarded_text::ForwardedLines;
use crate::metrics::{ConnectionRow, Trust};
use crate::net::Seldom;
use crate::net::proxy_protocol::Ends;
use crate::why::Why;
use crate::wire::client::AnswerBody;
use attempt::Attempt;

/// A group of servers that answer the same.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    servers: Vec<Server>,
    /// Can connections to one of them be of HTTP/2?
    may_share: bool,
    pool: Arc<Pool>,
    row: Arc<ConnectionRow>,
    /// Whose turn it is, for each worker apart.
    turns: Box<[CachePadded<AtomicUsize>]>,
    /// None if servers are not asked whether they are well.
    health: Option<Health>,
    /// When it was last told that a server is not whom it should be.
    complaint: Seldom,
}

/// How often that is told.
const PAUSE: Duration = Duration::from_secs(10);

/// For whom an exchange is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub worker: usize,
    /// When it begins.
    pub now: Instant,
    /// Told to servers that want to know; none if it is not known.
    pub client: Option<Ends>,
    /// What is told in lines after the headers; none if they tell it.
    pub forwarded: Option<ForwardedLines<'a>>,
    /// The client asks to speak another protocol on the connection.
    pub upgrades: bool,
}

/// Where to connect to, and the path put before each request's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub place: Place,
    pub base_path: String,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Host(Authority, Scheme),
    /// The path of a unix socket.
    Unix(Arc<Path>),
}

/// As a URL, where it has one.
impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Host(authority, scheme) => write!(formatter, "{}://{authority}", scheme.word())?,
            Place::Unix(path) => write!(formatter, "{UNIX}{}", path.display())?,
        }
        formatter.write_str(&self.base_path)
    }
}

impl Place {
    /// What the server would call itself in `Host`. A unix socket has no name, only a machine.
    fn host(&self) -> &str {
        match self {
            Self::Host(authority, _) => authority.as_str(),
            Self::Unix(_) => "localhost",
        }
    }

    /// Can a connection to it be one that requests share?
    fn may_share(&self) -> bool {
        matches!(self, Self::Host(_, Scheme::Https | Scheme::H2c))
    }

    /// Byte by byte, as a cheaper `==`.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Host(one, speaks), Self::Host(other, also)) => {
                one.as_str() == other.as_str() && speaks == also
            }
            (Self::Unix(one), Self::Unix(other)) => one.as_os_str() == other.as_os_str(),
            (Self::Host(..), Self::Unix(_)) | (Self::Unix(_), Self::Host(..)) => false,
        }
    }
}

impl Upstream {
    pub(crate) fn new(
        name: String,
        servers: Vec<Server>,
        pool: Arc<Pool>,
        row: Arc<ConnectionRow>,
        workers: usize,
        health: Option<Health>,
    ) -> Self {
        let turns = (0..workers).map(|_| CachePadded::default()).collect();
        Self {
            name,
            may_share: servers.iter().any(|server| server.place.may_share()),
            servers,
            pool,
            row,
            turns,
            health,
            complaint: Seldom::default(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub fn row(&self) -> &Arc<ConnectionRow> {
        &self.row
    }

    pub(crate) fn health(&self) -> Option<&Health> {
        self.health.as_ref()
    }

    /// Begins to ask its servers whether they are well, on the runtime that this is called in; those that
    /// are asked already are asked as it speaks to them.
    pub fn start_checks(&self) {
        if let Some(health) = &self.health {
            health.start(self);
        }
    }

    /// One that speaks to this server as it does, for one thread, and keeps no connection.
    fn prober(&self, server: &Server) -> Self {
        let settings = PoolSettings {
            max_idle: 0,
            ..self.pool.settings().clone()
        };
        let (servers, row) = (vec![server.clone()], ConnectionRow::new(&self.name));
        let pool = Arc::new(Pool::new(settings, 1));
        Self::new(self.name.clone(), servers, pool, Arc::new(row), 1, None)
    }

    /// Are its servers asked who they are?
    pub fn trust(&self) -> Trust {
        match &self.pool.settings().tls {
            None => Trust::InClear,
            Some(tls) if tls.is_insecure() => Trust::Blind,
            Some(_) => Trust::Verified,
        }
    }

    /// Do its connections begin with a PROXY header?
    pub(crate) fn is_told_clients(&self) -> bool {
        self.pool.settings().proxy_protocol.is_some()
    }

    /// Can its connections be of HTTP/2? Whatever a request says then has to be in its headers.
    pub(crate) fn may_share(&self) -> bool {
        self.may_share
    }

    /// What is wrong with TLS is for the operator to mend.
    fn complain(&self, server: &Server, error: &ExchangeError) {
        if error.why() == Why::UpstreamTls && self.complaint.is_due(PAUSE) {
            let (upstream, server) = (&self.name, server.place.host());
            let error = chain(error);
            tracing::warn!(upstream, server, error, "a server cannot be spoken to");
        }
    }

    /// Sends a request and waits for the head of its answer. Its URI is a path and query only; the
    /// server that is picked completes it. `interim` is told of interim answers.
    pub(crate) fn exchange<'a>(
        &'a self,
        caller: Caller<'a>,
        head: &'a mut Parts,
        body: Body,
        interim: impl FnMut(StatusCode, &HeaderMap) + 'a,
    ) -> impl Future<Output = Result<Response<AnswerBody>, ExchangeError>> + 'a {
        let own_host = !has(&head.headers, &HOST);
        let attempt = Attempt {
            upstream: self,
            caller,
            head,
            own_host,
            interim,
        };
        attempt.send(body)
    }

    /// Whose turn it is, and the next one's from now on.
    fn turn(&self, worker: usize) -> usize {
        match self.servers.len() {
            0 | 1 => 0,
            _ => self.turns[worker].fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Every server that is well once, beginning with the one whose turn it is; if none is, every one.
    fn candidates(&self, turn: usize) -> impl Iterator<Item = &Server> {
        let count = self.servers.len();
        let health = self.health.as_ref();
        let health = health.filter(|health| !health.none_is_well());
        let places = (0..count).map(move |step| turn.wrapping_add(step) % count);
        let well = places.filter(move |place| health.is_none_or(|health| health.is_well(*place)));
        well.map(|place| &self.servers[place])
    }
}
