//! Noticing that the file changed, however it was saved and whatever the file system tells.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::{Proxy, eventually, in_namespaces, page, page_with, within};

/// No poll comes to the help of the watcher, and no time is spent on settling.
const WATCH: &str = "mode = \"watch\"\nsettle = \"20ms\"";
/// No event comes to the help of the poll.
const POLL: &str = "mode = \"poll\"\npoll_interval = \"200ms\"\nsettle = \"20ms\"";

type Save = fn(&Path, &str);

/// The ways in which editors and tools save a file.
const SAVES: [(&str, Save); 7] = [
    ("written in place", write_in_place),
    ("truncated and written", truncate_and_write),
    ("written beside and renamed over", rename_over),
    ("moved away and created", move_away_and_create),
    ("removed and created", remove_and_create),
    ("edited by sed -i", sed),
    ("saved by vim", save_as_vim_does),
];

#[test]
fn every_way_to_save_is_noticed_ten_times_in_a_row_by_events_alone() {
    let proxy = Proxy::with_config(&page_with(WATCH, "first"));
    for (how, save) in SAVES {
        for time in 1..=10 {
            let text = format!("{how}, time {time}");
            save(proxy.config(), &page_with(WATCH, &text));
            proxy.soon_serves(&text);
        }
    }
    assert_eq!(proxy.reloads("refused"), 0.0);
}

#[test]
fn every_way_to_save_is_live_within_two_seconds_with_the_default_settings() {
    let proxy = Proxy::with_config(&page("first"));
    for (how, save) in SAVES {
        save(proxy.config(), &page(how));
        proxy.soon_serves(how);
    }
}

#[test]
fn every_way_to_save_is_noticed_by_polling_alone() {
    let proxy = Proxy::with_config(&page_with(POLL, "first"));
    assert_eq!(inotify_instances(&proxy), 0, "it polls and nothing else");
    for (how, save) in SAVES {
        save(proxy.config(), &page_with(POLL, how));
        proxy.soon_serves(how);
    }
}

#[test]
fn with_reload_off_only_an_order_to_reload_is_obeyed() {
    let settings = "mode = \"off\"\npoll_interval = \"50ms\"\nsettle = \"20ms\"";
    let proxy = Proxy::with_config(&page_with(settings, "first"));
    assert_eq!(inotify_instances(&proxy), 0);
    proxy.write_all(&page_with(settings, "second"));
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(proxy.page(), "first");

    proxy.signal("HUP");
    proxy.soon_serves("second");
}

#[test]
fn a_change_of_the_mode_takes_effect_at_once() {
    let proxy = Proxy::with_config(&page_with(POLL, "polled"));
    proxy.write_all(&page_with(WATCH, "watched"));
    proxy.soon_serves("watched");
    eventually("it watches", || inotify_instances(&proxy) > 0);
    proxy.write_all(&page_with(POLL, "polled again"));
    proxy.soon_serves("polled again");
    eventually("it polls", || inotify_instances(&proxy) == 0);
    proxy.write_all(&page_with(POLL, "at last"));
    proxy.soon_serves("at last");
}

