//! Noticing that the file may have changed: events of its directory and of itself, and a slow poll
//! beside them for whatever sends no events.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::source::ConfigSource;
use super::{polls, watches};
use crate::config::{Reload, ReloadMode, Time};

/// Wakes when it is worth looking. It decides nothing: the content does.
pub(super) struct Watch {
    mode: ReloadMode,
    poll_interval: Time,
    poll_at: Instant,
    signal: Arc<Signal>,
    watcher: Option<RecommendedWatcher>,
    places: Places,
}

/// What the watcher's thread tells.
#[derive(Debug, Default)]
struct Signal {
    notify: Notify,
    /// Files written to and not closed since. Bounded by what the directory holds.
    open: Mutex<BTreeSet<PathBuf>>,
}

/// What is watched, with the identity it had then: a directory that was made anew is another, and
/// sends nothing to the old watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Places(Vec<(PathBuf, (u64, u64))>);

impl Watch {
    pub(super) fn new(source: &ConfigSource, settings: &Reload) -> Self {
        let mut watch = Self {
            mode: settings.mode,
            poll_interval: settings.poll_interval,
            poll_at: Instant::now() + settings.poll_interval.0,
            signal: Arc::default(),
            watcher: None,
            places: Places::default(),
        };
        watch.rebuild(source);
        if let Some(path) = source.path().filter(|path| is_mount_point(path)) {
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
        if polls(self.mode) {
            tokio::select! {
                () = self.signal.notify.notified() => {}
                () = sleep_until(self.poll_at) => {}
            }
            self.poll_at = Instant::now() + self.poll_interval.0;
        } else {
            self.signal.notify.notified().await;
        }
    }

    /// Has somebody written to the file and not closed it?
    pub(super) fn writer_is_busy(&self) -> bool {
        let open = self
            .signal
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.places.0.iter().any(|(place, _)| open.contains(place))
    }

    /// Follows changed settings, and files and directories that were replaced.
    pub(super) fn refresh(&mut self, source: &ConfigSource, settings: &Reload) {
        let changed = self.mode != settings.mode || self.poll_interval != settings.poll_interval;
        (self.mode, self.poll_interval) = (settings.mode, settings.poll_interval);
        if changed {
            self.poll_at = Instant::now() + self.poll_interval.0;
        }
        if changed || self.places != Places::of(source) {
            self.rebuild(source);
        }
    }

    fn rebuild(&mut self, source: &ConfigSource) {
        let had = self.watcher.take().is_some();
        self.places = Places::of(source);
        self.signal
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        if self.places.0.is_empty() || !watches(self.mode) {
            return;
        }
        match watcher(&self.signal, &self.places) {
            Ok(watcher) => self.watcher = Some(watcher),
            // Once, not at each look.
            Err(error) if had || self.places.0.is_empty() => {
                tracing::debug!(%error, "cannot watch");
            }
            Err(error) => {
                let seconds = self.poll_interval.0.as_secs_f64();
                tracing::warn!(
                    %error,
                    "cannot watch the configuration; polling it every {seconds} s instead"
                );
            }
        }
        // What changed between the last look and the new watch.
        self.signal.notify.notify_one();
    }
}

impl Places {
    /// The directory of the path as given and of the file that it leads to, and both files.
    fn of(source: &ConfigSource) -> Self {
        let Some(path) = source.path() else {
            return Self::default();
        };
        let resolved = path.canonicalize().ok();
        let files: BTreeSet<PathBuf> = [Some(path.to_owned()), resolved]
            .into_iter()
            .flatten()
            .collect();
        let directories: BTreeSet<PathBuf> = files.iter().map(|file| directory(file)).collect();
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
}

fn directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn watcher(signal: &Arc<Signal>, places: &Places) -> notify::Result<RecommendedWatcher> {
    let signal = Arc::clone(signal);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // An error is a reason to look, too: the queue may have overflowed.
        if event.as_ref().map_or(true, |event| signal.note(event)) {
            signal.notify.notify_one();
        }
    })?;
    for (place, _) in &places.0 {
        watcher.watch(place, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

impl Signal {
    /// Is the event a reason to look? Being read, as we do it ourselves, is none. Any name is: a
    /// ConfigMap changes under the name of a link beside the file.
    fn note(&self, event: &Event) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                open.retain(|path| !event.paths.contains(path));
            }
            EventKind::Access(_) => return event.need_rescan(),
            EventKind::Modify(ModifyKind::Data(_)) => open.extend(event.paths.iter().cloned()),
            EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => {
                open.retain(|path| !event.paths.contains(path));
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
