//! The tunnel that an upgrade becomes: who runs it, and what the Record is told of it.

use std::any::Any;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use http::Extensions;
use tokio_util::task::TaskTracker;

use super::Until;
use crate::metrics::OpenConnection;
use crate::net::tunnel::{self, End, Side, Terms, Traffic};
use crate::telemetry::Record;
use crate::why::Why;
use crate::wire::client::Switched;
use crate::wire::{OnUpgrade, Upgraded};

/// Both ends of a tunnel that begins once the client has been told so. It holds nothing of the
/// snapshot but the route's drain, through `until`.
pub(super) struct Tunnel {
    /// None if the client's end is a stream of HTTP/2.
    pub(super) client: Option<OnUpgrade>,
    pub(super) terms: Terms,
    pub(super) upstream: Switched<OpenConnection>,
    pub(super) until: Until,
    pub(super) tracker: TaskTracker,
    /// The client's connection is open for as long as the tunnel is.
    pub(super) held: Arc<dyn Any + Send + Sync>,
}

impl Tunnel {
    /// A connection that was switched outlives the task it was served by. A stream stays with its
    /// connection, whose task finds the tunnel in the extensions of the answer.
    pub(super) fn start(mut self, record: Record, answer: &mut Extensions) {
        let tracker = self.tracker.clone();
        match self.client.take() {
            Some(client) => drop(tracker.spawn(self.switch(client, record))),
            None => drop(answer.insert(Bridge::new(self, record))),
        }
    }

    async fn switch(self, client: OnUpgrade, mut record: Record) {
        let Some(client) = client.take() else { return };
        let Ok(client) = client.await else {
            // The client left before it had the 101, or its connection was cut.
            if let Some(why) = self.until.now_or_never() {
                record.ends(why);
            }
            return;
        };
        self.carry(side(client), record).await;
    }

    async fn carry(self, client: Side, mut record: Record) -> End {
        let Self {
            terms,
            upstream,
            until,
            held: _held,
            ..
        } = self;
        let Some((upstream, _open)) = upstream.take() else {
            return End::UpstreamBroke;
        };
        let drained = async {
            until.await;
        };
        let carried = Carried {
            traffic: Traffic::default(),
            record: &mut record,
        };
        let upstream = side(upstream);
        let end = tunnel::join(client, upstream, terms, drained, &carried.traffic).await;
        drop(carried);
        record.ends(match end {
            End::Finished => Why::Ok,
            End::ClientBroke => Why::ClientGone,
            End::UpstreamBroke => Why::UpstreamReset,
            End::Drained => Why::Draining,
            End::Idle => Why::TunnelIdle,
        });
        end
    }
}

fn side(upgraded: Upgraded) -> Side {
    let (stream, early) = upgraded.into_parts();
    Side::Connection(stream, early)
}

/// A tunnel that is run by the task of the client's connection, in the extensions of its answer.
#[derive(Clone)]
pub(crate) struct Bridge(Arc<Mutex<Option<(Tunnel, Record)>>>);

impl Bridge {
    fn new(tunnel: Tunnel, record: Record) -> Self {
        Self(Arc::new(Mutex::new(Some((tunnel, record)))))
    }

    /// Carries to and from that end; nothing if it was begun before.
    pub(crate) fn begin(self, client: Side) -> Option<impl Future<Output = End> + Send + use<>> {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (tunnel, record) = begun.take()?;
        Some(tunnel.carry(client, record))
    }
}

/// Tells the Record what was carried, also when the tunnel is dropped half-way.
struct Carried<'a> {
    traffic: Traffic,
    record: &'a mut Record,
}

impl Drop for Carried<'_> {
    fn drop(&mut self) {
        let from_client = self.traffic.from_client.load(Ordering::Relaxed);
        self.record.receives().add(from_client);
        self.record
            .sent(self.traffic.to_client.load(Ordering::Relaxed));
    }
}
