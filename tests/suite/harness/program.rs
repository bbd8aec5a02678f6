//! Programs that are not ours, found where `make components` puts them.

use std::env;
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A command that runs the program `name` in the root of the project.
pub(crate) fn tool(name: &str) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    let fetched = Path::new(ROOT).join("target/components/bin");
    // Servers lie in sbin, which is not on every user's path.
    let program = env::split_paths(&path)
        .chain([fetched, "/usr/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("no {name} on this machine; `make components` brings it"));
    let mut command = Command::new(program);
    command.current_dir(ROOT);
    command
}

/// One end of a protocol by a library of Python's: a script of `tests/peers`.
pub(crate) fn peer(script: &str, arguments: &[&str]) -> Command {
    let root = Path::new(ROOT);
    let mut command = tool("python3");
    command
        .env("PYTHONPATH", root.join("target/components/python"))
        .arg("-B")
        .arg(root.join("tests/peers").join(script))
        .args(arguments);
    command
}

/// What a command prints, once it has succeeded.
pub(crate) fn passes(command: &mut Command) -> String {
    let run = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (said, complained) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(
        run.status.success(),
        "{command:?}: {}\n{said}{complained}",
        run.status
    );
    said.into_owned()
}
