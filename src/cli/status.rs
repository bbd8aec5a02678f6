//! `pointsman status`: what the running process serves.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::fail;
use super::locate::{self, block_on, client};
use super::reload::{line, text};

const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    #[command(flatten)]
    admin: locate::Arguments,
    /// Say nothing; succeed if it is ready to serve (for health checks)
    #[arg(long)]
    ready: bool,
    /// Print the whole status as JSON
    #[arg(long, conflicts_with = "ready")]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let path = if arguments.ready {
        "/readyz"
    } else {
        "/api/status"
    };
    let url = arguments.admin.url(path);
    let body = match block_on(ask(&url)) {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return fail(format!("no good answer from {url}: {error}")),
        Err(error) => return fail(error),
    };
    if arguments.json {
        println!("{body}");
    } else if !arguments.ready {
        show(&serde_json::from_str(&body).unwrap_or_default());
    }
    ExitCode::SUCCESS
}

async fn ask(url: &str) -> reqwest::Result<String> {
    client(LIMIT)?
        .get(url)
        .send()
        .await?
        .error_for_status()?
        .text()
        .await
}

fn show(status: &Value) {
    println!(
        "Pointsman {}, since {}",
        text(&status["version"]),
        text(&status["started"])
    );
    println!("  configuration  {}", text(&status["config"]));
    println!(
        "  generation     {} ({}), applied {}",
        status["generation"],
        text(&status["hash"]),
        text(&status["applied"])
    );
    println!("  routes         {}", status["routes"]);
    println!("  workers        {}", status["workers"]);
    for listener in status["listeners"].as_array().into_iter().flatten() {
        println!(
            "  listening on   {} ({})",
            text(&listener["address"]),
            text(&listener["name"])
        );
    }
    for warning in status["warnings"].as_array().into_iter().flatten() {
        println!("  {}", line(warning));
    }
    let refused = &status["refused"];
    if !refused.is_null() {
        println!("  THE LAST EDIT WAS REFUSED at {}:", text(&refused["at"]));
        for problem in refused["problems"].as_array().into_iter().flatten() {
            println!("    {}", line(problem));
        }
    }
}
