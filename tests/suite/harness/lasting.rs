//! Routes that stay as they are while others come and go.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::{Proxy, route};

/// What a connection of a route that stays must live through at least.
const RELOADS: usize = 50;
const SETTINGS: &str = "reload = { mode = \"off\", drain_timeout = \"0s\" }\n";

/// The part of the file that stays.
#[derive(Debug)]
pub(crate) struct Lasting(String);

impl Lasting {
    /// A proxy with a route to each of these URLs, of this name and below a path of this name.
    pub(crate) fn to(routes: &[(&str, &str)]) -> (Self, Proxy) {
        let routes = routes.iter();
        let routes = routes.map(|(name, url)| route(name, &format!("/{name}/*"), url));
        let config = SETTINGS.to_owned() + &routes.collect::<String>();
        let proxy = Proxy::start(&config);
        (Self(config), proxy)
    }

    /// Changes all the rest of the file.
    #[track_caller]
    pub(crate) fn change_others(&self, proxy: &Proxy, number: usize) {
        let others = (0..=number % 3).map(|other| {
            let (name, path) = (format!("{number} {other}"), format!("/other/{other}"));
            route(&name, &path, "http://127.0.0.1:1")
        });
        let others: String = others.collect();
        proxy.apply(&format!("{}{others}", self.0));
    }

    /// Does this again and again while other routes are changed, until they were fifty times.
    #[track_caller]
    pub(crate) fn through_reloads(&self, proxy: &Proxy, mut round: impl FnMut()) {
        let (applied, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let reloads = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    self.change_others(proxy, applied.load(Ordering::Relaxed));
                    applied.fetch_add(1, Ordering::Relaxed);
                }
            });
            // A round that fails must not leave the other thread at work for ever.
            let _done = Done(&done);
            while applied.load(Ordering::Relaxed) < RELOADS && !reloads.is_finished() {
                round();
            }
        });
        assert!(applied.load(Ordering::Relaxed) >= RELOADS);
        let errors = proxy.metrics().sum("pointsman_errors_total", &[]);
        assert_eq!(errors, 0.0, "the proxy ended something");
    }

    /// Leaves nothing of it.
    #[track_caller]
    pub(crate) fn remove_all(proxy: &Proxy) {
        proxy.apply(&format!("{SETTINGS}[[route]]\nrespond = {{}}\n"));
    }
}

struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
