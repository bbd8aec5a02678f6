//! The text of a configuration, and where in it a key or a byte stands.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::problem::{Place, Problem, Report};

/// More at once help nobody, and each costs a look through the text.
const MOST_REPORTS: usize = 50;

/// The text of a file, with the name by which errors call it.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    text: String,
}

impl Source {
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Looks the places of the Problems up, errors first among those that are shown, in the order of
    /// the text.
    pub fn reports(&self, problems: &[Problem]) -> Vec<Report> {
        let (table, _) = DeTable::parse_recoverable(&self.text);
        let (errors, warnings): (Vec<_>, Vec<_>) =
            problems.iter().partition(|problem| problem.is_error());
        let shown = errors.into_iter().chain(warnings).take(MOST_REPORTS);
        let mut reports: Vec<Report> = shown
            .map(|problem| self.report(problem, table.get_ref()))
            .collect();
        reports.sort_by_key(|report| (report.line, report.column));
        if let (Some(last), more @ 1..) = (
            reports.last_mut(),
            problems.len().saturating_sub(MOST_REPORTS),
        ) {
            let more = format!("and {more} more like this are not shown");
            last.help = Some(
                last.help
                    .take()
                    .map_or(more.clone(), |help| format!("{help}; {more}")),
            );
        }
        reports
    }

    fn report(&self, problem: &Problem, table: &DeTable<'_>) -> Report {
        let (span, key) = match &problem.place {
            Place::Bytes(bytes) => (bytes.clone(), enclosing_key(table, bytes)),
            Place::Key(key) => (find(table, key), key.to_string()),
        };
        let start = floor_char(&self.text, span.start);
        let end = floor_char(&self.text, span.end.max(start));
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |at| start + at);
        let excerpt = self.text[line_start..line_end].trim_end_matches('\r');
        Report {
            severity: problem.severity,
            file: self.name.clone(),
            line: self.text[..line_start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            key,
            message: problem.message.clone(),
            help: problem.help.clone(),
            // A tab would put the caret elsewhere than the column says.
            excerpt: excerpt.replace('\t', " "),
            width: self.text[start..end.min(line_end)].chars().count(),
        }
    }
}

fn floor_char(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// The way from the top of the file to a value: `route[2].path`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl KeyPath {
    #[must_use]
    pub fn key(&self, key: impl Into<String>) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.into()));
        Self(steps)
    }

    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Self(steps)
    }
}

impl From<&str> for KeyPath {
    fn from(key: &str) -> Self {
        Self(vec![Step::Key(key.to_owned())])
    }
}

impl From<&Self> for KeyPath {
    fn from(path: &Self) -> Self {
        path.clone()
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The span of the value at `path`, or of the deepest table above it that the text has: a Problem
/// about a key that is not there points at the table that lacks it.
fn find(table: &DeTable<'_>, path: &KeyPath) -> Range<usize> {
    let mut span = 0..0;
    let mut table = Some(table);
    let mut list = None;
    for step in &path.0 {
        let value = match step {
            Step::Key(key) => table.and_then(|table| table.get(key.as_str())),
            Step::Index(index) => list.and_then(|list: &DeArray<'_>| list.get(*index)),
        };
        let Some(value) = value else { break };
        span = value.span();
        (table, list) = match value.get_ref() {
            DeValue::Table(table) => (Some(table), None),
            DeValue::Array(array) => (None, Some(array)),
            _ => (None, None),
        };
    }
    span
}

/// The path of the innermost value (or its key) that holds these bytes.
fn enclosing_key(table: &DeTable<'_>, bytes: &Range<usize>) -> String {
    let mut path = KeyPath::default();
    descend(table, bytes, &mut path);
    path.to_string()
}

fn descend(table: &DeTable<'_>, bytes: &Range<usize>, path: &mut KeyPath) {
    for (key, value) in table {
        let is_key = holds(&key.span(), bytes);
        if is_key || reaches(value, bytes) {
            *path = path.key(key.get_ref().clone());
            if !is_key {
                descend_value(value, bytes, path);
            }
            return;
        }
    }
}

fn descend_value(value: &Spanned<DeValue<'_>>, bytes: &Range<usize>, path: &mut KeyPath) {
    match value.get_ref() {
        DeValue::Table(table) => descend(table, bytes, path),
        DeValue::Array(array) => {
            let found = array.iter().position(|element| reaches(element, bytes));
            if let Some(index) = found {
                *path = path.index(index);
                descend_value(&array[index], bytes, path);
            }
        }
        _ => {}
    }
}

/// The span of a `[table]` is that of its header alone, so its content is asked too.
pub(super) fn reaches(value: &Spanned<DeValue<'_>>, bytes: &Range<usize>) -> bool {
    holds(&value.span(), bytes)
        || match value.get_ref() {
            DeValue::Table(table) => table
                .iter()
                .any(|(key, value)| holds(&key.span(), bytes) || reaches(value, bytes)),
            DeValue::Array(array) => array.iter().any(|element| reaches(element, bytes)),
            _ => false,
        }
}

pub(super) fn holds(span: &Range<usize>, bytes: &Range<usize>) -> bool {
    span.start <= bytes.start && bytes.end <= span.end && !span.is_empty()
}
