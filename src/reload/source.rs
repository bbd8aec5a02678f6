//! Where the configuration comes from, and what it held when it was read.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::config::{self, Config, Problem, Report, Source};

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

    pub async fn read(&self) -> Reading {
        match self {
            Self::Text { text, .. } => Reading {
                text: Ok(text.clone()),
            },
            Self::File(path) => {
                let path = path.clone();
                // A network file system may hang, and must not take the control thread with it.
                let read = tokio::task::spawn_blocking(move || read(&path));
                Reading {
                    text: read.await.unwrap_or_else(|error| Err(error.to_string())),
                }
            }
        }
    }

    pub fn read_now(&self) -> Reading {
        match self {
            Self::Text { text, .. } => Reading {
                text: Ok(text.clone()),
            },
            Self::File(path) => Reading { text: read(path) },
        }
    }

    /// The Config of a reading, or what is wrong with it.
    pub fn parse(&self, reading: &Reading) -> Result<Config, Vec<Problem>> {
        match &reading.text {
            Ok(text) => config::parse(text, &|name| std::env::var(name).ok()),
            Err(error) => Err(vec![Problem::error("", error.clone())]),
        }
    }

    /// The Problems with their places in the text.
    pub fn reports(&self, reading: &Reading, problems: &[Problem]) -> Vec<Report> {
        let text = reading.text.as_deref().unwrap_or_default();
        Source::new(self.name(), text).reports(problems)
    }
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("cannot be read: {error}"),
    })?;
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())
}

/// What the source held at one moment.
#[derive(Debug, Clone)]
pub struct Reading {
    text: Result<String, String>,
}

impl Reading {
    /// None if there is nothing to apply: no file, or an empty one, as it is for a moment while
    /// many programs save.
    pub fn hash(&self) -> Option<Hash> {
        let text = self.text.as_ref().ok()?;
        (!text.trim().is_empty()).then(|| Hash::of(text.as_bytes()))
    }
}

/// What tells two contents apart; modification times do not, on every file system.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 32]);

impl Hash {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
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
