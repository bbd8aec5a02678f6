//! Who may pass. Each gate is a struct built from its own part of the configuration; they are asked in the
//! order in which [`Gate`] lists them, which is always the same.

mod access;
mod networks;

use std::net::IpAddr;
use std::sync::Arc;

pub(crate) use access::Access;
pub(crate) use networks::Networks;

use crate::metrics::GateRow;
use crate::why::Why;

/// One kind of gate.
#[derive(Debug)]
pub(crate) enum Gate {
    /// By the client's address.
    Access(Access),
}

/// What a gate may look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    /// None if it came by a unix socket.
    pub client_ip: Option<IpAddr>,
}

/// A gate in its place.
#[derive(Debug)]
pub(crate) struct Guard {
    pub gate: Gate,
    /// Only count and tell whom it would not let pass.
    pub observes: bool,
    pub row: Arc<GateRow>,
}

/// The gates of one listener or route.
#[derive(Debug, Default)]
pub struct Gates(Vec<Guard>);

impl Gate {
    /// Its metric label, and its word in the log.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Access(_) => "access",
        }
    }

    fn pass(&self, asker: Asker) -> Result<(), Why> {
        match self {
            Self::Access(access) => access.pass(asker.client_ip),
        }
    }
}

impl Gates {
    pub(crate) fn new(guards: Vec<Guard>) -> Self {
        Self(guards)
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &Arc<GateRow>> {
        self.0.iter().map(|guard| &guard.row)
    }

    /// May this request pass all of them? `observed` is told of each that would not have let it.
    pub(crate) fn pass(
        &self,
        worker: usize,
        asker: Asker,
        mut observed: impl FnMut(&'static str),
    ) -> Result<(), Why> {
        for guard in &self.0 {
            let Err(why) = guard.gate.pass(asker) else {
                continue;
            };
            guard.row.denied(worker);
            if !guard.observes {
                return Err(why);
            }
            observed(guard.gate.word());
        }
        Ok(())
    }
}
