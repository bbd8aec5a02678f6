//! `[error_page]` and `error_page` of a route: files that tell a client why a request failed.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use serde::Deserialize;

use super::units::OneOrMany;

/// `{ 502 = "pages/502.html", 5xx = ["pages/5xx.html", "pages/5xx.json"], default = "..." }`: a file,
/// or one of each kind, by status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ErrorPage(pub BTreeMap<String, OneOrMany<String>>);

impl ErrorPage {
    /// Every file that is named, as it is written.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let files = self.0.values().flat_map(OneOrMany::iter);
        files.map(String::as_str)
    }
}

/// A route is not another one because of its error pages: nothing that lasts holds them, so nothing
/// has to be drained when they change.
impl Hash for ErrorPage {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// What the named files hold, by the names as they are written. They are a part of what the operator
/// wrote, and read with it.
#[derive(Debug, Clone, Default)]
pub struct PageFiles(pub BTreeMap<String, PageFile>);

/// The same of files that list clients.
#[derive(Debug, Clone, Default)]
pub struct ListFiles(pub BTreeMap<String, PageFile>);

/// The content of one file, or why there is none and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageFile {
    /// Where the name leads to.
    pub place: String,
    pub content: Result<Bytes, String>,
}
