//! Where the configuration comes from, and what it held when it was read.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::named::{Contents, Named};
use crate::config::{self, Config, Problem, Report, Source};

/// A file system that takes longer does not answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Far beyond what anybody writes, and far below what memory holds.
const LARGEST: u64 = 64 * 1024 * 1024;

/// A file, or a text that never changes.
#[derive(Debug, Clone)]
pub enum ConfigSource {
    File(PathBuf),
    /// The embedded default, or what `--to` makes. The name stands for it in messages.
    Text {
        name: &'static str,
        text: String,
    },
}

impl ConfigSource {
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Text { name, .. } => (*name).to_owned(),
        }
    }

    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Text { .. } => None,
        }
    }

    /// What names in it are relative to.
    pub(super) fn directory(&self) -> &Path {
        self.path().and_then(Path::parent).unwrap_or(Path::new(""))
    }

    /// Reads the file and those that it names; `known` is what the reading before found them to
    /// be.
    pub(super) async fn read(&self, known: Named) -> Reading {
        let source = self.clone();
        // A network file system may hang, and must not take the control thread with it.
        let reading = tokio::task::spawn_blocking(move || source.look(&known, true));
        match timeout(PATIENCE, reading).await {
            Ok(reading) => reading.unwrap_or_else(|error| Reading::unreadable(error.to_string())),
            Err(_) => {
                Reading::unreadable("cannot be read: the file system does not answer".to_owned())
            }
        }
    }

    pub fn read_now(&self) -> Reading {
        self.look(&Named::default(), true)
    }

    /// For somebody who only wants to know: nothing is made that is not there.
    pub fn read_only(&self) -> Reading {
        self.look(&Named::default(), false)
    }

    fn look(&self, known: &Named, keep: bool) -> Reading {
        let text = match self {
            Self::Text { text, .. } => Ok(text.clone()),
            Self::File(path) => read_text(path, LARGEST),
        };
        match text {
            Ok(text) => self.with_files(text, known, keep),
            Err(unread) => Reading::without_text(unread),
        }
    }

    fn with_files(&self, text: String, known: &Named, keep: bool) -> Reading {
        let hash = Hash::of(text.as_bytes());
        let named = if known.is_by(hash) {
            known.clone()
        } else {
            Named::by(&text, hash, self.directory())
        };
        let files = named.read(keep);
        Reading {
            hash: (!text.trim().is_empty()).then(|| files.hash(hash)),
            text: Ok(text),
            named: Some(named),
            files,
        }
    }

    /// The Config of a reading, or what is wrong with it.
    pub fn parse(&self, reading: &Reading) -> Result<Config, Vec<Problem>> {
        match &reading.text {
            Ok(text) => {
                let mut config = config::parse(text, &|name| std::env::var(name).ok())?;
                reading.files.put_into(&mut config);
                Ok(config)
            }
            Err(Unread::Missing) => Err(vec![Problem::error("", "there is no such file")]),
            Err(Unread::Unreadable(why)) => Err(vec![Problem::error("", why.clone())]),
        }
    }

    /// The Problems with their places in the text.
    pub fn reports(&self, reading: &Reading, problems: &[Problem]) -> Vec<Report> {
        let text = reading.text.as_ref().map_or("", String::as_str);
        Source::new(self.name(), text).reports(problems)
    }
}

pub(super) fn read_text(path: &Path, largest: u64) -> Result<String, Unread> {
    let bytes = read_file(path, largest)?;
    String::from_utf8(bytes).map_err(|_| Unread::Unreadable("is not UTF-8 text".to_owned()))
}

/// Reads a regular file of at most so many bytes.
pub(super) fn read_file(path: &Path, largest: u64) -> Result<Vec<u8>, Unread> {
    let meta = std::fs::metadata(path)?;
    // Opening a pipe would wait for its writer.
    if !meta.is_file() {
        return Err(Unread::Unreadable("is not a regular file".to_owned()));
    }
    if meta.len() > largest {
        return Err(Unread::Unreadable(format!(
            "is larger than {largest} bytes"
        )));
    }
    Ok(std::fs::read(path)?)
}

/// Why there is no text.
#[derive(Debug, Clone)]
pub(super) enum Unread {
    /// As it is for a moment while many programs save.
    Missing,
    /// As no save leaves it.
    Unreadable(String),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Unreadable(format!("cannot be read: {error}")),
        }
    }
}

/// What the source and its files held at one moment.
#[derive(Debug, Clone)]
pub struct Reading {
    text: Result<String, Unread>,
    /// None if there was no text to name any.
    named: Option<Named>,
    files: Contents,
    hash: Option<Hash>,
}

impl Reading {
    fn unreadable(why: String) -> Self {
        Self::without_text(Unread::Unreadable(why))
    }

    fn without_text(unread: Unread) -> Self {
        let hash = match &unread {
            Unread::Missing => None,
            Unread::Unreadable(why) => Some(Hash::of(why.as_bytes())),
        };
        Self {
            text: Err(unread),
            named: None,
            files: Contents::default(),
            hash,
        }
    }

    pub(super) fn named(&self) -> Option<&Named> {
        self.named.as_ref()
    }

    /// None if there is nothing yet to apply or to refuse: no file, or an empty one.
    pub fn hash(&self) -> Option<Hash> {
        self.hash
    }
}

/// What tells two contents apart; modification times do not, on every file system.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 32]);

impl Hash {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Hash {
    /// As much as people compare.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .take(6)
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