#[test]
fn a_config_map_that_flips_its_link_is_noticed_five_times_in_a_row() {
    let volume = TempDir::new().unwrap();
    let at = |name: &str| volume.path().join(name);
    let version = |number: usize| at(&format!("..v{number}"));
    let write_version = |number: usize| {
        fs::create_dir(version(number)).unwrap();
        let text = page_with(WATCH, &format!("version {number}"));
        fs::write(version(number).join("pointsman.toml"), text).unwrap();
    };
    write_version(0);
    symlink("..v0", at("..data")).unwrap();
    symlink("..data/pointsman.toml", at("pointsman.toml")).unwrap();

    let proxy = Proxy::on_file(&at("pointsman.toml"));
    for number in 1..=5 {
        write_version(number);
        symlink(format!("..v{number}"), at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        let remove_before = || fs::remove_dir_all(version(number - 1)).unwrap();
        let text = format!("version {number}");
        // The removal is an event of its own, without which the flip alone must do.
        if number % 2 == 0 {
            remove_before();
            proxy.soon_serves(&text);
        } else {
            proxy.soon_serves(&text);
            let behind_the_links = version(number).join("pointsman.toml");
            truncate_and_write(&behind_the_links, &page_with(WATCH, "edited there"));
            proxy.soon_serves("edited there");
            remove_before();
        }
    }
    assert_eq!(proxy.reloads("applied"), 8.0);
}

#[test]
fn a_directory_that_is_removed_and_made_anew_is_followed() {
    let poll_interval = Duration::from_millis(700);
    for mode in ["auto", "watch"] {
        let settings = format!("mode = \"{mode}\"\npoll_interval = \"700ms\"\nsettle = \"20ms\"");
        let outer = TempDir::new().unwrap();
        let directory = outer.path().join("pointsman");
        let config = directory.join("pointsman.toml");
        let write_anew = |text: &str| {
            fs::create_dir(&directory).unwrap();
            fs::write(&config, page_with(&settings, text)).unwrap();
        };
        write_anew("first");
        let proxy = Proxy::on_file(&config);

        for gone_for in [0, 300] {
            let text = format!("{mode}, made anew after {gone_for} ms");
            fs::remove_dir_all(&directory).unwrap();
            std::thread::sleep(Duration::from_millis(gone_for));
            write_anew(&text);
            within(2 * poll_interval, &text, || proxy.page() == text);
        }
        for (how, save) in SAVES {
            save(&config, &page_with(&settings, how));
            proxy.soon_serves(how);
        }
    }
}

#[test]
#[ignore = "needs user namespaces; make test runs it"]
fn a_file_that_is_itself_a_mount_is_followed_and_warned_of() {
    let outside = TempDir::new().unwrap();
    let inside = TempDir::new().unwrap();
    let edited = outside.path().join("edited.toml");
    let mounted = inside.path().join("pointsman.toml");
    fs::write(&mounted, "").unwrap();
    for (settings, edits) in [(POLL, ["one", "two"]), ("", ["three", "four"])] {
        fs::write(&edited, page_with(settings, "first")).unwrap();
        let proxy = in_namespaces("mount --bind \"$2\" \"$1\"", &mounted, &[&edited]);
        let warning = proxy.wait_for_log("the warning", |line| line["level"] == "warn");
        let message = warning["message"].as_str().unwrap();
        assert!(message.contains("mounted as a single file"), "{message}");
        assert!(message.contains("mount its directory"), "{message}");
        assert_eq!(warning["file"], mounted.to_str().unwrap());

        for text in edits {
            truncate_and_write(&edited, &page_with(settings, text));
            proxy.soon_serves(text);
        }
    }
}

#[test]
#[ignore = "needs user namespaces; make test runs it"]
fn without_a_watcher_it_starts_all_the_same_and_says_once_that_it_polls() {
    for (limit, mode) in [
        ("max_inotify_instances", "auto"),
        ("max_inotify_instances", "watch"),
        ("max_inotify_watches", "auto"),
        ("max_inotify_watches", "watch"),
    ] {
        let settings = format!("mode = \"{mode}\"\npoll_interval = \"200ms\"\nsettle = \"20ms\"");
        let directory = TempDir::new().unwrap();
        let config = directory.path().join("pointsman.toml");
        fs::write(&config, page_with(&settings, "first")).unwrap();
        let script = format!("echo 0 > /proc/sys/user/{limit}");
        let proxy = in_namespaces(&script, &config, &[]);
        for (how, save) in SAVES {
            save(&config, &page_with(&settings, how));
            proxy.soon_serves(how);
        }
        let warnings = proxy.logged("warn");
        assert_eq!(warnings.len(), 1, "{limit}, {mode}: {warnings:#?}");
        assert!(
            warnings[0].contains("polling it every 0.2 s"),
            "{warnings:?}"
        );
    }
}

pub(crate) fn write_in_place(file: &Path, text: &str) {
    let mut open = OpenOptions::new().write(true).open(file).unwrap();
    open.write_all(text.as_bytes()).unwrap();
    open.set_len(text.len() as u64).unwrap();
}

pub(crate) fn truncate_and_write(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
}

pub(crate) fn rename_over(file: &Path, text: &str) {
    let new = beside(file, ".new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, file).unwrap();
}

pub(crate) fn move_away_and_create(file: &Path, text: &str) {
    fs::rename(file, beside(file, ".old")).unwrap();
    create(file, text);
}

pub(crate) fn remove_and_create(file: &Path, text: &str) {
    fs::remove_file(file).unwrap();
    create(file, text);
}

/// The real program: it writes beside the file under a name of its own and renames.
fn sed(file: &Path, text: &str) {
    let line = text
        .lines()
        .find(|line| line.starts_with("respond"))
        .unwrap();
    let script = format!("s/^respond.*/{line}/");
    let done = Command::new("sed").args(["-i", &script]).arg(file).status();
    assert!(done.unwrap().success());
}

/// As `:w` does with `backupcopy=no`.
pub(crate) fn save_as_vim_does(file: &Path, text: &str) {
    let backup = beside(file, "~");
    fs::rename(file, &backup).unwrap();
    create(file, text);
    fs::remove_file(&backup).unwrap();
}

fn create(file: &Path, text: &str) {
    let mut new = File::create_new(file).unwrap();
    new.write_all(text.as_bytes()).unwrap();
    new.sync_all().unwrap();
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn inotify_instances(proxy: &Proxy) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", proxy.id())).unwrap();
    let targets = descriptors
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok());
    targets
        .filter(|target| target.as_os_str() == "anon_inode:inotify")
        .count()
}
