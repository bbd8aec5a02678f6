//! `pointsman demo`: the demo origin alone.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use tokio::net::TcpListener;

use super::fail;
use super::locate::block_on;
use crate::demo;

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let served = block_on(async {
        let listener = TcpListener::bind(arguments.listen).await?;
        eprintln!(
            "the demo origin listens on http://{}",
            listener.local_addr()?
        );
        // As the first process of a container it would otherwise not hear the order to stop.
        let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            served = demo::serve(listener) => served,
            _ = stop.recv() => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted,
        }
    });
    match served.and_then(|served| served) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}
