//! `pointsman check`: what is wrong with a file, without serving it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::fail;
use super::locate::config_file;
use crate::reload::{ConfigSource, check};

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The file to check [default: the one that `pointsman run` would serve]
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// The same, spelt as for `run`
    #[arg(long, value_name = "FILE", env = "POINTSMAN_CONFIG")]
    config: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let given = arguments.file.as_deref().or(arguments.config.as_deref());
    let Some(path) = config_file(given) else {
        return fail("there is no configuration file; `pointsman init` writes one");
    };
    let name = path.display().to_string();
    match check(&ConfigSource::File(path)) {
        Ok(warnings) => {
            for warning in &warnings {
                eprintln!("{warning}");
            }
            match warnings.len() {
                0 => println!("{name} is good"),
                count => println!("{name} is good, with {count} warning(s)"),
            }
            ExitCode::SUCCESS
        }
        Err(reports) => {
            for report in &reports {
                eprintln!("{report}");
            }
            let errors = reports.iter().filter(|report| report.is_error()).count();
            fail(format!("{name} is refused: {errors} error(s)"))
        }
    }
}
