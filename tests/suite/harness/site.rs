//! A configuration that is more than one file.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::{Proxy, free_port};

/// A configuration with pages beside it, in `pages/`.
#[derive(Debug)]
pub(crate) struct Site {
    directory: TempDir,
}

impl Site {
    pub(crate) fn new(pages: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().expect("a directory for the site");
        fs::create_dir(directory.path().join("pages")).expect("one for its pages");
        let site = Self { directory };
        for (name, text) in pages {
            fs::write(site.page(name), text).expect("a page");
        }
        site
    }

    pub(crate) fn page(&self, name: &str) -> PathBuf {
        self.directory.path().join("pages").join(name)
    }

    /// A process that was started elsewhere.
    pub(crate) fn serve(&self, config: &str) -> Proxy {
        let file = self.directory.path().join("pointsman.toml");
        fs::write(&file, Proxy::text(config)).expect("the configuration is written");
        Proxy::on_file(&file)
    }
}

/// A route to nobody, with these error pages.
pub(crate) fn down(name: &str, pages: &str) -> String {
    let port = free_port();
    format!(
        "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"http://127.0.0.1:{port}\"\n\
         error_page = {{ {pages} }}\n"
    )
}
