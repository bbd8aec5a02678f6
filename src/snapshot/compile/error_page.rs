//! Error pages: the files' contents cut into pieces, by route and status.

use std::collections::HashMap;
use std::sync::Arc;

use super::{at, sound};
use crate::config::{self, Config, KeyPath, PageFiles, Problem};
use crate::message::ErrorPages;
use crate::message::error_pages::{Covers, Pages};
use crate::message::page::Page;
use crate::route::Route;

pub(super) fn compile(
    config: &Config,
    routes: &[Arc<Route>],
    problems: &mut Vec<Problem>,
) -> ErrorPages {
    let mut files = Files {
        files: &config.page_files,
        cut: HashMap::new(),
    };
    let everywhere = files.pages(&config.error_page, &KeyPath::from("error_page"), problems);
    let mut own = HashMap::new();
    for (index, (route, wanted)) in routes.iter().zip(&config.route).enumerate() {
        if !wanted.error_page.0.is_empty() {
            let place = at(index).key("error_page");
            let pages = files.pages(&wanted.error_page, &place, problems);
            own.insert(route.name.clone(), pages);
        }
    }
    ErrorPages::new(own, everywhere)
}

/// Cuts each file once, however many routes name it.
struct Files<'a> {
    files: &'a PageFiles,
    cut: HashMap<&'a str, Arc<Page>>,
}

impl<'a> Files<'a> {
    fn pages(
        &mut self,
        table: &'a config::ErrorPage,
        at: &KeyPath,
        problems: &mut Vec<Problem>,
    ) -> Pages {
        let mut pages = Vec::new();
        for (key, names) in &table.0 {
            let place = at.key(key);
            let covers = sound(key.parse::<Covers>(), &place, problems);
            let these = names
                .iter()
                .filter_map(|name| match self.page(name) {
                    Ok(page) => Some(page),
                    Err((message, help)) => {
                        problems.push(Problem::error(&place, message).help(help));
                        None
                    }
                })
                .collect();
            pages.extend(covers.map(|covers| (covers, these)));
        }
        Pages::new(pages)
    }

    /// The page, or what is wrong and what to write.
    fn page(&mut self, name: &'a str) -> Result<Arc<Page>, (String, String)> {
        if let Some(page) = self.cut.get(name) {
            return Ok(Arc::clone(page));
        }
        let form = Page::form_of(name).ok_or_else(|| {
            let message = format!("the name `{name}` does not tell what kind of page it is");
            (message, "name the file .html, .json or .txt".to_owned())
        })?;
        let file = self.files.0.get(name).ok_or_else(|| {
            let message = format!("the page `{name}` was not read");
            (
                message,
                "write the key `error_page` without escapes".to_owned(),
            )
        })?;
        let content = file.content.as_ref().map_err(|why| {
            let message = format!("the page `{name}` {why}");
            (
                message,
                format!("write it to {}, or take this key away", file.place),
            )
        })?;
        let page = Arc::new(Page::cut(form, content));
        self.cut.insert(name, Arc::clone(&page));
        Ok(page)
    }
}
