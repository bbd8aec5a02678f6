//! Waiting until a save is finished, and taking each finished save exactly once.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;

use crate::harness::{BINARY, Client, DEADLINE, Proxy, eventually, page, page_with, tool};

#[test]
fn a_save_that_pauses_while_the_file_is_empty_fails_no_request_and_logs_no_error() {
    let proxy = Proxy::with_config(&page("before"));
    let pages = while_asked_for_pages(&proxy, "after", || {
        let mut file = File::create(proxy.config()).unwrap();
        sleep(Duration::from_millis(300));
        file.write_all(page("after").as_bytes()).unwrap();
        drop(file);
        eventually("the edit is live", || proxy.page() == "after");
    });
    assert_eq!(pages, ["before", "after"]);
    assert_eq!(proxy.reloads("applied"), 1.0);
    assert_eq!(proxy.reloads("refused"), 0.0);
    assert_eq!(proxy.logged("error"), [""; 0]);
}

/// Quick to take an edit, and patient with a writer, however long a busy machine makes it hold the
/// file.
const WAITING: &str = "settle = \"50ms\"\npoll_interval = \"100ms\"\nmax_wait = \"60s\"";

#[test]
fn a_beginning_that_makes_sense_is_not_applied_while_its_writer_holds_the_file() {
    type Open = fn(&Path) -> File;
    let ways: [(&str, Open); 3] = [
        ("truncated", |file| File::create(file).unwrap()),
        ("removed and created", |file| {
            fs::remove_file(file).unwrap();
            File::create_new(file).unwrap()
        }),
        ("created after a while", |file| {
            fs::remove_file(file).unwrap();
            sleep(Duration::from_millis(200));
            File::create_new(file).unwrap()
        }),
    ];
    for (way, open) in ways {
        let proxy = Proxy::with_config(&page_with(WAITING, "before"));
        assert_waits_for_the_writer(&proxy, open(proxy.config()), way);
    }
}

#[test]
fn a_writer_is_waited_for_where_the_path_is_relative_and_leads_through_a_link() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("real")).unwrap();
    symlink("real", directory.path().join("link")).unwrap();
    let config = directory.path().join("real/pointsman.toml");
    fs::write(&config, page_with(WAITING, "before")).unwrap();
    let mut command = Command::new(BINARY);
    command.args(["run", "--config", "link/pointsman.toml"]);
    command.current_dir(directory.path());
    let proxy = Proxy::run(command, &config);
    let file = File::create(&config).unwrap();
    assert_waits_for_the_writer(&proxy, file, "link");
}

