//! Connections that many requests share, and those that are just being made: whoever comes meanwhile
//! waits for the same.

use std::sync::{Arc, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;
use tokio::time::Instant;

use super::super::Place;
use super::super::dial::{DialError, Dialed, Purpose, dial};
use super::super::http2::{self, Link, Slot};
use super::{Counted, WorkerPool};
use crate::metrics::ConnectionRow;
use crate::net::Stream;
use crate::wire::client::Connection;

#[derive(Debug, Default)]
pub(super) struct Shared(Vec<Line>);

/// What goes to one server.
#[derive(Debug)]
struct Line {
    place: Place,
    links: Vec<Link>,
    /// Connections that are being made.
    dials: Vec<Dial>,
    /// What it spoke last was HTTP/1.1: connections to it cannot be shared.
    http1: bool,
}

/// A connection that is being made, and how many requests wait for it.
#[derive(Debug)]
struct Dial {
    told: watch::Receiver<Option<Outcome>>,
    waiting: usize,
}

/// How the making of a connection ended.
type Outcome = Result<(), Arc<DialError>>;

/// Somewhere to send a request.
pub(in super::super) enum Opened {
    Http1(Counted),
    Http2(Slot),
}

/// Connections to one server that are made at a time.
const DIALS: usize = 8;

/// Rounds of waiting for a connection that others may fill first.
const ROUNDS: usize = 16;

impl Shared {
    fn line(&mut self, place: &Place) -> &mut Line {
        let known = self.0.iter().position(|line| line.place.is(place));
        let known = known.unwrap_or_else(|| {
            self.0.push(Line {
                place: place.clone(),
                links: Vec::new(),
                dials: Vec::new(),
                http1: false,
            });
            self.0.len() - 1
        });
        &mut self.0[known]
    }
}

impl WorkerPool {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room on a connection that is there.
    fn slot(&self, place: &Place) -> Option<Slot> {
        let mut shared = self.shared();
        let links = &mut shared.line(place).links;
        links.retain_mut(|link| !link.is_over());
        links.iter().find_map(Link::slot)
    }

    /// A new connection to a server, or room on one that requests share, which is made if there is none.
    pub(in super::super) async fn open(
        self: &Arc<Self>,
        place: &Place,
        row: &Arc<ConnectionRow>,
        purpose: Purpose,
    ) -> Result<Opened, Arc<DialError>> {
        let told = self.settings.proxy_protocol.is_some();
        let alone = purpose.upgrades || told || !place.may_share();
        let mut waited = false;
        for _ in 0..ROUNDS {
            if alone || self.shared().line(place).http1 {
                break;
            }
            if let Some(slot) = self.slot(place) {
                return Ok(Opened::Http2(slot));
            }
            let mut dialing = self.dialing(place, row);
            let ended = dialing.wait_for(Option::is_some).await;
            let ended = ended.ok().and_then(|ended| ended.clone());
            // Without an outcome, whoever made it was cut off.
            ended.unwrap_or(Ok(()))?;
            waited = true;
        }
        if waited && let Some(connection) = self.checkout(place, Instant::now(), true) {
            return Ok(Opened::Http1(connection));
        }
        match dial(place, &self.settings, purpose).await? {
            Dialed::Http1(stream) => {
                if !alone {
                    self.shared().line(place).http1 = true;
                }
                Ok(Opened::Http1(Connection::new(stream, row.open())))
            }
            Dialed::Http2(stream) => {
                let link = self.link(place, stream, row).await?;
                let slot = link.slot();
                if !alone {
                    self.add(place, link);
                }
                let slot = slot.ok_or_else(|| std::io::Error::other("it takes no request"));
                Ok(Opened::Http2(slot.map_err(DialError::from)?))
            }
        }
    }

    /// A connection that is being made, with room for one more who waits. Nobody's request makes it, so that
    /// none who leaves takes it from the others.
    fn dialing(
        self: &Arc<Self>,
        place: &Place,
        row: &Arc<ConnectionRow>,
    ) -> watch::Receiver<Option<Outcome>> {
        let mut shared = self.shared();
        let line = shared.line(place);
        // Whoever makes one may have come to grief without a word.
        line.dials.retain(|dial| dial.told.has_changed().is_ok());
        let room = line.links.iter().map(Link::most).max();
        let room = room.unwrap_or(self.settings.http2.max_concurrent_streams as usize);
        let full = line.dials.len() >= DIALS;
        let emptiest = line.dials.iter_mut().min_by_key(|dial| dial.waiting);
        if let Some(dial) = emptiest.filter(|dial| full || dial.waiting < room) {
            dial.waiting += 1;
            return dial.told.clone();
        }
        let (told, dialing) = watch::channel(None);
        line.dials.push(Dial {
            told: dialing.clone(),
            waiting: 1,
        });
        let made = dialing.clone();
        let (pool, place, row) = (Arc::clone(self), place.clone(), Arc::clone(row));
        tokio::spawn(async move {
            let outcome = pool.make(&place, &row).await;
            let others = |dial: &Dial| !dial.told.same_channel(&made);
            pool.shared().line(&place).dials.retain(others);
            told.send_replace(Some(outcome.map_err(Arc::new)));
        });
        dialing
    }

    async fn make(
        self: &Arc<Self>,
        place: &Place,
        row: &Arc<ConnectionRow>,
    ) -> Result<(), DialError> {
        match dial(place, &self.settings, Purpose::default()).await? {
            Dialed::Http1(stream) => {
                self.shared().line(place).http1 = true;
                self.put(place, Connection::new(stream, row.open()));
            }
            Dialed::Http2(stream) => {
                let link = self.link(place, stream, row).await?;
                self.add(place, link);
            }
        }
        Ok(())
    }

    async fn link(
        self: &Arc<Self>,
        place: &Place,
        stream: Stream,
        row: &Arc<ConnectionRow>,
    ) -> Result<Link, DialError> {
        let (pool, place) = (Arc::downgrade(self), place.clone());
        let idle = http2::Idle {
            limit: self.settings.idle_timeout,
            forget: Box::new(move || forget(&pool, &place)),
        };
        let link = http2::start(stream, &self.settings.http2, idle, row.open()).await;
        link.map_err(|fault| DialError::Connect(std::io::Error::other(fault)))
    }

    fn add(&self, place: &Place, link: Link) {
        let mut shared = self.shared();
        let line = shared.line(place);
        line.http1 = false;
        line.links.push(link);
    }
}

/// Lets go of connections to this server that are over.
fn forget(pool: &Weak<WorkerPool>, place: &Place) {
    if let Some(pool) = pool.upgrade() {
        let mut shared = pool.shared();
        let links = &mut shared.line(place).links;
        links.retain_mut(|link| !link.is_over());
    }
}
