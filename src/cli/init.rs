//! `pointsman init`: a commented file to begin with.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::fail;

const STARTER: &str = include_str!("../../config/starter.toml");

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// Where to write it; a file that exists is left alone
    #[arg(value_name = "FILE", default_value = "pointsman.toml")]
    file: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let name = arguments.file.display();
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&arguments.file);
    match file.and_then(|mut file| file.write_all(STARTER.as_bytes())) {
        Ok(()) => {
            println!("wrote {name}; now: pointsman run --config {name}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(format!("{name} is not written: {error}")),
    }
}
