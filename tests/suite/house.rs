//! The laws of the house that a machine can see.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms from the ground up. A room imports from floors below its own, and from itself.
const FLOORS: [&[&str]; 13] = [
    &["why", "config"],
    &["metrics"],
    &["message", "net", "telemetry"],
    &["wire"],
    &["upstream", "gate"],
    &["route"],
    &["snapshot"],
    &["proxy"],
    &["server", "demo"],
    &["reload"],
    &["admin"],
    &["app"],
    &["cli", "main"],
];

/// Of the whole file, its tests included.
const LONGEST_FILE: usize = 350;

fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    collect(Path::new("src"), &mut files);
    assert!(
        files.len() > 50,
        "the sources are where this test looks for them"
    );
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn room(path: &Path) -> String {
    let first = path.strip_prefix("src").unwrap().iter().next().unwrap();
    first.to_str().unwrap().trim_end_matches(".rs").to_owned()
}

fn floor(room: &str) -> usize {
    let found = FLOORS.iter().position(|floor| floor.contains(&room));
    found.unwrap_or_else(|| panic!("the room `{room}` has no floor; give it one in this test"))
}

/// Every room that a text names by `crate::`, also several in braces.
fn imports(text: &str) -> Vec<String> {
    let word = |text: &str| {
        text.chars()
            .take_while(|c| c.is_ascii_lowercase() || *c == '_')
            .collect::<String>()
    };
    let after = text.split("crate::").skip(1);
    let rooms = after.flat_map(|rest| match rest.strip_prefix('{') {
        Some(list) => {
            let list = list.split('}').next().unwrap_or_default();
            list.split(',').map(|item| word(item.trim())).collect()
        }
        None => vec![word(rest)],
    });
    rooms.filter(|room| !room.is_empty()).collect()
}

#[test]
fn arrows_point_down() {
    for (path, text) in sources() {
        let own = room(&path);
        if own == "lib" {
            continue;
        }
        for other in imports(&text).iter().filter(|other| **other != own) {
            assert!(
                floor(other) < floor(&own),
                "{} imports `{other}`, which is not below `{own}`",
                path.display()
            );
        }
    }
}

#[test]
fn every_file_says_at_its_head_what_lives_in_it_and_stays_readable() {
    for (path, text) in sources() {
        let (name, lines) = (path.display(), text.lines().count());
        assert!(text.starts_with("//!"), "{name} does not begin with `//!`");
        assert!(
            lines <= LONGEST_FILE,
            "{name} has {lines} lines; {LONGEST_FILE} is the most"
        );
    }
}

#[test]
fn rooms_are_not_called_by_what_everything_is() {
    for (path, _) in sources() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let vague = [
            "utils", "util", "common", "helper", "helpers", "manager", "misc",
        ];
        assert!(
            !vague.contains(&name) && !name.ends_with("_main"),
            "{}",
            path.display()
        );
    }
}
