//! Clients that ask without a pause while something else happens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use super::{Client, Response, eventually};

/// Each client has one connection, for all of its requests.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// `check` sees every answer. It fails the test by a panic, as a broken connection does.
    pub(crate) fn start(
        address: SocketAddr,
        clients: usize,
        path: &'static str,
        check: impl Fn(&Response) + Send + Sync + 'static,
    ) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let check = Arc::new(check);
        let client = |_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            let check = Arc::clone(&check);
            let mut client = Client::connect(address);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    check(&client.get("test", path));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Self {
            stop,
            answered,
            clients,
        }
    }

    /// Waits until so many requests more are answered.
    #[track_caller]
    pub(crate) fn answers(&self, more: u64) {
        let before = self.answered.load(Ordering::Relaxed);
        eventually("answers under load", || {
            let failed = self.clients.iter().any(JoinHandle::is_finished);
            assert!(!failed, "a client has failed; its panic says how");
            self.answered.load(Ordering::Relaxed) >= before + more
        });
    }

    /// Ends it between two requests: how many there were, all of them answered as they should be.
    pub(crate) fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client
                .join()
                .expect("every request is answered as it should be");
        }
        self.answered.load(Ordering::Relaxed)
    }
}
