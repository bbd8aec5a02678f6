//! Which servers are well: what the last probes said of each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::sleep;

use super::probe::probe;
use super::{Server, Upstream};

/// How servers are asked, and what their answers make of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Check {
    pub question: Question,
    /// Between two probes.
    pub interval: Duration,
    pub timeout: Duration,
    /// Good answers in a row that make a server well again.
    pub healthy: u32,
    /// Failures in a row that make it not well.
    pub unhealthy: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Question {
    /// A GET of this path, which 2xx and 3xx answer well.
    Http(String),
    /// gRPC's health protocol, for this service; empty for the server as a whole.
    Grpc(String),
}

/// The health of one upstream's servers, in their order.
#[derive(Debug)]
pub(crate) struct Health {
    check: Check,
    marks: Vec<Arc<Mark>>,
    /// Servers are asked as this upstream speaks to them.
    started: AtomicBool,
}

/// What is known of one server. Its probes go on for as long as anybody holds it.
#[derive(Debug)]
pub(super) struct Mark {
    server: Server,
    /// Until probes have said otherwise.
    well: Arc<AtomicBool>,
    /// As the server is spoken to now; none before the first probe.
    prober: Mutex<Option<Arc<Upstream>>>,
}

impl Health {
    /// Servers that were asked the same before are as they were.
    pub(crate) fn new(check: Check, servers: &[Server], before: Option<&Self>) -> Self {
        let before = before.filter(|before| before.check == check);
        let before = before.map_or(&[][..], |before| &before.marks);
        let mark = |server: &Server| {
            let known = before.iter().find(|known| known.server == *server);
            known.cloned().unwrap_or_else(|| {
                Arc::new(Mark {
                    server: server.clone(),
                    well: Arc::new(AtomicBool::new(true)),
                    prober: Mutex::default(),
                })
            })
        };
        let marks = servers.iter().map(mark).collect();
        Self {
            check,
            marks,
            started: AtomicBool::new(false),
        }
    }

    pub(super) fn is_well(&self, server: usize) -> bool {
        self.marks[server].well.load(Ordering::Relaxed)
    }

    /// Then it is better to ask any than to fail without asking.
    pub(super) fn none_is_well(&self) -> bool {
        (0..self.marks.len()).all(|server| !self.is_well(server))
    }

    /// Each server, and whether it is well.
    pub(crate) fn marks(&self) -> impl Iterator<Item = (&Server, &Arc<AtomicBool>)> {
        self.marks.iter().map(|mark| (&mark.server, &mark.well))
    }

    /// From now on servers are asked as this upstream speaks to them. Probes run on the runtime that this
    /// is called in. Nothing changes where that was so before.
    pub(super) fn start(&self, upstream: &Upstream) {
        if self.started.swap(true, Ordering::Relaxed) {
            return;
        }
        for mark in &self.marks {
            let prober = Arc::new(upstream.prober(&mark.server));
            let before = mark.lock().replace(prober);
            if before.is_none() {
                let upstream = upstream.name().to_owned();
                tokio::spawn(watch(Arc::downgrade(mark), self.check.clone(), upstream));
            }
        }
    }
}

impl Mark {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Upstream>>> {
        self.prober.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Probes that said the same, one after another.
#[derive(Debug, Default, PartialEq, Eq)]
struct Run {
    good: bool,
    length: u32,
}

impl Run {
    /// What this probe makes of a server that was `well` or not.
    fn judge(&mut self, good: bool, well: bool, check: &Check) -> bool {
        if self.good != good {
            *self = Self { good, length: 0 };
        }
        self.length = self.length.saturating_add(1);
        match (good, well) {
            (true, false) => self.length >= check.healthy,
            (false, true) => self.length < check.unhealthy,
            (_, well) => well,
        }
    }
}

async fn watch(mark: Weak<Mark>, check: Check, upstream: String) {
    let mut run = Run::default();
    // Not all servers of all upstreams at once.
    let first = check.interval.mul_f64(fastrand::f64());
    sleep(first.min(Duration::from_secs(1))).await;
    loop {
        let Some(prober) = mark.upgrade().and_then(|mark| mark.lock().clone()) else {
            return;
        };
        let answer = probe(&prober, &check.question, check.timeout).await;
        let Some(mark) = mark.upgrade() else { return };
        let before = mark.well.load(Ordering::Relaxed);
        let well = run.judge(answer.is_ok(), before, &check);
        if well != before {
            mark.well.store(well, Ordering::Relaxed);
            let server = mark.server.place.host();
            match answer {
                Ok(()) => tracing::info!(upstream, server, "a server is well again"),
                Err(why) => tracing::warn!(upstream, server, why, "a server is not well"),
            }
        }
        drop(mark);
        sleep(check.interval).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_changes_after_so_many_probes_in_a_row_and_not_by_one() {
        let check = Check {
            question: Question::Http("/".to_owned()),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            healthy: 2,
            unhealthy: 3,
        };
        let mut run = Run::default();
        let mut well = true;
        let table = [
            ("xx", "ww"),
            ("o", "w"),
            ("xx", "ww"),
            ("o", "w"),
            ("xxx", "wwd"),
            ("xo", "dd"),
            ("xo", "dd"),
            ("o", "w"),
            ("oox", "www"),
        ];
        for (probes, states) in table {
            for (probe, state) in probes.chars().zip(states.chars()) {
                well = run.judge(probe == 'o', well, &check);
                assert_eq!(well, state == 'w', "{probes}");
            }
        }
    }
}
