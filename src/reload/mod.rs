//! From an edit to a new generation: watch, settle, and the sequence check, publish, commit,
//! retire. All of it runs on the control thread; parsing and compiling beside it.

mod apply;
mod authority;
mod check;
mod named;
mod retired;
mod settle;
mod source;
mod status;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

pub use apply::{Parts, Reloader};
pub use authority::authority_certificate;
pub use check::check;
pub use source::{ConfigSource, Reading};
pub use status::{Outcome, SharedStatus, Status};

use crate::config::{Reload, ReloadMode};
use settle::{Decision, Settling};
use watch::Watch;

/// How others ask for a reload.
#[derive(Debug, Clone)]
pub struct Handle(mpsc::Sender<oneshot::Sender<Outcome>>);

impl Handle {
    pub fn new() -> (Self, mpsc::Receiver<oneshot::Sender<Outcome>>) {
        let (asks, asked) = mpsc::channel(16);
        (Self(asks), asked)
    }

    /// Reads the file now and answers when it is applied or refused; none if the process is ending.
    pub async fn reload(&self) -> Option<Outcome> {
        let (answer, outcome) = oneshot::channel();
        self.0.send(answer).await.ok()?;
        outcome.await.ok()
    }
}

/// Follows the file and what is asked of it.
pub struct Follower {
    watch: Watch,
    hangup: Signal,
}

impl Follower {
    /// From now on no edit is missed.
    pub fn new(reloader: &Reloader, hangup: Signal) -> Self {
        let watch = Watch::new(&reloader.files(), reloader.settings());
        Self { watch, hangup }
    }

    /// Runs for ever.
    pub async fn follow(
        self,
        reloader: &mut Reloader,
        mut asked: mpsc::Receiver<oneshot::Sender<Outcome>>,
    ) {
        let Self {
            mut watch,
            mut hangup,
        } = self;
        let mut look = Look::default();
        loop {
            tokio::select! {
                Some(answer) = asked.recv() => {
                    let outcome = reloader.reload_now().await;
                    // Whoever asked may have gone.
                    let _ = answer.send(outcome);
                }
                Some(()) = hangup.recv() => {
                    tracing::info!("SIGHUP: reloading");
                    reloader.reload_now().await;
                }
                () = watch.changed() => look.take(reloader, &watch).await,
                () = sleep_until(look.again), if look.settling.is_some() => {
                    look.take(reloader, &watch).await;
                }
                () = sleep(SWEEP), if reloader.has_retired() => {}
            }
            watch.refresh(&reloader.files(), reloader.settings()).await;
            reloader.sweep();
        }
    }
}

/// A change that is being waited for to come to rest.
struct Look {
    settling: Option<Settling>,
    again: Instant,
    absent: Absence,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            settling: None,
            again: Instant::now(),
            absent: Absence::default(),
        }
    }
}

impl Look {
    async fn take(&mut self, reloader: &mut Reloader, watch: &Watch) {
        let written = watch.writer_is_busy().await;
        let reading = reloader.read().await;
        // A writer that was done by now may have been in the middle of it when we read.
        let busy = written || watch.writer_is_busy().await;
        self.absent.note(reading.hash().is_none(), reloader);
        if !reloader.is_news(&reading) {
            self.settling = None;
            return;
        }
        let Reload {
            settle, max_wait, ..
        } = *reloader.settings();
        let new = || Settling::new(settle.0, max_wait.0);
        let settling = self.settling.get_or_insert_with(new);
        let parses = || reloader.source().parse(&reading).is_ok();
        match settling.observe(Instant::now(), reading.hash(), busy, parses) {
            Decision::Wait(time) => self.again = Instant::now() + time,
            Decision::Settled => {
                self.settling = None;
                reloader.reload(reading).await;
            }
        }
    }
}

/// A file that is gone or empty is one that is being saved, for a while. Then the operator should
/// know.
#[derive(Debug, Default)]
struct Absence {
    since: Option<Instant>,
    told: bool,
}

impl Absence {
    fn note(&mut self, absent: bool, reloader: &Reloader) {
        if !absent {
            *self = Self::default();
            return;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() > PATIENCE && !self.told {
            self.told = true;
            let file = reloader.source().name();
            tracing::warn!(
                file,
                "the configuration file is missing or empty; nothing changes"
            );
        }
    }
}

/// Does this mode look at the clock?
fn polls(mode: ReloadMode) -> bool {
    matches!(mode, ReloadMode::Auto | ReloadMode::Poll)
}

/// Does this mode take events?
fn watches(mode: ReloadMode) -> bool {
    matches!(mode, ReloadMode::Auto | ReloadMode::Watch)
}

/// Old snapshots are looked after this often while there are any.
const SWEEP: Duration = Duration::from_millis(250);

/// After this time without content a save is not under way any more.
const PATIENCE: Duration = Duration::from_secs(10);

type Shared<T> = Arc<std::sync::Mutex<T>>;
