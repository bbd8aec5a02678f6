//! The access log: one line a request, formatted and written off the workers.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use http::request::Parts;
use http::{Method, Version};
use jiff::Timestamp;
use prometheus::IntCounter;

use super::trace::{RequestId, trace_id};
use crate::config::UNIX;
use crate::metrics::RouteRow;
use crate::why::Why;

/// Lines that may wait for the writer. More are dropped and counted: a slow terminal or disk must
/// not hold a request up.
pub(super) const WAITING: usize = 16 * 1024;

/// The workers' end of the log.
#[derive(Debug, Clone)]
pub struct AccessSink {
    lines: SyncSender<Box<AccessLine>>,
    dropped: IntCounter,
}

impl AccessSink {
    pub(super) fn new(dropped: IntCounter) -> (Self, Receiver<Box<AccessLine>>) {
        let (lines, written) = sync_channel(WAITING);
        (Self { lines, dropped }, written)
    }

    pub(super) fn send(&self, line: Box<AccessLine>) {
        if self.lines.try_send(line).is_err() {
            self.dropped.inc();
        }
    }
}

/// What one line tells. Filled with copies on the worker, none of which keeps the buffer that was read
/// into; the log's thread makes text of it.
#[derive(Debug)]
pub(crate) struct AccessLine {
    generation: u64,
    client_ip: Option<IpAddr>,
    method: Method,
    path: String,
    version: Version,
    host: String,
    trace_id: Option<String>,
    /// The same as `{request_id}` in a header rule and `x-request-id` of an error.
    request_id: String,
    pub upstream: Option<String>,
    /// Gates that only observe, and would have refused it.
    pub observed: Vec<&'static str>,
    end: Option<End>,
}

#[derive(Debug)]
struct End {
    at: Timestamp,
    row: Arc<RouteRow>,
    status: u16,
    why: Why,
    duration: Duration,
    ttfb: Option<Duration>,
    bytes: (u64, u64),
}

impl AccessLine {
    /// A client without an address came by a unix socket.
    pub(crate) fn new(
        head: &Parts,
        host: &str,
        client_ip: Option<IpAddr>,
        request_id: &RequestId,
        generation: u64,
    ) -> Self {
        Self {
            generation,
            client_ip,
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            version: head.version,
            host: host.to_owned(),
            trace_id: trace_id(&head.headers).map(str::to_owned),
            request_id: request_id.as_str().to_owned(),
            upstream: None,
            observed: Vec::new(),
            end: None,
        }
    }

    pub(super) fn close(
        &mut self,
        row: &Arc<RouteRow>,
        status: u16,
        why: Why,
        duration: Duration,
        ttfb: Option<Duration>,
        bytes: (u64, u64),
    ) {
        let (at, row) = (Timestamp::now(), Arc::clone(row));
        self.end = Some(End {
            at,
            row,
            status,
            why,
            duration,
            ttfb,
            bytes,
        });
    }

    /// Runs on the log's thread. The query is left out: it is where secrets are.
    fn write(&self) {
        let Some(end) = &self.end else { return };
        let millis = |duration: Duration| duration.as_micros() as f64 / 1000.0;
        let path = self.path.as_str();
        let client_ip = self.client_ip.map(|address| address.to_string());
        let observed = (!self.observed.is_empty()).then(|| self.observed.join(" "));
        let trace_id = self.trace_id.as_deref().unwrap_or(&self.request_id);
        tracing::info!(
            target: super::logs::ACCESS,
            timestamp = %end.at,
            trace_id,
            request_id = self.request_id,
            client_ip = client_ip.as_deref().unwrap_or(UNIX),
            method = %self.method,
            host = self.host,
            path,
            protocol = ?self.version,
            status = end.status,
            route = end.row.name(),
            upstream = self.upstream,
            generation = self.generation,
            why = end.why.word(),
            observed,
            duration_ms = millis(end.duration),
            upstream_ms = end.ttfb.map(millis),
            bytes_in = end.bytes.0,
            bytes_out = end.bytes.1,
            "{} {} {}",
            self.method,
            path,
            end.status,
        );
    }
}

/// Writes lines until the last sender is gone.
pub(super) fn write_all(lines: &Receiver<Box<AccessLine>>) {
    for line in lines {
        line.write();
    }
}
