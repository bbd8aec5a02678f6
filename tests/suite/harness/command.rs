//! Commands that end by themselves, and files for them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::proxy::BINARY;

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the binary to its end.
pub(crate) fn pointsman(arguments: &[&dyn AsRef<OsStr>]) -> Said {
    pointsman_in(Path::new("."), arguments)
}

/// The same from within this directory.
pub(crate) fn pointsman_in(directory: &Path, arguments: &[&dyn AsRef<OsStr>]) -> Said {
    let arguments = arguments.iter().map(|argument| argument.as_ref());
    let output = command(directory).args(arguments).output();
    let output = output.expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("it speaks UTF-8");
    Said {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// The binary in this directory, with nothing of the machine's own settings.
pub(super) fn command(directory: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command
        .current_dir(directory)
        .env_remove("POINTSMAN_CONFIG")
        .stdin(Stdio::null());
    command
}

/// A file that nothing serves.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) path: PathBuf,
    _directory: TempDir,
}

impl Written {
    pub(crate) fn new(content: impl AsRef<[u8]>) -> Self {
        let directory = TempDir::new().expect("a directory for the file");
        let path = directory.path().join("pointsman.toml");
        std::fs::write(&path, content).expect("the file is written");
        Self {
            path,
            _directory: directory,
        }
    }

    pub(crate) fn check(&self) -> Said {
        pointsman(&[&"check", &self.path])
    }

    /// For a file that does not serve, so that this ends.
    pub(crate) fn run(&self) -> Said {
        pointsman(&[&"run", &"--config", &self.path])
    }
}
