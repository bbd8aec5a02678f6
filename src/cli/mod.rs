//! The command line: arguments, and one file a command.

mod check;
mod demo;
mod init;
mod locate;
mod reload;
mod run;
mod status;
mod trust;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A reverse proxy that you edit while it runs.
#[derive(Debug, Parser)]
#[command(name = "pointsman", version, about, long_about = LONG_ABOUT, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Arguments,
}

const LONG_ABOUT: &str = "A reverse proxy for one host. It stands in front of your web apps; you \
    edit its one TOML file while it runs, and every save is checked and applied whole or refused \
    whole. No request fails and no connection drops.";

const EXAMPLES: &str = "Examples:
  pointsman                                  serve config/pointsman.toml, or a demo without one
  pointsman --to http://127.0.0.1:3000       put it in front of one app, with no file at all
  pointsman init                             write a commented pointsman.toml to begin with
  pointsman run --config pointsman.toml      serve it; edit it; every save is live
  pointsman check pointsman.toml             what is wrong with it, all at once";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (this is what happens without a command)
    Run(run::Arguments),
    /// Check a configuration file and show everything wrong with it
    Check(check::Arguments),
    /// Make the running Pointsman read its file now; answers when it is applied or refused
    Reload(locate::Arguments),
    /// Show what the running Pointsman serves
    Status(status::Arguments),
    /// Tell how to trust the certificates of `tls = "internal"`
    Trust(trust::Arguments),
    /// Write a commented starter file
    Init(init::Arguments),
    /// Run only the demo origin, an HTTP server that answers with what it received
    Demo(demo::Arguments),
}

/// Parses the arguments and does what they say.
pub fn main() -> ExitCode {
    let Arguments { command, run } = Arguments::parse();
    match command {
        None => run::run(&run),
        Some(Command::Run(arguments)) => run::run(&arguments),
        Some(Command::Check(arguments)) => check::run(&arguments),
        Some(Command::Reload(arguments)) => reload::run(&arguments),
        Some(Command::Status(arguments)) => status::run(&arguments),
        Some(Command::Trust(arguments)) => trust::run(&arguments),
        Some(Command::Init(arguments)) => init::run(&arguments),
        Some(Command::Demo(arguments)) => demo::run(&arguments),
    }
}

/// Says what went wrong, and fails.
fn fail(error: impl std::fmt::Display) -> ExitCode {
    eprintln!("pointsman: {error}");
    ExitCode::FAILURE
}
