//! What the kernel knows of a process.

use std::fs;
use std::process::Command;

/// One look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) files: usize,
    /// Without those that tokio keeps for a while for work that blocks.
    pub(crate) threads: usize,
    /// Resident memory that is not of a file, in KiB.
    pub(crate) memory: u64,
    /// Processor time so far, in clock ticks of 10 ms.
    pub(crate) ticks: u64,
}

impl Usage {
    pub(crate) fn of(process: u32) -> Self {
        let folder = format!("/proc/{process}");
        let read =
            |name: &str| fs::read_to_string(format!("{folder}/{name}")).expect("the process");
        let files = fs::read_dir(format!("{folder}/fd")).expect("the process");
        let tasks = fs::read_dir(format!("{folder}/task")).expect("the process");
        // One that ends meanwhile has no name any more.
        let names =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        let status = read("status");
        let memory = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let memory = memory.and_then(|value| value.trim().strip_suffix(" kB"));
        let stat = read("stat");
        // The name before may hold spaces; user and system time are the 12th and 13th field after.
        let fields = stat.rsplit_once(") ").expect("fields").1;
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
        Self {
            files: files.count(),
            threads: names.filter(|name| !name.starts_with("tokio-")).count(),
            memory: memory.expect("a line").parse().expect("a number"),
            ticks: ticks(11) + ticks(12),
        }
    }
}

/// Allows a process so many open files from now on.
pub(crate) fn limit_files(process: u32, limit: usize) {
    let status = Command::new("prlimit")
        .arg(format!("--pid={process}"))
        .arg(format!("--nofile={limit}:"))
        .status()
        .expect("prlimit");
    assert!(status.success(), "the limit is set");
}
