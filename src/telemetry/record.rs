//! The Record of one request. It closes itself when it is dropped, wherever the request ended: in
//! the handler, in the middle of a body, or because the client left and everything was dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Method;

use super::access::{AccessLine, AccessSink};
use crate::metrics::{CallRow, MethodLabel, Metrics, RouteRow};
use crate::why::Why;

/// Says that nobody was there any more to be answered. No standard status does; this one is nginx's
/// and widely understood.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Is meant by a request that was cut before it had an answer: it could not be told any more.
const SERVICE_UNAVAILABLE: u16 = 503;

/// What every Record of one worker shares.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub worker: usize,
    pub metrics: Arc<Metrics>,
    access: AccessSink,
    /// Whatever is dropped now is dropped because its time is over. Only its worker looks at it.
    cutting: AtomicBool,
}

impl Recorder {
    pub(crate) fn new(worker: usize, metrics: Arc<Metrics>, access: AccessSink) -> Self {
        Self {
            worker,
            metrics,
            access,
            cutting: AtomicBool::new(false),
        }
    }

    /// Drops a connection whose time to drain is over. Its Records would say otherwise that the
    /// client has left.
    pub(crate) fn cut(&self, drop: impl FnOnce()) {
        self.cutting.store(true, Ordering::Relaxed);
        drop();
        self.cutting.store(false, Ordering::Relaxed);
    }

    /// Everything that is dropped from now on is cut.
    pub(crate) fn cut_all(&self) {
        self.cutting.store(true, Ordering::Relaxed);
    }

    /// Why a request ends that was dropped without a word.
    fn why_dropped(&self) -> Why {
        match self.cutting.load(Ordering::Relaxed) {
            true => Why::Draining,
            false => Why::ClientGone,
        }
    }
}

/// What a client has sent of a body. It is read by others while the body is on its way.
#[derive(Debug, Default)]
pub(crate) struct Received {
    bytes: AtomicU64,
    waits: AtomicBool,
}

impl Received {
    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Is it the client that is waited for?
    pub(crate) fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    pub(crate) fn set_waits(&self, waits: bool) {
        self.waits.store(waits, Ordering::Relaxed);
    }
}

/// One request, from its head to the last byte of its answer.
#[derive(Debug)]
pub(crate) struct Record {
    recorder: Arc<Recorder>,
    row: Option<Arc<RouteRow>>,
    started: Instant,
    method: MethodLabel,
    status: u16,
    /// None until something is known.
    why: Option<Why>,
    outcome: Outcome,
    bytes_in: Option<Arc<Received>>,
    bytes_out: u64,
    exchange_started: Option<Instant>,
    ttfb: Option<Duration>,
    overhead: Option<Duration>,
    line: Option<Box<AccessLine>>,
    call: Option<Box<Call>>,
}

/// A call of gRPC that is counted by its method.
#[derive(Debug)]
struct Call {
    row: Arc<CallRow>,
    /// As the upstream, or the proxy for it, told the client.
    code: Option<u8>,
}

/// What kind of answer it became: the lifetime of a stream is no latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answer,
    EventStream,
    Tunnel,
}

impl Record {
    pub(crate) fn start(recorder: &Arc<Recorder>, method: &Method) -> Self {
        Self {
            recorder: Arc::clone(recorder),
            row: None,
            started: Instant::now(),
            method: MethodLabel::from(method),
            status: 0,
            why: None,
            outcome: Outcome::Answer,
            bytes_in: None,
            bytes_out: 0,
            exchange_started: None,
            ttfb: None,
            overhead: None,
            line: None,
            call: None,
        }
    }

    /// Writes a log line at the end. `line` is asked only now that it is known to be wanted.
    pub(crate) fn log(&mut self, line: AccessLine) {
        self.line = Some(Box::new(line));
    }

    pub(crate) fn line(&mut self) -> Option<&mut AccessLine> {
        self.line.as_deref_mut()
    }

