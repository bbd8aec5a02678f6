//! The files that a configuration names, error pages, lists of clients, certificates and keys: found by
//! its text, and read with it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::authority;
use super::source::{Hash, Unread, read_file, read_text};
use crate::config::{
    self, Config, ListFiles, LocalAuthority, PageFile, PageFiles, Secret, TlsFile, TlsFiles,
};

/// Beyond what a page without pictures needs, and far beyond a chain of certificates. All of them are
/// held in memory.
const LARGEST: u64 = 1024 * 1024;

/// Of a list of clients: some hundred thousand of them.
const LARGEST_LIST: u64 = 16 * 1024 * 1024;

/// By name as it is written: where it leads to.
type Paths = BTreeMap<String, PathBuf>;

/// Which files a text names. Handed from one reading to the next, so that a text is parsed for it
/// once and not at each look.
#[derive(Debug, Clone, Default)]
pub(super) struct Named {
    text: Option<Hash>,
    pages: Arc<Paths>,
    lists: Arc<Paths>,
    tls: Arc<Paths>,
    /// Where the local authority is, if one is wanted.
    authority: Option<PathBuf>,
}

/// What they held at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    pages: PageFiles,
    lists: ListFiles,
    tls: TlsFiles,
    authority: Option<LocalAuthority>,
}

impl Named {
    /// Names are relative to the directory of the configuration, wherever the process was started.
    pub(super) fn by(text: &str, hash: Hash, directory: &Path) -> Self {
        let config = names_any(text).then(|| config::parse(text, &|name| std::env::var(name).ok()));
        // A text that is not sound is refused before its files matter.
        let config = config.and_then(Result::ok).unwrap_or_default();
        let path = |name: &str| {
            let path = directory.join(name);
            let path = std::path::absolute(&path).unwrap_or(path);
            (name.to_owned(), path)
        };
        Self {
            text: Some(hash),
            pages: Arc::new(config.error_page_files().map(path).collect()),
            lists: Arc::new(config.list_files().map(path).collect()),
            tls: Arc::new(config.tls_files().map(path).collect()),
            authority: config
                .uses_local_authority()
                .then(|| authority::state_dir(&config, directory)),
        }
    }

    pub(super) fn is_by(&self, text: Hash) -> bool {
        self.text == Some(text)
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let texts = self.pages.values().chain(self.lists.values());
        texts.chain(self.tls.values())
    }

    /// `keep`, if something has to be made that is not there.
    pub(super) fn read(&self, keep: bool) -> Contents {
        let place = |path: &Path| path.display().to_string();
        let page = |(name, path): (&String, &PathBuf)| {
            let (place, content) = (
                place(path),
                whole(read_text(path, LARGEST).map(Bytes::from)),
            );
            (name.clone(), PageFile { place, content })
        };
        // One that is empty lists nobody.
        let list = |(name, path): (&String, &PathBuf)| {
            let content = read_text(path, LARGEST_LIST).map(Bytes::from);
            let (place, content) = (place(path), readable(content));
            (name.clone(), PageFile { place, content })
        };
        let tls = |(name, path): (&String, &PathBuf)| {
            // Asked first: what was made stricter meanwhile is looked at again.
            let mode = std::fs::metadata(path).map_or(0, |meta| meta.permissions().mode() & 0o777);
            let content = whole(read_file(path, LARGEST).map(Bytes::from)).map(Secret);
            let place = place(path);
            (
                name.clone(),
                TlsFile {
                    place,
                    content,
                    mode,
                },
            )
        };
        Contents {
            pages: PageFiles(self.pages.iter().map(page).collect()),
            lists: ListFiles(self.lists.iter().map(list).collect()),
            tls: TlsFiles(self.tls.iter().map(tls).collect()),
            authority: self
                .authority
                .as_ref()
                .map(|place| authority::read(place, keep)),
        }
    }
}

impl Contents {
    pub(super) fn put_into(&self, config: &mut Config) {
        config.page_files = self.pages.clone();
        config.list_files = self.lists.clone();
        config.tls_files = self.tls.clone();
        config.local_authority = self.authority.clone();
    }

    /// Of a text and its files; of the text alone where it names none.
    pub(super) fn hash(&self, text: Hash) -> Hash {
        let none = self.pages.0.is_empty() && self.lists.0.is_empty() && self.tls.0.is_empty();
        if none && self.authority.is_none() {
            return text;
        }
        let mut parts = text.as_bytes().to_vec();
        let mut part = |kind: u32, name: &str, content: Result<&Bytes, &String>| {
            let (is_there, content) = match content {
                Ok(content) => (1, Hash::of(content)),
                Err(why) => (0, Hash::of(why.as_bytes())),
            };
            // All of one length, so that no two lists of files make the same bytes.
            parts.extend_from_slice(&kind.to_be_bytes());
            parts.push(is_there);
            parts.extend_from_slice(Hash::of(name.as_bytes()).as_bytes());
            parts.extend_from_slice(content.as_bytes());
        };
        for (name, page) in &self.pages.0 {
            part(u32::MAX, name, page.content.as_ref());
        }
        for (name, list) in &self.lists.0 {
            part(u32::MAX - 1, name, list.content.as_ref());
        }
        for (name, file) in &self.tls.0 {
            // Who may read a key is a part of what is checked.
            part(
                file.mode,
                name,
                file.content.as_ref().map(|secret| &secret.0),
            );
        }
        if let Some(LocalAuthority {
            content, period, ..
        }) = &self.authority
        {
            parts.extend_from_slice(&period.to_be_bytes());
            let content = match content {
                Ok((certificate, key)) => [&certificate.0[..], &key.0].concat(),
                Err((why, _)) => why.clone().into_bytes(),
            };
            parts.extend_from_slice(Hash::of(&content).as_bytes());
        }
        Hash::of(&parts)
    }
}

/// Parsing costs more than looking. A key may be spelt with escapes.
fn names_any(text: &str) -> bool {
    ["error_page", "access", "tls", "\\"]
        .iter()
        .any(|key| text.contains(key))
}

/// The content, or the end of the sentence that begins with the name of the file.
fn whole(read: Result<Bytes, Unread>) -> Result<Bytes, String> {
    match readable(read)? {
        // As it is for a moment while many programs save; nobody means it.
        bytes if bytes.is_empty() => Err("is empty".to_owned()),
        bytes => Ok(bytes),
    }
}

fn readable(read: Result<Bytes, Unread>) -> Result<Bytes, String> {
    match read {
        Ok(bytes) => Ok(bytes),
        Err(Unread::Missing) => Err("is not there".to_owned()),
        Err(Unread::Unreadable(why)) => Err(why),
    }
}
