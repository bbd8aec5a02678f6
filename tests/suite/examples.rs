//! Every configuration that is shown to people is good.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Authority, BINARY, Pair};

/// Checks a text with the program itself; gives what it complains of.
fn check(text: &str) -> Result<(), String> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("example.toml");
    fs::write(&file, text).expect("the example is written");
    for (name, content) in named_files(text) {
        let file = directory.path().join(name);
        fs::create_dir_all(file.parent().expect("its directory")).expect("it is made");
        fs::write(&file, content).expect("the file is written");
        fs::set_permissions(file, Permissions::from_mode(0o600)).expect("its mode");
    }
    let output = Command::new(BINARY)
        .arg("check")
        .arg(&file)
        .output()
        .expect("the binary runs");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() && complaints.is_empty() {
        Ok(())
    } else {
        Err(complaints)
    }
}

/// The error pages, lists of clients and certificates that a text names, whatever is quoted and ends as they do, with
/// something good in each.
fn named_files(text: &str) -> Vec<(&str, String)> {
    let authority = Authority::new();
    let mut pairs: HashMap<String, Pair> = HashMap::new();
    let mut pair = |stem: &str| {
        let host = format!("{}.example", stem.replace('/', "-"));
        let new = || authority.issue(&[&host]);
        pairs.entry(stem.to_owned()).or_insert_with(new).clone()
    };
    let quoted = text.split('"').skip(1).step_by(2);
    let file = quoted.filter_map(|name| {
        let content = match name.rsplit_once('.')? {
            (_, "html" | "json") => "a page".to_owned(),
            (_, "txt") => "192.0.2.1 # somebody\n".to_owned(),
            (stem, "pem") => pair(stem).cert,
            (stem, "key") => pair(stem).key,
            _ => return None,
        };
        Some((name, content))
    });
    file.collect()
}

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|known| known == extension))
        .collect()
}

/// The blocks between "```toml" and "```".
fn blocks(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).expect("the page");
    let after = text.split("```toml\n").skip(1);
    after
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn every_file_in_config_is_good_and_warns_of_nothing() {
    let files = files("config", "toml");
    assert!(
        files.len() >= 2,
        "the examples are where this test looks for them"
    );
    for file in files {
        let text = fs::read_to_string(&file).expect("the example");
        check(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

#[test]
fn every_block_of_toml_in_the_documentation_is_good_and_warns_of_nothing() {
    let mut pages = files("docs", "md");
    pages.extend(files(".", "md"));
    let blocks: Vec<(PathBuf, String)> = pages
        .into_iter()
        .flat_map(|page| {
            blocks(&page)
                .into_iter()
                .map(move |block| (page.clone(), block))
        })
        .collect();
    assert!(
        blocks.len() >= 7,
        "the documentation is where this test looks for it"
    );
    for (page, block) in blocks {
        check(&block).unwrap_or_else(|error| panic!("{}: {block}\n{error}", page.display()));
    }
}
