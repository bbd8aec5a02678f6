//! One client connection that speaks HTTP/2: hyper's server around the catch-all handler.
//!
//! Everything runs in the connection's one task, so that it can be cut as a whole.

mod answer;
mod early;
mod extended_connect;
mod request;
mod streams;
mod tunnel;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::State;
use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::net::{Alarm, Stream, Tap};
use crate::proxy::{self, Bridge, Connection};
use crate::snapshot::Listener;
use crate::wire::client::Rest;
use crate::wire::server::{Refused, Terms};
use answer::AnswerBody;
use early::Early;
use streams::{Ended, OneStream, Slot, Streams};
use tunnel::Agreed;

/// After the goodbye: how long a client without requests may take to leave.
const GOODBYE: Duration = Duration::from_secs(2);
/// Requests that a client may take back beyond those whose answers it took. Each costs an upstream a
/// connection, and the client nothing.
const MOST_TAKEN_BACK: u64 = 200;
/// Streams that it may reset before we have looked at them: the default of h2, which must not change.
const MOST_PENDING_RESETS: usize = 20;

/// Serves requests until the client leaves, breaks a rule, or `closing` is set: then no new ones are
/// taken, and those under way are finished. Whoever sets it polls this afterwards.
pub(super) async fn serve(
    stream: Stream,
    early: Bytes,
    connection: Arc<Connection>,
    listener: &Listener,
    closing: &AtomicBool,
) {
    let streams = Streams::default();
    let slots = streams.clone();
    let terms = listener.terms.clone();
    let service = service_fn(|request: Request<Incoming>| {
        let slot = Slot::new(&connection, terms.write_timeout);
        slots.begin(&slot);
        let (connection, terms) = (Arc::clone(&connection), terms.clone());
        let slots = slots.clone();
        let answered = async move { answer(&connection, request, &slot, &slots, &terms).await };
        answered.map(Ok::<_, Infallible>)
    });
    let builder = builder(listener, streams.clone());
    // Dropped after `http`: only then is it known what became of the answers.
    let mut under_way = UnderWay {
        streams,
        running: FuturesUnordered::new(),
        begun: 0,
        answered: 0,
        taken_back: 0,
    };
    let io = TokioIo::new(Tap::new(stream, Early::new(early)));
    let mut http = pin!(builder.serve_connection(io, service));
    let mut idle = Idle {
        alarm: Alarm::new(terms.header_timeout),
        limit: terms.idle_timeout,
        busy: false,
        goodbye: false,
    };
    poll_fn(|cx| {
        let last = closing.load(Ordering::Relaxed) || under_way.begun >= terms.requests;
        if last && idle.says_goodbye() {
            http.as_mut().graceful_shutdown();
        }
        if http.as_mut().poll(cx).is_ready() {
            under_way.end(cx);
            return Poll::Ready(());
        }
        under_way.poll(cx);
        if under_way.is_abuse() {
            tracing::debug!(
                listener = listener.name,
                "a client takes its requests back faster than they can be answered; cut"
            );
            return Poll::Ready(());
        }
        while idle.poll(under_way.running.is_empty(), cx).is_ready() {
            if !idle.says_goodbye() {
                return Poll::Ready(());
            }
            http.as_mut().graceful_shutdown();
            if http.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    })
    .await;
}

fn builder(listener: &Listener, streams: Streams) -> Builder<Streams> {
    // A handshake may have agreed on it by an older configuration.
    let limits = listener.http2.clone().unwrap_or_default();
    let window = |size: u64| u32::try_from(size).unwrap_or(u32::MAX >> 1);
    let head = &listener.terms.limits;
    // As HTTP/2 counts, each field is 32 bytes larger. What is within this and above ours gets our answer.
    let list = head.head + 32 * head.fields;
    let ping = Some(limits.ping_interval.0).filter(|interval| !interval.is_zero());
    let mut builder = Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_concurrent_streams)
        .initial_stream_window_size(window(limits.stream_window.0))
        .initial_connection_window_size(window(limits.connection_window.0))
        .max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MOST_PENDING_RESETS)
        .keep_alive_interval(ping)
        .keep_alive_timeout(limits.ping_timeout.0);
    if limits.websocket {
        builder.enable_connect_protocol();
    }
    builder
}

async fn answer(
    connection: &Arc<Connection>,
    mut request: Request<Incoming>,
    slot: &Arc<Slot>,
    slots: &Streams,
    terms: &Terms,
) -> Response<AnswerBody> {
    let upgrade = hyper::upgrade::on(&mut request);
    let asked = request.method().clone();
    let response = match request::sound(request, &terms.limits) {
        Ok(request) => proxy::handle(State(Arc::clone(connection)), request).await,
        Err(refusal) => proxy::refuse(connection, Refused::Rule(refusal)),
    };
    let (mut head, body) = response.into_parts();
    if let Some(bridge) = head.extensions.remove::<Bridge>() {
        strip(&mut head.headers);
        extended_connect::agree(&mut head);
        slot.agree(Agreed::new(bridge, upgrade));
        slots.begin(slot);
        return Response::from_parts(head, AnswerBody::new(body, None, true));
    }
    let rest = head.extensions.remove::<Rest>();
    strip(&mut head.headers);
    let bodiless = asked == Method::HEAD || head.status == StatusCode::NOT_MODIFIED;
    let empty = head.status == StatusCode::NO_CONTENT;
    if empty {
        head.headers.remove(CONTENT_LENGTH);
    }
    Response::from_parts(head, slot.fill(body, rest, bodiless || empty))
}

/// What says how a connection of HTTP/1.1 goes on means nothing here (RFC 9113 section 8.2.2).
fn strip(headers: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

/// The requests of one connection that are not over.
struct UnderWay {
    streams: Streams,
    running: FuturesUnordered<OneStream>,
    begun: u64,
    answered: u64,
    taken_back: u64,
}

impl UnderWay {
    fn poll(&mut self, cx: &mut Context<'_>) {
        let begun = self.streams.take();
        self.begun += begun.len() as u64;
        self.running.extend(begun);
        self.run(cx);
    }

    /// The connection has ended: what it brought last still goes on its way, and nothing begins.
    fn end(&mut self, cx: &mut Context<'_>) {
        drop(self.streams.take());
        self.run(cx);
    }

    fn run(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(ended)) = self.running.poll_next_unpin(cx) {
            match ended {
                Ended::Answered => self.answered += 1,
                Ended::TakenBack => self.taken_back += 1,
            }
        }
    }

    /// The slow way of a rapid reset; the fast one is seen by h2.
    fn is_abuse(&self) -> bool {
        self.taken_back > self.answered + MOST_TAKEN_BACK
    }
}

impl Drop for UnderWay {
    /// A stream that was not taken holds the executor that holds it.
    fn drop(&mut self) {
        drop(self.streams.take());
    }
}

/// How long a connection may be without requests.
struct Idle {
    alarm: Alarm,
    limit: Duration,
    busy: bool,
    goodbye: bool,
}

impl Idle {
    /// Has it not been said before?
    fn says_goodbye(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.goodbye, true);
        if first {
            self.alarm.set(GOODBYE);
        }
        first
    }

    fn poll(&mut self, idle: bool, cx: &mut Context<'_>) -> Poll<()> {
        if !idle {
            self.busy = true;
            return Poll::Pending;
        }
        if std::mem::take(&mut self.busy) {
            let limit = if self.goodbye { GOODBYE } else { self.limit };
            self.alarm.set(limit);
        }
        self.alarm.poll(cx)
    }
}
