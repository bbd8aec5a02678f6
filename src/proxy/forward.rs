//! Carrying a request to an upstream, and its answer back.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use http_body::Body as _;
use tokio::time::{Instant, sleep_until};

use super::answer::Answer;
use super::body::Watch;
use super::upgrade::{self, Ask};
use super::upload::Upload;
use super::{Connection, Until};
use crate::message::fault::chain;
use crate::message::fields::lines;
use crate::message::rules::Rendered;
use crate::message::target::Authority;
use crate::message::template::Variables;
use crate::message::{grpc, hop};
use crate::net::Patience;
use crate::route::{Forward, Route};
use crate::snapshot::Snapshot;
use crate::telemetry::{Received, Record};
use crate::upstream::Caller;
use crate::why::Why;
use crate::wire::client::AnswerBody;

/// One request on its way through.
pub(super) struct Passage<'a> {
    pub(super) connection: &'a Connection,
    pub(super) snapshot: &'a Snapshot,
    pub(super) route: &'a Arc<Route>,
    pub(super) forward: &'a Forward,
    /// May the peer say on whose behalf it asks?
    pub(super) trusted: bool,
}

/// What is read off the client's request before it is changed.
pub(super) struct Prepared<'a> {
    path: Option<PathAndQuery>,
    rules: Rendered<'a>,
    authority: Authority,
    client_ip: Option<IpAddr>,
}

pub(super) fn prepare<'a>(
    forward: &'a Forward,
    variables: &Variables<'_>,
    head: &Parts,
) -> Result<Prepared<'a>, Why> {
    Ok(Prepared {
        path: forward.rewrite.apply(variables.target),
        rules: forward
            .request_rules
            .render(variables)
            .ok_or(Why::BadRequest)?,
        authority: variables.target.authority_value(head),
        client_ip: variables.client_ip,
    })
}

