//! Tables about the process as a whole: `[server]`, `[admin]`, `[log]`, `[metrics]`, `[reload]`.

use serde::Deserialize;

use super::address::{IpPort, Peers};
use super::units::{Drain, Time};

/// `[server]`: the process as a whole.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Worker threads; 0 (default) is one per core. A change asks for a restart.
    pub workers: usize,
    /// Open client connections on all listeners together; more wait to be accepted. Default: half
    /// of the files that the process may open at most, since each may need one to an upstream. A change
    /// asks for a restart.
    pub max_connections: Option<usize>,
    /// How long a stopping process lets requests finish. Default 30 s.
    pub shutdown_grace: Time,
    /// Peers whose `X-Forwarded-*` is believed: networks, single addresses, or `"unix:"`
    /// for all who come by a unix socket. Default none.
    pub trusted_proxies: Peers,
    /// Where the process keeps what it makes itself, as the authority of `tls = "internal"`; relative to
    /// the directory of this file. Default: what systemd or XDG say, else `/var/lib/pointsman`.
    pub state_dir: Option<String>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            workers: 0,
            max_connections: None,
            shutdown_grace: Time::seconds(30),
            trusted_proxies: Peers::default(),
            state_dir: None,
        }
    }
}

/// `[admin]`: read once at start; a later change asks for a restart.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Default `127.0.0.1:9900`. Anyone who can connect can reload: keep it private.
    pub listen: IpPort,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: IpPort(([127, 0, 0, 1], 9900).into()),
        }
    }
}

/// `[log]`: `level` and `access` apply live, `format` at the next start.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Default: `text` when standard output is a terminal, else `json`.
    pub format: Option<LogFormat>,
    /// Default `info`.
    pub level: LogLevel,
    /// One line a request. Default true.
    pub access: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: None,
            level: LogLevel::Info,
            access: true,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Json,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// `[metrics]`: a change asks for a restart, because a histogram's bounds cannot move.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Upper bounds of the latency histograms, in seconds, rising. Default 0.5 ms to 60 s.
    pub buckets: Vec<f64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets = vec![
            0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
            30.0, 60.0,
        ];
        Self { buckets }
    }
}

/// `[reload]`: how edits are noticed and what happens to connections that they affect.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reload {
    /// Default `auto`: watch, and poll beside it.
    pub mode: ReloadMode,
    /// Time between looks at the file when no event comes. Default 2 s.
    pub poll_interval: Time,
    /// The file must stay the same for this long before it is read as finished. Default 150 ms.
    pub settle: Time,
    /// Under constant writing, a valid file is applied at least this often. Default 2 s.
    pub max_wait: Time,
    /// How long tunnels and event streams of a changed or removed route, and connections of a
    /// removed listener, may go on: `"30s"` (default), `"0s"` cuts them, `"never"` leaves them.
    pub drain_timeout: Drain,
}

impl Default for Reload {
    fn default() -> Self {
        Self {
            mode: ReloadMode::Auto,
            poll_interval: Time::seconds(2),
            settle: Time::millis(150),
            max_wait: Time::seconds(2),
            drain_timeout: Drain::After(std::time::Duration::from_secs(30)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadMode {
    /// File-system events and the poll.
    Auto,
    /// File-system events only.
    Watch,
    /// The poll only, for file systems that send no events.
    Poll,
    /// Only SIGHUP and `pointsman reload`.
    Off,
}
