//! Noticing that a file may have changed, be it the configuration or one of those that it names: events of its
//! directory and of itself, and a slow poll beside them for whatever sends no events.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{polls, watches};
use crate::config::{Reload, ReloadMode, Time};

/// Wakes when it is worth looking. It decides nothing: the content does.
pub(super) struct Watch {
    mode: ReloadMode,
    poll_interval: Time,
    poll_at: Instant,
    signal: Arc<Signal>,
    watcher: Option<Running>,
    /// The operator knows that there is none.
    told: bool,
    places: Places,
}

/// A watcher with a thread of its own, shared with whoever waits for that.
type Running = Arc<Mutex<RecommendedWatcher>>;

/// What the watcher's thread tells.
#[derive(Debug, Default)]
struct Signal {
    notify: Notify,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Files written to and not closed since. Bounded by what the directory holds.
    open: BTreeSet<PathBuf>,
    /// A place was removed or renamed, and its watch ends with it.
    ended: bool,
}

/// What is watched, with the identity it had then: a directory that was made anew is another, and
/// sends nothing to the old watch. (It may be given the same inode number again; then only the
/// event of its removal tells.)
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Places(Vec<(PathBuf, (u64, u64))>);

impl Watch {
    pub(super) fn new(files: &[PathBuf], settings: &Reload) -> Self {
        let mut watch = Self {
            mode: settings.mode,
            poll_interval: settings.poll_interval,
            poll_at: Instant::now() + settings.poll_interval.0,
            signal: Arc::default(),
            watcher: None,
            told: false,
            places: Places::default(),
        };
        watch.rebuild(files);
        for path in files.iter().filter(|path| is_mount_point(path)) {
            tracing::warn!(
                file = %path.display(),
                "the configuration is mounted as a single file: edits that replace the file \
                 cannot be seen; mount its directory instead"
            );
        }
        watch
    }

    /// Resolves when an event came, or when it is time to look without one.
    pub(super) async fn changed(&mut self) {
        let unwatched = watches(self.mode) && self.watcher.is_none();
        if polls(self.mode) || unwatched {
            tokio::select! {
                () = self.signal.notify.notified() => {}
                () = sleep_until(self.poll_at) => {}
            }
            self.poll_at = Instant::now() + self.poll_interval.0;
        } else {
            self.signal.notify.notified().await;
        }
    }

    /// Has somebody written to the file and not closed it, by now?
    pub(super) async fn writer_is_busy(&self) -> bool {
        catch_up(self.watcher.as_ref()).await;
        let seen = self.signal.seen();
        let mut places = self.places.0.iter();
        places.any(|(place, _)| seen.open.contains(place))
    }

    /// Follows changed settings, and files and directories that were replaced.
    pub(super) async fn refresh(&mut self, files: &[PathBuf], settings: &Reload) {
        let changed = self.mode != settings.mode || self.poll_interval != settings.poll_interval;
        (self.mode, self.poll_interval) = (settings.mode, settings.poll_interval);
        if changed {
            self.poll_at = Instant::now() + self.poll_interval.0;
        }
        let ended = std::mem::take(&mut self.signal.seen().ended);
        let unwatched = watches(self.mode) && self.watcher.is_none();
        if changed || ended || unwatched || self.places != Places::of(files) {
            // The one before ends after the new one has begun, so that no event is missed between,
            // and not before it has told what it knows.
            let before = self.watcher.take();
            self.rebuild(files);
            catch_up(before.as_ref()).await;
        }
    }