impl Passage<'_> {
    pub(super) async fn carry(
        &self,
        prepared: Prepared<'_>,
        head: &mut Parts,
        body: Body,
        record: &mut Record,
    ) -> Result<Answer, Why> {
        let ask = Ask::take(head, &self.forward.upgrades)?;
        let version = head.version;
        let end = self.end(head, record.started());
        let Prepared {
            path,
            rules,
            authority,
            client_ip: client,
        } = prepared;
        let (said, forwarded) = self.head(head, path, rules, &authority, ask.as_ref());
        // HTTP/2 has a place for them in every answer, and whoever speaks it reads over it at least.
        let trailers = said || version == Version::HTTP_2;
        let (body, received) = self.upload(body, &mut head.headers, record)?;
        let upstream = &self.forward.upstream;
        if let Some(line) = record.line() {
            line.upstream = Some(upstream.name().to_owned());
        }
        let now = Instant::from_std(record.exchange_starts());
        let interim = &self.connection.interim;
        let relay = |status, headers: &HeaderMap| {
            if version == Version::HTTP_11
                && let Some(interim) = interim
            {
                let mut headers = headers.clone();
                hop::strip_response(&mut headers);
                headers.remove(CONTENT_LENGTH);
                interim.send(status, &headers);
            }
        };
        let caller = Caller {
            worker: self.connection.worker.recorder.worker,
            now,
            client: match upstream.is_told_clients() {
                true => self.connection.relays_for(client),
                false => None,
            },
            forwarded,
            upgrades: ask.is_some(),
        };
        // Pinned where it is made, because it is large.
        let exchange = std::pin::pin!(upstream.exchange(caller, head, body, relay));
        let response = self.within(now, received.as_deref(), end, exchange).await?;
        let response = response.map_err(|error| {
            let (upstream, error_chain) = (upstream.name(), chain(&error));
            tracing::debug!(upstream, error = error_chain, "exchange failed");
            error.why()
        })?;
        record.exchange_answered();
        self.answer(
            response,
            ask,
            Ends {
                end,
                received,
                trailers,
            },
        )
    }

    /// When all of it has to be over: by the route, or because nobody waits any longer.
    fn end(&self, head: &Parts, started: std::time::Instant) -> Option<End> {
        let end = |limit, why| {
            let at = Instant::from_std(started).checked_add(limit)?;
            Some(End { at, why })
        };
        let total = self.forward.timeouts.total;
        let total = total.and_then(|total| end(total, Why::TotalTimeout));
        let deadline = grpc::is_call(head)
            .then(|| grpc::timeout(&head.headers))
            .flatten();
        let deadline = deadline.and_then(|limit| end(limit, Why::DeadlineExceeded));
        [total, deadline]
            .into_iter()
            .flatten()
            .min_by_key(|end| end.at)
    }

    /// Waits for the answer's head no longer than the route says: while the client still sends, the
    /// upstream need not answer.
    async fn within<F: Future>(
        &self,
        now: Instant,
        received: Option<&Received>,
        end: Option<End>,
        mut exchange: Pin<&mut F>,
    ) -> Result<F::Output, Why> {
        let limit = self.forward.timeouts.response;
        let left = |now| move |end: End| end.at.saturating_duration_since(now).min(limit);
        let limit = |now| end.map_or(limit, left(now));
        let sent = || received.map_or(0, Received::bytes);
        let (mut before, mut last) = (sent(), now);
        let mut alarm = self.connection.alarm(now, limit(now));
        let answer = poll_fn(|cx| {
            loop {
                if let Poll::Ready(answer) = exchange.as_mut().poll(cx) {
                    return Poll::Ready(Ok(answer));
                }
                if std::mem::replace(&mut before, sent()) != before {
                    last = Instant::now();
                }
                ready!(alarm.poll(cx));
                if let Some(end) = end.filter(|end| Instant::now() >= end.at) {
                    return Poll::Ready(Err(end.why));
                }
                // A client that stalls has a limit of its own.
                let now = Instant::now();
                if received.is_some_and(Received::waits) {
                    last = now;
                }
                let left = (last + self.forward.timeouts.response).saturating_duration_since(now);
                if left.is_zero() {
                    return Poll::Ready(Err(Why::HeaderTimeout));
                }
                alarm.set(limit(now).min(left));
            }
        })
        .await;
        self.connection.keep(alarm);
        answer
    }

    /// A body of unknown length is sent in chunks, whatever the method.
    fn upload(
        &self,
        body: Body,
        headers: &mut HeaderMap,
        record: &mut Record,
    ) -> Result<(Body, Option<Arc<Received>>), Why> {
        if body.is_end_stream() {
            return Ok((body, None));
        }
        let Forward {
            max_body, timeouts, ..
        } = self.forward;
        if body.size_hint().lower() > *max_body {
            return Err(Why::BodyTooLarge);
        }
        if !headers.contains_key(CONTENT_LENGTH) {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let received = record.receives();
        let counted = Arc::clone(&received);
        let never = self.snapshot.identity_headers.clone();
        let body = Upload::new(body, counted, *max_body, timeouts.idle, self.trusted, never);
        Ok((Body::new(body), Some(received)))
    }

    fn answer(
        &self,
        mut response: Response<AnswerBody>,
        ask: Option<Ask>,
        ends: Ends,
    ) -> Result<Answer, Why> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return upgrade::accept(response, ask, self.route, self.connection);
        }
        if ask.is_some_and(|ask| !ask.is_refused_by(response.status())) {
            return Err(Why::UpstreamInvalid);
        }
        hop::strip_response(response.headers_mut());
        let events = is_event_stream(response.headers());
        let whole = matches!(response.body(), AnswerBody::Empty | AnswerBody::Whole(_));
        let watch = (events || !whole).then(|| Box::new(self.watch(events, ends)));
        Ok(Answer::forwarded(response, events, watch))
    }

    fn watch(&self, events: bool, ends: Ends) -> Watch {
        let drained = events.then(|| self.connection.end_of(self.route));
        let total = ends.end.map(|end| -> Until {
            Box::pin(async move {
                sleep_until(end.at).await;
                end.why
            })
        });
        let until = match (drained, total) {
            (Some(drained), Some(total)) => Some(Box::pin(async move {
                tokio::select! { why = drained => why, why = total => why }
            }) as Until),
            (drained, total) => drained.or(total),
        };
        let received = ends.received.unwrap_or_default();
        Watch {
            until,
            idle: if events {
                // Between two events there may be pauses, as in a tunnel.
                self.forward.upgrades.idle
            } else {
                self.forward.timeouts.idle
            },
            patience: Patience::default(),
            alarm: None,
            received,
            trailers: ends.trailers,
        }
    }
}

/// When a request has to be over, and why.
#[derive(Debug, Clone, Copy)]
struct End {
    at: Instant,
    why: Why,
}

/// What limits the body of an answer.
struct Ends {
    end: Option<End>,
    received: Option<Arc<Received>>,
    trailers: bool,
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = lines(headers, &CONTENT_TYPE)
        .next()
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    kind.get(..EVENT_STREAM.len())
        .is_some_and(|kind| kind.eq_ignore_ascii_case(EVENT_STREAM))
}
