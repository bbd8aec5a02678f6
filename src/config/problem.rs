//! A Problem: what is wrong with a configuration, where, and what to write instead.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::source::KeyPath;

/// One thing wrong. Every check reports all it finds, so that an operator mends a file in one go.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    pub severity: Severity,
    pub place: Place,
    pub message: String,
    /// What to write instead, if that can be told.
    pub help: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is applied; the operator should know.
    Warning,
}

/// Where a Problem is, before it is looked up in the text.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    Bytes(Range<usize>),
    Key(KeyPath),
}

impl Problem {
    pub fn error(at: impl Into<KeyPath>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, Place::Key(at.into()), message)
    }

    pub fn warning(at: impl Into<KeyPath>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, Place::Key(at.into()), message)
    }

    pub(super) fn at_bytes(bytes: Range<usize>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, Place::Bytes(bytes), message)
    }

    fn new(severity: Severity, place: Place, message: impl Into<String>) -> Self {
        Self {
            severity,
            place,
            message: message.into(),
            help: None,
        }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// A Problem with its place in the file: one JSON object, or three lines for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub severity: Severity,
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// As `route[0].path`; empty where the text could not be read as keys.
    pub key: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    #[serde(skip)]
    pub(super) excerpt: String,
    #[serde(skip)]
    pub(super) width: usize,
}

impl Report {
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// One line, as log entries want it.
    pub fn line(&self) -> String {
        let Self {
            file,
            line,
            column,
            key,
            message,
            ..
        } = self;
        let key = if key.is_empty() {
            String::new()
        } else {
            format!("{key}: ")
        };
        let help = self
            .help
            .as_deref()
            .map(|help| format!(" ({help})"))
            .unwrap_or_default();
        format!("{file}:{line}:{column}: {key}{message}{help}")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(f, "{severity}: {}", self.message)?;
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        write!(f, "{gutter}--> {}:{}:{}", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, " ({})", self.key)?;
        }
        writeln!(f, "\n{gutter} |\n{number} | {}", self.excerpt)?;
        let indent = " ".repeat(self.column - 1);
        writeln!(f, "{gutter} | {indent}{}", "^".repeat(self.width.max(1)))?;
        if let Some(help) = &self.help {
            writeln!(f, "{gutter} = help: {help}")?;
        }
        Ok(())
    }
}

/// The known word that a misspelt one most likely means.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().max(word.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_the_nearest_known_one() {
        let known = ["upstream", "host", "path", "method"];
        assert_eq!(nearest("upstraem", known), Some("upstream"));
        assert_eq!(nearest("hosts", known), Some("host"));
        assert_eq!(nearest("Path", known), Some("path"));
        assert_eq!(nearest("colour", known), None);
    }
}