    fn rebuild(&mut self, files: &[PathBuf]) {
        self.places = Places::of(files);
        // Whoever writes now does so still when the watcher is another.
        let places = &self.places;
        let watched = |path: &Path| path.parent().is_some_and(|parent| places.holds(parent));
        self.signal.seen().open.retain(|path| watched(path));
        if self.places.0.is_empty() || !watches(self.mode) {
            return;
        }
        match watcher(&self.signal, &self.places) {
            Ok(watcher) => {
                self.watcher = Some(Arc::new(Mutex::new(watcher)));
                if std::mem::take(&mut self.told) {
                    tracing::info!("the configuration is watched again");
                }
                // What changed between the last look and the new watch.
                self.signal.notify.notify_one();
            }
            // Once, not at each look; and what vanishes in this moment is no lack of watches.
            Err(error) if self.told || matches!(error.kind, ErrorKind::PathNotFound) => {
                tracing::debug!(%error, "cannot watch");
            }
            Err(error) => {
                self.told = true;
                let seconds = self.poll_interval.0.as_secs_f64();
                tracing::warn!(
                    %error,
                    "cannot watch the configuration; polling it every {seconds} s instead"
                );
            }
        }
    }
}

impl Places {
    /// For each file: the directory of the path as given and of what it leads to, and both files.
    fn of(files: &[PathBuf]) -> Self {
        // Absolute, as the paths of events are.
        let both = |path: &PathBuf| [std::path::absolute(path).ok(), path.canonicalize().ok()];
        let files: BTreeSet<PathBuf> = files.iter().flat_map(both).flatten().collect();
        let directories = files.iter().filter_map(|file| file.parent());
        let directories: BTreeSet<PathBuf> = directories.map(Path::to_owned).collect();
        let place = |path: PathBuf| {
            let meta = std::fs::metadata(&path).ok()?;
            Some((path, (meta.dev(), meta.ino())))
        };
        Self(
            directories
                .into_iter()
                .chain(files)
                .filter_map(place)
                .collect(),
        )
    }

    fn holds(&self, path: &Path) -> bool {
        self.0.iter().any(|(place, _)| place == path)
    }
}

/// Waits until all that has happened so far is noted. On a busy machine the watcher's thread may be
/// late, and a writer that it has not told of would be taken for none.
async fn catch_up(watcher: Option<&Running>) {
    let Some(watcher) = watcher.map(Arc::clone) else {
        return;
    };
    // There is nothing to configure: what counts is that the thread answers, after the events that
    // came before the question.
    let asked = tokio::task::spawn_blocking(move || {
        let mut watcher = watcher.lock().unwrap_or_else(PoisonError::into_inner);
        watcher.configure(notify::Config::default())
    });
    if let Ok(Err(error)) = asked.await {
        tracing::debug!(%error, "the watcher does not answer");
    }
}

fn watcher(signal: &Arc<Signal>, places: &Places) -> notify::Result<RecommendedWatcher> {
    let (signal, watched) = (Arc::clone(signal), places.clone());
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // An error is a reason to look, too: the queue may have overflowed.
        let worth = event.map_or(true, |event| signal.note(&event, &watched));
        if worth {
            signal.notify.notify_one();
        }
    })?;
    for (place, _) in &places.0 {
        watcher.watch(place, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

impl Signal {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is the event a reason to look? Being read, as we do it ourselves, is none. Any name is: a
    /// ConfigMap changes under the name of a link beside the file.
    fn note(&self, event: &Event, watched: &Places) -> bool {
        let mut seen = self.seen();
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                seen.open.retain(|path| !event.paths.contains(path));
            }
            EventKind::Access(_) => return event.need_rescan(),
            EventKind::Modify(ModifyKind::Data(_)) => {
                seen.open.extend(event.paths.iter().cloned());
            }
            EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => {
                seen.open.retain(|path| !event.paths.contains(path));
                seen.ended |= event.paths.iter().any(|path| watched.holds(path));
            }
            _ => {}
        }
        true
    }
}

/// A file on another device than its directory is mounted by itself; so is one that the kernel
/// lists as a mount point.
fn is_mount_point(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else {
        return false;
    };
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    path.to_str()
        .is_some_and(|path| points.into_iter().any(|point| point == path))
}
