//! Upgrades: a tunnel begins when the upstream has agreed, never before.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use http::header::UPGRADE;
use http::request::Parts;
use http::{HeaderValue, Response, Version};
use tokio_util::task::TaskTracker;

use super::Connection;
use super::Until;
use super::answer::Answer;
use crate::message::hop;
use crate::metrics::OpenConnection;
use crate::net::tunnel::{self, End, Terms, Traffic};
use crate::route::{Route, Upgrades};
use crate::telemetry::Record;
use crate::why::Why;
use crate::wire::OnUpgrade;
use crate::wire::client::{AnswerBody, Switched};

/// A client that asks to switch protocols.
pub(super) struct Ask {
    protocol: HeaderValue,
    client: OnUpgrade,
    terms: Terms,
}

impl Ask {
    /// Of the protocols that the client would take, the first that the route allows is asked for,
    /// alone: the upstream then has nothing else to choose.
    pub(super) fn take(head: &mut Parts, upgrades: &Upgrades) -> Option<Self> {
        // In HTTP/1.0 the field has no meaning (RFC 9110 section 7.8).
        if head.version != Version::HTTP_11 {
            return None;
        }
        let protocol = hop::upgrades(&head.headers).find(|protocol| upgrades.allow(protocol))?;
        let terms = Terms {
            websocket: protocol.eq_ignore_ascii_case("websocket"),
            idle: upgrades.idle,
            half_closed: upgrades.half_closed,
        };
        let protocol = HeaderValue::from_str(protocol).ok()?;
        let client = head.extensions.remove::<OnUpgrade>()?;
        Some(Self {
            protocol,
            client,
            terms,
        })
    }

    pub(super) fn protocol(&self) -> &HeaderValue {
        &self.protocol
    }

    fn is_for(&self, protocol: &HeaderValue) -> bool {
        self.protocol
            .as_bytes()
            .eq_ignore_ascii_case(protocol.as_bytes())
    }
}

/// A 101 that was asked for becomes a tunnel; any other is no answer to the request.
pub(super) fn accept(
    mut response: Response<AnswerBody>,
    ask: Option<Ask>,
    route: &Route,
    connection: &Connection,
) -> Result<Answer, Why> {
    let ask = ask.ok_or(Why::UpstreamInvalid)?;
    let agreed = response.headers().get(UPGRADE);
    if !agreed.is_some_and(|protocol| ask.is_for(protocol)) {
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
            terms: ask.terms,
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
    terms: Terms,
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
            terms,
            upstream,
            until,
            held: _held,
            ..
        } = self;
        let (Some(client), Some((upstream, _open))) = (client.take(), upstream.take()) else {
            return;
        };
        let Ok(client) = client.await else {
            // The client left before it had the 101, or its connection was cut.
            if let Some(why) = until.now_or_never() {
                record.ends(why);
            }
            return;
        };
        let drained = async {
            until.await;
        };
        let carried = Carried {
            traffic: Traffic::default(),
            record: &mut record,
        };
        let (client, upstream) = (client.into_parts(), upstream.into_parts());
        let end = tunnel::join(client, upstream, terms, drained, &carried.traffic).await;
        drop(carried);
        record.ends(match end {
            End::Finished => Why::Ok,
            End::ClientBroke => Why::ClientGone,
            End::UpstreamBroke => Why::UpstreamReset,
            End::Drained => Why::Draining,
            End::Idle => Why::TunnelIdle,
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
