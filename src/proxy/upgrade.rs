//! Upgrades: a tunnel begins when the upstream has agreed, never before.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::UPGRADE;
use http::request::Parts;
use http::{HeaderValue, Response};
use tokio_util::task::TaskTracker;

use super::Connection;
use super::Until;
use super::answer::Answer;
use crate::message::hop;
use crate::metrics::OpenConnection;
use crate::net::tunnel::{self, End, Terms, Traffic};
use crate::route::Route;
use crate::telemetry::Record;
use crate::why::Why;
use crate::wire::OnUpgrade;
use crate::wire::client::{AnswerBody, Switched};

/// Without a byte for so long a tunnel is taken for dead. Applications that keep a connection open
/// send pings far more often.
const IDLE: Duration = Duration::from_secs(60 * 60);
/// The same once one side has finished.
const HALF_CLOSED: Duration = Duration::from_secs(60);

/// A client that asks to switch protocols.
pub(super) struct Ask {
    protocol: HeaderValue,
    client: OnUpgrade,
}

impl Ask {
    /// Only WebSocket: `h2c` would let later requests pass by the routes unseen.
    pub(super) fn take(head: &mut Parts) -> Option<Self> {
        let protocol = hop::upgrade(&head.headers)?;
        if !is_websocket(protocol) {
            return None;
        }
        let protocol = protocol.clone();
        let client = head.extensions.remove::<OnUpgrade>()?;
        Some(Self { protocol, client })
    }

    pub(super) fn protocol(&self) -> &HeaderValue {
        &self.protocol
    }
}

fn is_websocket(protocol: &HeaderValue) -> bool {
    protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
}

/// A 101 that was asked for becomes a tunnel; any other is no answer to the request.
pub(super) fn accept(
    mut response: Response<AnswerBody>,
    ask: Option<Ask>,
    route: &Route,
    connection: &Connection,
) -> Result<Answer, Why> {
    let ask = ask.ok_or(Why::UpstreamInvalid)?;
    let agreed = response.headers().get(UPGRADE).is_some_and(is_websocket);
    if !agreed {
        return Err(Why::UpstreamInvalid);
    }
    let upstream = response
        .extensions_mut()
        .remove::<Switched<OpenConnection>>();
    let upstream = upstream.ok_or(Why::UpstreamInvalid)?;
    hop::strip_response(response.headers_mut());
    hop::set_upgrade(response.headers_mut(), ask.protocol);
    response.extensions_mut().clear();
    Ok(Answer::tunnel(
        response,
        Tunnel {
            client: ask.client,
            upstream,
            until: connection.end_of(route),
            tracker: connection.worker.tunnels.clone(),
            held: Arc::clone(&connection.held),
        },
    ))
}

/// Both ends of a tunnel that begins once the client has the 101. It holds nothing of the snapshot
/// but the route's drain, through `until`.
pub(super) struct Tunnel {
    client: OnUpgrade,
    upstream: Switched<OpenConnection>,
    until: Until,
    tracker: TaskTracker,
    /// The client's connection is open for as long as the tunnel is.
    held: Arc<dyn Any + Send + Sync>,
}

impl Tunnel {
    pub(super) fn start(self, record: Record) {
        let tracker = self.tracker.clone();
        tracker.spawn(self.run(record));
    }

    async fn run(self, mut record: Record) {
        let Self {
            client,
            upstream,
            until,
            held: _held,
            ..
        } = self;
        let (Some(client), Some((upstream, _open))) = (client.take(), upstream.take()) else {
            return;
        };
        // The client may leave before it has the 101.
        let Ok(client) = client.await else { return };
        let terms = Terms {
            websocket: true,
            idle: IDLE,
            half_closed: HALF_CLOSED,
        };
        let drained = async {
            until.await;
        };
        let carried = Carried {
            traffic: Traffic::default(),
            record: &mut record,
        };
        let end = tunnel::join(client, upstream, terms, drained, &carried.traffic).await;
        drop(carried);
        record.ends(match end {
            End::Finished | End::Idle => Why::Ok,
            End::ClientBroke => Why::ClientGone,
            End::UpstreamBroke => Why::UpstreamReset,
            End::Drained => Why::Draining,
        });
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
