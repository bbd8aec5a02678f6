//! The composition root: builds everything once, runs it, and ends it in good order.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::net::TcpListener;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;

use crate::admin::{self, Admin};
use crate::config::{Address, Config, KeyPath, Problem, Report};
use crate::demo::Demo;
use crate::metrics::Metrics;
use crate::reload::{self, ConfigSource, Follower, Parts, Reading, Reloader, SharedStatus};
use crate::server::{Listeners, Workers, raise_open_files};
use crate::snapshot::{Compiled, Live, Surroundings, compile};
use crate::telemetry::Logs;

/// Why the process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the configuration is refused")]
    Refused(Vec<Report>),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// What runs, for the line that tells people.
#[derive(Debug)]
pub struct Started {
    pub config: String,
    pub listeners: Vec<(String, Address)>,
    pub admin: SocketAddr,
}

/// Runs until a signal ends it. `tell` is called once everything serves.
pub fn run(source: ConfigSource, tell: impl FnOnce(&Started)) -> Result<ExitCode, StartError> {
    let control = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = control.block_on(async {
        let app = App::start(source).await?;
        tell(&app.started);
        app.serve().await
    });
    // The admin side and the demo origin have nothing to finish.
    control.shutdown_background();
    ended
}

struct App {
    started: Started,
    reloader: Reloader,
    asked: Asked,
    admin: Admin,
    admin_socket: TcpListener,
    live: Arc<Live>,
    logs: Arc<Mutex<Logs>>,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

type Asked = tokio::sync::mpsc::Receiver<tokio::sync::oneshot::Sender<reload::Outcome>>;

/// Everything about a start that can be refused, before anything runs.
struct Checked {
    reading: Reading,
    config: Config,
    workers: usize,
    metrics: Arc<Metrics>,
    demo: Demo,
    compiled: Compiled,
    admin_socket: TcpListener,
}

impl Checked {
    async fn new(source: &ConfigSource) -> Result<Self, StartError> {
        let reading = source.read_now();
        let refused =
            |problems: Vec<Problem>| StartError::Refused(source.reports(&reading, &problems));
        let config = source.parse(&reading).map_err(refused)?;
        let workers = worker_count(&config);
        let metrics = Arc::new(Metrics::new(workers, &config.metrics.buckets)?);
        metrics.watch(runtime::Handle::current());
        let mut demo = Demo::default();
        let address = if config.uses_demo() {
            demo.address()?
        } else {
            None
        };
        let surroundings = Surroundings {
            metrics: &metrics,
            workers,
            demo: address,
        };
        let compiled = compile(&config, None, surroundings).map_err(refused)?;
        let admin_socket = bind_admin(&config)
            .await
            .map_err(|problem| refused(vec![problem]))?;
        Ok(Self {
            reading,
            config,
            workers,
            metrics,
            demo,
            compiled,
            admin_socket,
        })
    }
}

impl App {
    async fn start(source: ConfigSource) -> Result<Self, StartError> {
        let (terminate, interrupt, hangup) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        );
        let checked = Checked::new(&source).await?;
        let Checked {
            reading,
            config,
            workers,
            metrics,
            demo,
            compiled,
            admin_socket,
        } = checked;
        let Compiled { snapshot, warnings } = compiled;

        // The sink is dropped first, which the logs wait for, should anything below fail.
        let (logs, access) = Logs::start(&config.log, metrics.log_lines_dropped.clone())?;
        let live = Arc::new(Live::new(snapshot));
        let most = most_connections(&config);
        let workers_run = Workers::start(workers, most, &live, &metrics, &access)?;
        let name = source.name();
        let parts = Parts {
            source,
            live: Arc::clone(&live),
            listeners: Listeners::new(workers_run),
            metrics: Arc::clone(&metrics),
            logs: Arc::clone(&logs),
            demo,
            workers,
        };
        let (reloader, status) =
            Reloader::start(parts, config, &reading, &warnings).map_err(StartError::Refused)?;
        let (reload, asked) = reload::Handle::new();
        let ready = Arc::new(AtomicBool::new(true));
        let started = Started {
            config: name,
            listeners: addresses(&status),
            admin: admin_socket.local_addr()?,
        };
        let admin = Admin {
            metrics,
            logs: Arc::clone(&logs),
            status,
            reload,
            ready,
        };
        Ok(Self {
            started,
            reloader,
            asked,
            admin,
            admin_socket,
            live,
            logs,
            terminate,
            interrupt,
            hangup,
        })
    }

    async fn serve(self) -> Result<ExitCode, StartError> {
        let Self {
            mut reloader,
            asked,
            admin,
            admin_socket,
            live,
            logs,
            ..
        } = self;
        let (mut terminate, mut interrupt) = (self.terminate, self.interrupt);
        let ready = Arc::clone(&admin.ready);
        let follower = Follower::new(&reloader, self.hangup);
        tracing::info!(
            admin = %self.started.admin,
            config = self.started.config,
            version = env!("CARGO_PKG_VERSION"),
            "serving"
        );
        tokio::spawn(admin::serve(admin_socket, admin));
        tokio::select! {
            () = follower.follow(&mut reloader, asked) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        ready.store(false, Ordering::Relaxed);
        let grace = live.load().shutdown_grace;
        tracing::info!(grace_s = grace.as_secs_f64(), "stopping");
        let stopping = async {
            if let Some(workers) = reloader.into_listeners().close().await {
                let (done, joined) = tokio::sync::oneshot::channel();
                thread::spawn(move || {
                    workers.stop(grace);
                    // The other end is there until the process ends.
                    let _ = done.send(());
                });
                let _ = joined.await;
            }
        };
        tokio::select! {
            () = stopping => {
                tracing::info!("stopped");
                logs.lock().unwrap_or_else(PoisonError::into_inner).finish();
                Ok(ExitCode::SUCCESS)
            }
            _ = terminate.recv() => hurry(),
            _ = interrupt.recv() => hurry(),
        }
    }
}

/// The second signal: whoever sends it wants no more waiting, not even for the log.
#[expect(
    clippy::exit,
    reason = "worker threads are cut in the middle of what they do"
)]
fn hurry() -> ! {
    std::process::exit(130)
}

fn worker_count(config: &Config) -> usize {
    match config.server.workers {
        0 => thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

/// Half of the files that may be open: each connection may need one to an upstream.
fn most_connections(config: &Config) -> usize {
    let files = raise_open_files();
    tracing::debug!(files, "the limit of open files");
    let files = files.and_then(|files| usize::try_from(files).ok());
    let most = (files.unwrap_or(usize::MAX) / 2).clamp(16, Semaphore::MAX_PERMITS);
    config.server.max_connections.unwrap_or(most)
}

async fn bind_admin(config: &Config) -> Result<TcpListener, Problem> {
    let address = config.admin.listen.0;
    TcpListener::bind(address).await.map_err(|error| {
        let place = KeyPath::from("admin").key("listen");
        Problem::error(&place, format!("cannot listen on {address}: {error}"))
            .help("write `[admin] listen = \"127.0.0.1:9901\"` or another free address")
    })
}

fn addresses(status: &SharedStatus) -> Vec<(String, Address)> {
    let listeners = status.read().listeners.into_iter();
    listeners
        .map(|listener| (listener.name, listener.address))
        .collect()
}
