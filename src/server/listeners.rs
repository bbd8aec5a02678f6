//! Listeners wanted and listeners running.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use thiserror::Error;
use tokio::task::AbortHandle;

use super::accept::accept;
use super::socket::Socket;
use super::workers::Workers;
use crate::config::Address;
use crate::snapshot::{Listener, Snapshot};

/// The sockets that are open. Lives on the control thread.
#[derive(Debug)]
pub struct Listeners {
    workers: Arc<Workers>,
    running: HashMap<Identity, Running>,
}

/// A socket is kept by address, whatever else of its listener changes; where the kernel picks the
/// port, the name tells such listeners apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Identity(Address, Option<String>);

impl From<&Listener> for Identity {
    fn from(listener: &Listener) -> Self {
        let picked = listener.address.is_picked();
        let name = picked.then(|| listener.name.clone());
        Self(listener.address.clone(), name)
    }
}

#[derive(Debug)]
struct Running {
    socket: Arc<Socket>,
    listener: Arc<Listener>,
    accepting: AbortHandle,
}

/// The sockets of a snapshot that is not yet published: those it keeps and those bound for it.
/// Dropped, it closes the new ones and has changed nothing.
#[derive(Debug)]
pub struct Prepared(Vec<(Arc<Listener>, Arc<Socket>)>);

/// A listener that cannot be had.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// The place in the snapshot's listeners.
    pub index: usize,
    pub address: Address,
    source: io::Error,
}

impl Listeners {
    pub fn new(workers: Workers) -> Self {
        Self {
            workers: Arc::new(workers),
            running: HashMap::new(),
        }
    }

    /// Binds what is missing. All or nothing: with one error, every socket bound is closed again.
    pub fn prepare(&self, snapshot: &Snapshot) -> Result<Prepared, Vec<BindError>> {
        let mut prepared = Vec::new();
        let mut errors = Vec::new();
        for (index, listener) in snapshot.listeners.iter().enumerate() {
            match self.socket(listener, snapshot) {
                Ok(socket) => prepared.push((Arc::clone(listener), socket)),
                Err(source) => {
                    errors.push(BindError {
                        index,
                        address: listener.address.clone(),
                        source,
                    });
                }
            }
        }
        if errors.is_empty() {
            Ok(Prepared(prepared))
        } else {
            Err(errors)
        }
    }

    fn socket(&self, listener: &Listener, next: &Snapshot) -> io::Result<Arc<Socket>> {
        if let Some(running) = self.running.get(&Identity::from(listener)) {
            return Ok(Arc::clone(&running.socket));
        }
        let socket = match Socket::listen(listener, false) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => self
                .listen_over_leaving(listener, next)
                .unwrap_or(Err(error)),
            socket => socket,
        };
        socket.map(Arc::new)
    }

    /// `0.0.0.0:80` cannot be bound while our own `127.0.0.1:80` listens, though that one goes with
    /// this very change. Until the new one listens, and only between our own two sockets, the
    /// kernel is told that they may share the port.
    fn listen_over_leaving(
        &self,
        listener: &Listener,
        next: &Snapshot,
    ) -> Option<io::Result<Socket>> {
        let port = |listener: &Listener| match &listener.address {
            Address::Ip(address) => Some(address.port()),
            Address::Unix(_) => None,
        };
        let wanted_port = port(listener)?;
        let wanted = |running: &Running| {
            let identity = Identity::from(&*running.listener);
            next.listeners
                .iter()
                .any(|next| Identity::from(&**next) == identity)
        };
        let leaving: Vec<_> = self
            .running
            .values()
            .filter(|running| port(&running.listener) == Some(wanted_port))
            .filter(|running| !wanted(running))
            .filter_map(|running| running.socket.as_tcp())
            .collect();
        if leaving.is_empty() {
            return None;
        }
        let share = |on| {
            leaving
                .iter()
                .try_for_each(|socket| socket.set_reuse_port(on))
        };
        let socket = share(true).and_then(|()| Socket::listen(listener, true));
        Some(share(false).and(socket))
    }

    /// Makes the prepared sockets the ones that run, and closes the others. Cannot fail.
    pub fn commit(&mut self, Prepared(prepared): Prepared) {
        let mut before = std::mem::take(&mut self.running);
        for (listener, socket) in prepared {
            let identity = Identity::from(&*listener);
            let known = before.remove(&identity);
            let running = match known {
                Some(running) if Arc::ptr_eq(&running.listener, &listener) => running,
                known => {
                    if let Some(known) = known {
                        known.accepting.abort();
                        socket.change_hands(&listener);
                    }
                    self.run(listener, socket)
                }
            };
            self.running.insert(identity, running);
        }
        for (_, running) in before {
            running.accepting.abort();
            running.socket.give_up();
            tracing::info!(listener = running.listener.name, "no longer listening");
        }
    }

    fn run(&self, listener: Arc<Listener>, socket: Arc<Socket>) -> Running {
        let address = bound(&socket, &listener);
        tracing::info!(listener = listener.name, %address, "listening");
        let workers = Arc::clone(&self.workers);
        let task = tokio::spawn(accept(Arc::clone(&socket), Arc::clone(&listener), workers));
        Running {
            socket,
            listener,
            accepting: task.abort_handle(),
        }
    }

    /// Names and the addresses that were really bound.
    pub fn addresses(&self) -> Vec<(String, Address)> {
        let address = |running: &Running| {
            let bound = bound(&running.socket, &running.listener);
            (running.listener.name.clone(), bound)
        };
        let mut addresses: Vec<_> = self.running.values().map(address).collect();
        addresses.sort();
        addresses
    }

    /// Closes every socket and gives the workers back, once the accept loops have let them go.
    pub async fn close(self) -> Option<Workers> {
        let Self {
            mut workers,
            running,
        } = self;
        for running in running.into_values() {
            running.accepting.abort();
        }
        loop {
            match Arc::try_unwrap(workers) {
                Ok(workers) => return Some(workers),
                // An aborted task is dropped when the runtime next gets to it.
                Err(shared) => workers = shared,
            }
            tokio::task::yield_now().await;
        }
    }
}

fn bound(socket: &Socket, listener: &Listener) -> Address {
    let bound = socket.address();
    bound.unwrap_or_else(|_| listener.address.clone())
}
