//! `pointsman run`: serve.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::fail;
use super::locate::config_file;
use crate::app::{self, StartError, Started};
use crate::config::{Address, Url};
use crate::reload::ConfigSource;

/// What serves where there is no file.
const EMBEDDED: &str = include_str!("../../config/pointsman.toml");

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The configuration file [default: config/pointsman.toml, pointsman.toml or
    /// /etc/pointsman/pointsman.toml, else a built-in demo]
    #[arg(long, value_name = "FILE", env = "POINTSMAN_CONFIG")]
    config: Option<PathBuf>,
    /// Put it in front of this app, with no file
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    to: Option<String>,
    /// With --to: where to listen
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        requires = "to"
    )]
    listen: Address,
    /// With --to: where the admin side listens
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9900",
        requires = "to"
    )]
    admin: SocketAddr,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let source = match source(arguments) {
        Ok(source) => source,
        Err(error) => return fail(error),
    };
    match app::run(source, tell) {
        Ok(code) => code,
        Err(StartError::Refused(reports)) => {
            for report in &reports {
                eprintln!("{report}");
            }
            fail("not started: the configuration is refused")
        }
        Err(error) => fail(error),
    }
}

fn source(arguments: &Arguments) -> Result<ConfigSource, String> {
    let Some(to) = &arguments.to else {
        return Ok(match config_file(arguments.config.as_deref()) {
            Some(path) => ConfigSource::File(path),
            None => {
                let text = EMBEDDED.to_owned();
                ConfigSource::Text {
                    name: "the built-in demo configuration",
                    text,
                }
            }
        });
    };
    let url: Url = to.parse()?;
    // A sound URL holds nothing that would have to be escaped in a TOML string.
    let text = format!(
        "listen = \"{}\"\nadmin.listen = \"{}\"\n[[route]]\nname = \"app\"\nupstream = \"{}\"\n",
        arguments.listen,
        arguments.admin,
        url.as_str()
    );
    Ok(ConfigSource::Text {
        name: "the command line",
        text,
    })
}

/// For people; machines read the log. Nobody may be there to read it.
fn tell(started: &Started) {
    let mut text = format!(
        "Pointsman {} serves {}\n",
        env!("CARGO_PKG_VERSION"),
        started.config
    );
    for (name, address) in &started.listeners {
        let label = if *name == address.to_string() {
            String::new()
        } else {
            format!(" ({name})")
        };
        let url = match address {
            Address::Ip(address) => format!("http://{address}"),
            Address::Unix(_) => address.to_string(),
        };
        text.push_str(&format!("  listening on  {url}{label}\n"));
    }
    text.push_str(&format!("  admin side    http://{}/\n", started.admin));
    if let Some((_, address)) = started.listeners.first() {
        let target = match address {
            Address::Ip(address) => format!("http://{address}/hello"),
            Address::Unix(path) => {
                format!("--unix-socket {} http://localhost/hello", path.display())
            }
        };
        text.push_str(&format!("  try           curl -i {target}\n"));
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}