    /// From here on the request belongs to a route, or to none.
    pub(crate) fn routed(&mut self, row: Option<&Arc<RouteRow>>) {
        let row = Arc::clone(row.unwrap_or(&self.recorder.metrics.unmatched));
        row.shard(self.recorder.worker).started();
        self.row = Some(row);
    }

    /// It is a call of this method.
    pub(crate) fn calls(&mut self, row: &Arc<CallRow>) {
        let row = Arc::clone(row);
        self.call = Some(Box::new(Call { row, code: None }));
    }

    /// The place for the code of a call that is counted by its method.
    pub(crate) fn code(&mut self) -> Option<&mut Option<u8>> {
        self.call.as_mut().map(|call| &mut call.code)
    }

    pub(crate) fn worker(&self) -> usize {
        self.recorder.worker
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The name of the route that took the request.
    pub(crate) fn route(&self) -> Option<&str> {
        self.row.as_ref().map(|row| row.name())
    }

    /// Gives the time, for others who begin to wait now.
    pub(crate) fn exchange_starts(&mut self) -> Instant {
        *self.exchange_started.insert(Instant::now())
    }

    pub(crate) fn exchange_answered(&mut self) {
        self.ttfb = self.exchange_started.map(|started| started.elapsed());
    }

    /// The head of the answer is ready. What it took less the upstream's part is our own.
    pub(crate) fn answered(&mut self, status: u16, outcome: Outcome) {
        self.status = status;
        self.outcome = outcome;
        self.overhead = self
            .ttfb
            .map(|ttfb| self.started.elapsed().saturating_sub(ttfb));
        if outcome == Outcome::Tunnel {
            self.shard(|shard| shard.tunnel_opened());
        }
    }

    /// The counter of what the client sends, which the request's body advances on its own.
    pub(crate) fn receives(&mut self) -> Arc<Received> {
        Arc::clone(self.bytes_in.get_or_insert_default())
    }

    pub(crate) fn sent(&mut self, bytes: u64) {
        self.bytes_out += bytes;
    }

    pub(crate) fn ends(&mut self, why: Why) {
        self.why = Some(why);
    }

    fn shard(&self, act: impl FnOnce(&crate::metrics::RouteShard)) {
        if let Some(row) = &self.row {
            act(row.shard(self.recorder.worker));
        }
    }

    fn status(&self, why: Why) -> u16 {
        match why {
            Why::ClientGone => CLIENT_CLOSED_REQUEST,
            Why::Draining if self.status == 0 => SERVICE_UNAVAILABLE,
            _ => self.status,
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.row.is_none() {
            self.routed(None);
        }
        let duration = self.started.elapsed();
        let why = self.why.unwrap_or_else(|| self.recorder.why_dropped());
        let status = self.status(why);
        let bytes_in = self
            .bytes_in
            .as_ref()
            .map_or(0, |received| received.bytes());
        self.shard(|shard| {
            match self.outcome {
                Outcome::Answer => shard.duration(duration),
                Outcome::EventStream => shard.stream(duration),
                Outcome::Tunnel => {
                    shard.stream(duration);
                    shard.tunnel_closed();
                }
            }
            if let Some(ttfb) = self.ttfb {
                shard.upstream(ttfb);
            }
            if let Some(overhead) = self.overhead {
                shard.overhead(overhead);
            }
            shard.bytes(bytes_in, self.bytes_out);
            shard.ended(self.method, status, why);
        });
        if let Some(call) = self.call.take() {
            // What ended before it was told a code.
            let code = call.code.or_else(|| why.grpc_code());
            call.row.ended(self.recorder.worker, code, duration);
        }
        if let (Some(mut line), Some(row)) = (self.line.take(), &self.row) {
            line.close(
                row,
                status,
                why,
                duration,
                self.ttfb,
                (bytes_in, self.bytes_out),
            );
            self.recorder.access.send(line);
        }
    }
}
