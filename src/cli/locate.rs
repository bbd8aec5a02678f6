//! Finding the configuration file, and the admin side of the Pointsman that runs.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use reqwest::redirect::Policy;

use crate::reload::ConfigSource;

/// Where the file is looked for, in this order.
const USUAL: [&str; 3] = [
    "config/pointsman.toml",
    "pointsman.toml",
    "/etc/pointsman/pointsman.toml",
];

/// Which running Pointsman is meant.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The admin address, such as 127.0.0.1:9900 [default: what the configuration file says]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// The configuration file that says the admin address
    #[arg(long, value_name = "FILE", env = "POINTSMAN_CONFIG")]
    config: Option<PathBuf>,
}

impl Arguments {
    /// The URL of a path of the admin side.
    pub(super) fn url(&self, path: &str) -> String {
        let address = self
            .admin
            .unwrap_or_else(|| configured(self.config.as_deref()));
        format!("http://{}{path}", reachable(address))
    }
}

/// The given file, or the first of the usual ones that exists.
pub(super) fn config_file(given: Option<&Path>) -> Option<PathBuf> {
    let usual = || USUAL.iter().map(PathBuf::from).find(|path| path.exists());
    given.map(Path::to_owned).or_else(usual)
}

/// What the file says, or the default: also where the file is broken, which is when one wants to
/// ask.
fn configured(file: Option<&Path>) -> SocketAddr {
    let config = config_file(file)
        .map(ConfigSource::File)
        .and_then(|source| {
            let reading = source.read_only();
            source.parse(&reading).ok()
        });
    config.unwrap_or_default().admin.listen.0
}

/// An address that listens everywhere is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// A client that talks to the admin side and nothing else: no proxy from the environment, no
/// redirect.
pub(super) fn client(limit: Duration) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .timeout(limit)
        .build()
}

/// Runs one command's future.
pub(super) fn block_on<F: Future>(future: F) -> std::io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(future))
}
