//! Worker threads: one runtime each, and every connection on one of them for its whole life.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::connection;
use crate::metrics::{Metrics, OpenConnection};
use crate::net::{Detached, Drain};
use crate::proxy::Worker;
use crate::snapshot::{Listener, Live};
use crate::telemetry::{AccessSink, Recorder};

/// The worker threads.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<Thread>,
    stopping: Arc<Drain>,
    /// One for each connection that may be open on all listeners together.
    pub(super) slots: Arc<Semaphore>,
}

/// The right to one connection: of its listener, which may have no limit, and of the process.
pub(super) type Slots = (Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>);

#[derive(Debug)]
struct Thread {
    /// Not bounded by itself: it holds at most as many sockets as the process has descriptors.
    sockets: UnboundedSender<Accepted>,
    load: Load,
    handle: JoinHandle<()>,
}

/// How many connections a worker has.
type Load = Arc<CachePadded<AtomicUsize>>;

/// A connection on its way to a worker.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: Detached,
    /// None by a unix socket.
    pub(super) peer: Option<SocketAddr>,
    pub(super) listener: Arc<Listener>,
    pub(super) held: Held,
}

/// Given back when the connection ends, or the tunnel that it became.
#[derive(Debug)]
pub(super) struct Held {
    _counted: OpenConnection,
    _loaded: Loaded,
    _slots: Slots,
}

#[derive(Debug)]
pub(super) struct Loaded(Load);

impl Drop for Loaded {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    pub fn start(
        count: usize,
        most_connections: usize,
        live: &Arc<Live>,
        metrics: &Arc<Metrics>,
        access: &AccessSink,
    ) -> io::Result<Self> {
        let stopping = Arc::new(Drain::default());
        let worker = |worker| {
            let (metrics, access) = (Arc::clone(metrics), access.clone());
            let context = Worker {
                live: Arc::clone(live),
                recorder: Arc::new(Recorder::new(worker, metrics, access)),
                tunnels: TaskTracker::new(),
                stopping: Arc::clone(&stopping),
            };
            Thread::start(worker, context)
        };
        let threads = (0..count).map(worker).collect::<io::Result<Vec<_>>>()?;
        let slots = Arc::new(Semaphore::new(most_connections));
        Ok(Self {
            threads,
            stopping,
            slots,
        })
    }

    /// Hands a socket to the worker with the fewest connections.
    pub(super) fn dispatch(
        &self,
        stream: Detached,
        peer: Option<SocketAddr>,
        listener: &Arc<Listener>,
        slots: Slots,
    ) {
        let load = |thread: &&Thread| thread.load.load(Ordering::Relaxed);
        let Some(thread) = self.threads.iter().min_by_key(load) else {
            return;
        };
        thread.load.fetch_add(1, Ordering::Relaxed);
        let accepted = Accepted {
            stream,
            peer,
            listener: Arc::clone(listener),
            held: Held {
                _counted: listener.row.open(),
                _loaded: Loaded(Arc::clone(&thread.load)),
                _slots: slots,
            },
        };
        // A worker that is gone is stopping, and drops what it gets.
        let _ = thread.sockets.send(accepted);
    }

    /// Lets requests finish for at most `grace`. The accept loops must have ended.
    pub fn stop(self, grace: Duration) {
        self.stopping.begin(Some(grace));
        let Self { threads, .. } = self;
        for Thread {
            sockets, handle, ..
        } in threads
        {
            drop(sockets);
            if handle.join().is_err() {
                tracing::error!("a worker thread had panicked");
            }
        }
    }
}

impl Thread {
    fn start(number: usize, worker: Worker) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let metrics = &worker.recorder.metrics;
        metrics.watch(runtime.handle().clone());
        let (sockets, accepted) = unbounded_channel();
        let handle = thread::Builder::new()
            .name(format!("pointsman-{number}"))
            .spawn(move || {
                runtime.block_on(run(accepted, Arc::new(worker)));
                // A look-up of a name that never ends must not hold the end of the process up.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            sockets,
            load: Load::default(),
            handle,
        })
    }
}

/// Serves until the last socket was handed over and every task has ended, or the grace has.
async fn run(mut accepted: UnboundedReceiver<Accepted>, worker: Arc<Worker>) {
    let connections = TaskTracker::new();
    while let Some(accepted) = accepted.recv().await {
        connections.spawn(connection::serve(accepted, Arc::clone(&worker)));
    }
    connections.close();
    worker.tunnels.close();
    tokio::select! {
        () = async { tokio::join!(connections.wait(), worker.tunnels.wait()); } => {}
        () = worker.stopping.over() => {
            let left = connections.len() + worker.tunnels.len();
            tracing::warn!(connections = left, "the grace is over; cutting what is left");
            worker.recorder.cut_all();
        }
    }
}