/// As on a machine so busy that a thread waits for its turn.
#[test]
#[ignore = "needs strace; make test runs it"]
fn a_writer_is_waited_for_however_late_the_watcher_hears_of_it() {
    let proxy = Proxy::with_config(&page_with(WAITING, "before"));
    let watcher = thread_of(&proxy, "notify-rs");
    let mut delays = tool("strace")
        .args(["-qq", "-p", &watcher, "-e", "trace=?epoll_wait,epoll_pwait"])
        .args(["-e", "inject=?epoll_wait,epoll_pwait:delay_exit=200000"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/task/{watcher}/status", proxy.id());
    eventually("the watcher is held back", || {
        !fs::read_to_string(&status)
            .unwrap()
            .contains("TracerPid:\t0\n")
    });
    let file = File::create(proxy.config()).unwrap();
    assert_waits_for_the_writer(&proxy, file, "late");
    delays.kill().unwrap();
    delays.wait().unwrap();
}

/// The thread whose name begins so.
fn thread_of(proxy: &Proxy, name: &str) -> String {
    let threads = fs::read_dir(format!("/proc/{}/task", proxy.id())).unwrap();
    let mut threads = threads.map(|thread| thread.unwrap());
    let found = threads.find(|thread| {
        let comm = fs::read_to_string(thread.path().join("comm"));
        comm.is_ok_and(|comm| comm.starts_with(name))
    });
    found.unwrap().file_name().into_string().unwrap()
}

#[test]
fn a_refused_edit_is_told_once_and_hides_no_later_one() {
    let settings = "settle = \"20ms\"\npoll_interval = \"100ms\"";
    let serving = page_with(settings, "serving");
    let (broken, other) = (
        format!("{serving}rout = 1\n"),
        format!("{serving}rout = 2\n"),
    );
    let proxy = Proxy::with_config(&serving);
    let refused = |times: f64| {
        let told = || (proxy.reloads("refused"), proxy.logged("error").len() as f64);
        eventually("a refusal", || told() >= (times, times));
        assert_eq!(told(), (times, times));
        assert_eq!(is_successful(&proxy), 0.0);
    };

    proxy.write_all(&broken);
    refused(1.0);
    for _ in 0..5 {
        proxy.write_all(&broken);
        sleep(Duration::from_millis(120));
    }
    refused(1.0);

    proxy.write_all(&other);
    refused(2.0);
    proxy.write_all(&broken);
    refused(3.0);

    let mended = page_with(settings, "mended");
    proxy.write_all(&mended);
    proxy.soon_serves("mended");
    assert_eq!(is_successful(&proxy), 1.0);

    proxy.write_all(&broken);
    refused(4.0);
    proxy.write_all(&mended);
    eventually("the failure is over", || is_successful(&proxy) == 1.0);
    assert_eq!(
        (proxy.reloads("applied"), proxy.reloads("unchanged")),
        (1.0, 1.0)
    );
    assert!(proxy.status()["refused"].is_null());
}

#[test]
fn two_hundred_writes_in_two_seconds_make_a_few_changes_and_the_last_one_wins() {
    let proxy = Proxy::with_config(&page("first"));
    write_every(Duration::from_millis(10), 200, &proxy);
    proxy.soon_serves("write 200");
    let applied = proxy.reloads("applied");
    assert!((1.0..=10.0).contains(&applied), "{applied} changes");
    assert_eq!(proxy.generation() as f64, 1.0 + applied);
    assert_eq!(proxy.logged("error"), [""; 0]);
}

#[test]
fn a_file_that_is_written_without_end_is_taken_every_max_wait() {
    let settings = "settle = \"200ms\"\nmax_wait = \"1s\"";
    let proxy = Proxy::with_config(&page_with(settings, "first"));
    // Never quiet for as long as it takes to settle, until three of the writes were taken.
    let mut time = 0;
    eventually("changes while it is written", || {
        for _ in 0..10 {
            time += 1;
            proxy.write_all(&page_with(settings, &format!("write {time}")));
            sleep(Duration::from_millis(50));
        }
        proxy.reloads("applied") >= 3.0
    });
    let last = format!("write {time}");
    eventually("the last is live", || proxy.page() == last);
}

#[test]
fn a_touched_file_changes_nothing() {
    let settings = "settle = \"20ms\"\npoll_interval = \"100ms\"";
    let proxy = Proxy::with_config(&page_with(settings, "first"));
    let before = config_metrics(&proxy);
    for seconds in 1..=5 {
        let file = OpenOptions::new().write(true).open(proxy.config()).unwrap();
        let time = SystemTime::now() + Duration::from_secs(seconds);
        file.set_modified(time).unwrap();
        sleep(Duration::from_millis(120));
    }
    assert_eq!(config_metrics(&proxy), before);
    assert_eq!(proxy.generation(), 1);
}

#[test]
fn an_idle_proxy_reads_its_file_without_taking_that_for_a_change() {
    let settings = "poll_interval = \"100ms\"\nsettle = \"20ms\"";
    let proxy = Proxy::with_config(&page_with(settings, "first"));
    let idle = Duration::from_secs(3);
    // What starting costs comes before.
    sleep(Duration::from_millis(200));
    let (time, reads) = (cpu_time(&proxy), system_reads(&proxy));
    sleep(idle);
    let (time, reads) = (cpu_time(&proxy) - time, system_reads(&proxy) - reads);

    for result in ["applied", "unchanged", "refused"] {
        assert_eq!(proxy.reloads(result), 0.0, "{result}");
    }
    assert!(time < idle / 10, "{time:?} of CPU time in {idle:?}");
    // Thirty polls of a few reads each; a loop would make thousands.
    assert!(reads < 1000, "{reads} reads in {idle:?}");
}

/// Writes a whole page and then, after a pause in which that must not be live, a second route.
#[track_caller]
fn assert_waits_for_the_writer(proxy: &Proxy, mut file: File, way: &str) {
    let held = Duration::from_millis(600);
    let (beginning, rest) = (
        page_with(WAITING, "after"),
        "[[route]]\npath = \"/rest\"\nrespond = { body = \"rest\" }\n",
    );
    file.write_all(beginning.as_bytes()).unwrap();
    let end = Instant::now() + held;
    while Instant::now() < end {
        assert_eq!(proxy.page(), "before", "{way}: half of the file is live");
        sleep(Duration::from_millis(20));
    }
    file.write_all(rest.as_bytes()).unwrap();
    drop(file);
    eventually("the whole file is live", || proxy.page() == "after");
    assert_eq!(proxy.get("/rest").text(), "rest", "{way}");
    assert_eq!(proxy.reloads("applied"), 1.0, "{way}");
}

/// The different pages that a client got, in their order, from before something was done until it
/// got the last.
fn while_asked_for_pages(proxy: &Proxy, last: &str, work: impl FnOnce()) -> Vec<String> {
    let mut client = Client::connect(proxy.address());
    let mut ask = move || {
        let response = client.get("test", "/");
        assert_eq!(response.status, 200);
        response.text()
    };
    let mut pages = vec![ask()];
    let end = Instant::now() + DEADLINE;
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while pages.last().is_some_and(|page| page != last) && Instant::now() < end {
                pages.push(ask());
                pages.dedup();
            }
            pages
        });
        work();
        asking.join().unwrap()
    })
}

/// Writes a file that is new each time, with this much time between.
fn write_every(pause: Duration, times: u32, proxy: &Proxy) {
    let start = Instant::now();
    for time in 1..=times {
        proxy.write_all(&page(&format!("write {time}")));
        sleep((start + pause * time).saturating_duration_since(Instant::now()));
    }
}

fn is_successful(proxy: &Proxy) -> f64 {
    let gauge = "pointsman_config_last_reload_successful";
    proxy.metrics().get(gauge, &[]).unwrap()
}

fn config_metrics(proxy: &Proxy) -> Vec<String> {
    let metrics = proxy.metrics().0;
    let of_config = metrics
        .lines()
        .filter(|line| line.starts_with("pointsman_config_"));
    of_config.map(str::to_owned).collect()
}

/// User and system time of all threads, in the kernel's hundredths of a second.
fn cpu_time(proxy: &Proxy) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", proxy.id())).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    let times = after_name.split(' ').skip(11).take(2);
    let ticks: u64 = times.map(|time| time.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

/// Calls of `read` and its like by all threads.
fn system_reads(proxy: &Proxy) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", proxy.id())).unwrap();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("syscr: "))
        .unwrap();
    line.parse().unwrap()
}
