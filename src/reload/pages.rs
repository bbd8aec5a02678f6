//! The pages that a configuration names: found by its text, and read with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::source::{Hash, Unread, read_text};
use crate::config::{self, PageFile, PageFiles};

/// Beyond what a page without pictures needs. All pages are held in memory.
const LARGEST: u64 = 1024 * 1024;

/// Which files a text names. Handed from one reading to the next, so that a text is parsed for it
/// once and not at each look.
#[derive(Debug, Clone, Default)]
pub(super) struct Named {
    text: Option<Hash>,
    /// The name as it is written, and where it leads to.
    files: Arc<BTreeMap<String, PathBuf>>,
}

impl Named {
    /// Names are relative to the directory of the configuration, wherever the process was started.
    pub(super) fn by(text: &str, hash: Hash, directory: &Path) -> Self {
        let files = names(text).into_iter().map(|name| {
            let path = directory.join(&name);
            (name, std::path::absolute(&path).unwrap_or(path))
        });
        Self {
            text: Some(hash),
            files: Arc::new(files.collect()),
        }
    }

    pub(super) fn is_by(&self, text: Hash) -> bool {
        self.text == Some(text)
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.values()
    }

    pub(super) fn read(&self) -> PageFiles {
        let read = |(name, path): (&String, &PathBuf)| {
            let place = path.display().to_string();
            let content = read_page(path);
            (name.clone(), PageFile { place, content })
        };
        PageFiles(self.files.iter().map(read).collect())
    }
}

/// None for a text that is not sound: it is refused before its pages matter.
fn names(text: &str) -> Vec<String> {
    // Parsing costs more than looking. A key may be spelt with escapes.
    if !text.contains("error_page") && !text.contains('\\') {
        return Vec::new();
    }
    let config = config::parse(text, &|name| std::env::var(name).ok());
    let names = config.map(|config| config.error_page_files().map(str::to_owned).collect());
    names.unwrap_or_default()
}

/// The content, or the end of the sentence that begins with "the page".
fn read_page(path: &Path) -> Result<bytes::Bytes, String> {
    match read_text(path, LARGEST) {
        // As it is for a moment while many programs save; nobody means it.
        Ok(text) if text.is_empty() => Err("is empty".to_owned()),
        Ok(text) => Ok(text.into()),
        Err(Unread::Missing) => Err("is not there".to_owned()),
        Err(Unread::Unreadable(why)) => Err(why),
    }
}

/// Of a text and its pages; of the text alone where it names none.
pub(super) fn hash(text: Hash, pages: &PageFiles) -> Hash {
    if pages.0.is_empty() {
        return text;
    }
    let mut parts = text.as_bytes().to_vec();
    for (name, file) in &pages.0 {
        let (is_there, content) = match &file.content {
            Ok(content) => (1, Hash::of(content)),
            Err(why) => (0, Hash::of(why.as_bytes())),
        };
        // All of one length, so that no two lists of pages make the same bytes.
        parts.push(is_there);
        parts.extend_from_slice(Hash::of(name.as_bytes()).as_bytes());
        parts.extend_from_slice(content.as_bytes());
    }
    Hash::of(&parts)
}
