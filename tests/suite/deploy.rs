//! The files that deploy Pointsman, each judged by the program that reads it in earnest.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{BINARY, passes, tool};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
#[ignore = "needs docker-compose; make test runs it"]
fn compose_mounts_the_configuration_as_a_directory() {
    let resolved = passes(tool("docker-compose").args(["-f", "docker-compose.yml", "config"]));

    let folder = Path::new(ROOT).join("config");
    assert!(folder.is_dir(), "{} is not a directory", folder.display());
    let mount = [
        "source:",
        &folder.to_string_lossy(),
        "target:",
        "/etc/pointsman",
    ];
    let words: Vec<_> = resolved.split_whitespace().collect();
    assert!(
        words.windows(mount.len()).any(|seen| seen == mount),
        "no such mount in\n{resolved}"
    );
}

#[test]
#[ignore = "needs hadolint; make test runs it"]
fn the_dockerfile_has_no_lint() {
    passes(tool("hadolint").args(["--no-color", "Dockerfile"]));
}

#[test]
#[ignore = "needs systemd-analyze; make test runs it"]
fn systemd_understands_every_line_of_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let unit = unit_of_the_built_binary(folder.path());
    passes(
        tool("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .arg(unit),
    );
}

#[test]
#[ignore = "needs systemd-analyze; make test runs it"]
fn systemd_finds_the_unit_well_confined() {
    let folder = tempfile::tempdir().unwrap();
    let unit = unit_of_the_built_binary(folder.path());
    // Tenths of its scale, on which 10 is a service without any confinement.
    let most = "--threshold=20";
    passes(
        tool("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", most])
            .arg(unit),
    );
}

#[test]
#[ignore = "needs promtool; make test runs it"]
fn prometheus_accepts_its_configuration() {
    passes(tool("promtool").args(["check", "config", "deploy/prometheus/prometheus.yml"]));
}

#[test]
#[ignore = "needs promtool; make test runs it"]
fn prometheus_accepts_the_alerts() {
    passes(tool("promtool").args(["check", "rules", "deploy/prometheus/alerts.yml"]));
}

#[test]
#[ignore = "needs promtool; make test runs it"]
fn each_alert_fires_when_it_should_and_only_then() {
    passes(tool("promtool").args(["test", "rules", "deploy/prometheus/alerts_test.yml"]));
}

/// An alert on a metric that does not exist is silent for ever, and no tool complains.
#[test]
fn each_metric_that_an_alert_reads_is_one_that_pointsman_has() {
    let alerts = text_of("deploy/prometheus/alerts.yml");
    let mut sources = String::new();
    for file in fs::read_dir(Path::new(ROOT).join("src/metrics")).unwrap() {
        sources += &fs::read_to_string(file.unwrap().path()).unwrap();
    }

    let words = alerts.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let metrics: BTreeSet<_> = words
        .filter(|word| word.starts_with("pointsman_"))
        .collect();
    assert!(!metrics.is_empty());
    for metric in metrics {
        assert!(
            sources.contains(&format!("\"{metric}\"")),
            "no {metric} in src/metrics"
        );
    }
}

/// A copy of the unit that names a program which exists, as `systemd-analyze` demands.
fn unit_of_the_built_binary(folder: &Path) -> PathBuf {
    let text = text_of("deploy/systemd/pointsman.service");
    let unit = text.replace("=/usr/local/bin/pointsman ", &format!("={BINARY} "));
    assert_ne!(unit, text, "the unit starts another program");

    let copy = folder.join("pointsman.service");
    fs::write(&copy, unit).unwrap_or_else(|error| panic!("{}: {error}", copy.display()));
    copy
}

fn text_of(file: &str) -> String {
    let path = Path::new(ROOT).join(file);
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"))
}
