//! `pointsman reload`: read the file now, and wait for what becomes of it.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::fail;
use super::locate::{Arguments, block_on, client};

/// A reload of very many routes takes seconds at most.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let url = arguments.url("/api/reload");
    match block_on(ask(&url)) {
        Ok(Ok(outcome)) => show(&outcome),
        Ok(Err(error)) => fail(format!("no answer from {url}: {error}")),
        Err(error) => fail(error),
    }
}

async fn ask(url: &str) -> reqwest::Result<Value> {
    client(LIMIT)?.post(url).send().await?.json().await
}

fn show(outcome: &Value) -> ExitCode {
    let problems = outcome["problems"].as_array().into_iter().flatten();
    for report in outcome["warnings"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(problems)
    {
        eprintln!("{}", line(report));
    }
    let result = outcome["result"].as_str().unwrap_or("failed");
    println!(
        "{result}; generation {}, {}",
        outcome["generation"],
        text(&outcome["hash"])
    );
    match result {
        "applied" | "unchanged" => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// A Problem as the admin side tells it, on one line.
pub(super) fn line(report: &Value) -> String {
    let part = |key: &str| text(&report[key]);
    let mut line = format!(
        "{}: {}:{}:{}: {}: {}",
        part("severity"),
        part("file"),
        report["line"],
        report["column"],
        part("key"),
        part("message"),
    );
    if let Some(help) = report["help"].as_str() {
        line.push_str(&format!(" ({help})"));
    }
    line
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
