//! Carrying a request to an upstream, and its answer back.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, Version};
use http_body::Body as _;

use super::Connection;
use super::answer::Answer;
use super::body::Counted;
use super::upgrade::{self, Ask};
use crate::message::forwarded::{self, Sender};
use crate::message::hop;
use crate::message::rules::Rendered;
use crate::message::template::Variables;
use crate::route::{Forward, Route};
use crate::snapshot::Snapshot;
use crate::telemetry::Record;
use crate::why::Why;
use crate::wire::client::AnswerBody;

/// One request on its way through.
pub(super) struct Passage<'a> {
    pub(super) connection: &'a Connection,
    pub(super) snapshot: &'a Snapshot,
    pub(super) route: &'a Arc<Route>,
    pub(super) forward: &'a Forward,
}

/// What is read off the client's request before it is changed.
pub(super) struct Prepared<'a> {
    path: Option<PathAndQuery>,
    rules: Rendered<'a>,
    authority: HeaderValue,
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
        mut head: Parts,
        body: Body,
        record: &mut Record,
    ) -> Result<Answer, Why> {
        let ask = Ask::take(&mut head);
        let client = prepared.client_ip;
        self.head(&mut head, prepared, ask.as_ref());
        let (body, progress) = observe_body(body, &mut head.headers, record);
        let upstream = &self.forward.upstream;
        if let Some(line) = record.line() {
            line.upstream = Some(upstream.name().to_owned());
        }
        record.exchange_starts();
        let worker = self.connection.worker.recorder.worker;
        let interim = &self.connection.interim;
        let relays = head.version == Version::HTTP_11;
        let relay = |status, headers: &HeaderMap| {
            if relays {
                let mut headers = headers.clone();
                hop::strip_response(&mut headers);
                interim.send(status, &headers);
            }
        };
        let client = match upstream.is_told_clients() {
            true => self.connection.relays_for(client),
            false => None,
        };
        let exchange = upstream.exchange(worker, client, &mut head, body, relay);
        let response = self
            .within(self.forward.response_timeout, progress.as_deref(), exchange)
            .await;
        let response = response.ok_or(Why::HeaderTimeout)?.map_err(|error| {
            tracing::debug!(
                upstream = upstream.name(),
                error = chain(&error),
                "exchange failed"
            );
            error.why()
        })?;
        record.exchange_answered();
        self.answer(response, ask)
    }

    /// Waits no longer than `limit` without progress: while the client still sends, the upstream need
    /// not answer.
    async fn within<T>(
        &self,
        limit: Duration,
        progress: Option<&AtomicU64>,
        exchange: impl Future<Output = T>,
    ) -> Option<T> {
        let mut exchange = std::pin::pin!(exchange);
        let sent = || progress.map_or(0, |progress| progress.load(Ordering::Relaxed));
        let mut before = sent();
        let mut alarm = self.connection.alarm(limit);
        let answer = poll_fn(|cx| {
            loop {
                if let Poll::Ready(answer) = exchange.as_mut().poll(cx) {
                    return Poll::Ready(Some(answer));
                }
                ready!(alarm.poll(cx));
                if std::mem::replace(&mut before, sent()) == sent() {
                    return Poll::Ready(None);
                }
                alarm.set(limit);
            }
        })
        .await;
        self.connection.keep(alarm);
        answer
    }

    /// Strip, then add: what belongs to the client's connection goes first, ours comes last.
    fn head(&self, head: &mut Parts, prepared: Prepared<'_>, ask: Option<&Ask>) {
        let Prepared {
            path,
            rules,
            authority,
            ..
        } = prepared;
        let headers = &mut head.headers;
        hop::strip_request(headers);
        // We answer it ourselves when the upstream begins to read.
        headers.remove(EXPECT);
        let peer = self.connection.peer();
        let sender = Sender {
            peer,
            peer_text: self.connection.peer_text.as_ref(),
            trusted: self.snapshot.trusted.contains(peer),
            authority: &authority,
            forwarded: self.forward.forwarded,
        };
        forwarded::set(headers, &sender);
        self.forward.host.apply(headers, &authority);
        rules.apply(headers);
        if let Some(ask) = ask {
            hop::set_upgrade(headers, ask.protocol().clone());
        }
        let own = || head.uri.path_and_query().cloned();
        head.uri = path
            .or_else(own)
            .map_or_else(|| Uri::from_static("/"), Uri::from);
        head.extensions.clear();
    }

    fn answer(&self, response: Response<AnswerBody>, ask: Option<Ask>) -> Result<Answer, Why> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return upgrade::accept(response, ask, self.route, self.connection);
        }
        let mut response = response;
        hop::strip_response(response.headers_mut());
        if is_event_stream(response.headers()) {
            let until = self.connection.end_of(self.route);
            return Ok(Answer::event_stream(response, until));
        }
        Ok(Answer::plain(response))
    }
}

/// A body of unknown length is sent in chunks, whatever the method.
fn observe_body(
    body: Body,
    headers: &mut HeaderMap,
    record: &mut Record,
) -> (Body, Option<Arc<AtomicU64>>) {
    if body.is_end_stream() {
        return (body, None);
    }
    if !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let bytes = record.receives();
    (
        Body::new(Counted::new(body, Arc::clone(&bytes))),
        Some(bytes),
    )
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    kind.get(..EVENT_STREAM.len())
        .is_some_and(|kind| kind.eq_ignore_ascii_case(EVENT_STREAM))
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
