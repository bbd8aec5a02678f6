//! Which page tells that a request failed: the route's, the one for all routes, or a built-in one.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use axum::body::Bytes;
use http::StatusCode;

use super::accept::{Accept, Form};
use super::page::Page;

/// Every page of one snapshot.
#[derive(Debug)]
pub struct ErrorPages {
    routes: HashMap<String, Pages>,
    everywhere: Pages,
    text: Page,
    json: Page,
    html: Page,
}

/// The pages of one table of the configuration, the most specific first.
#[derive(Debug, Default)]
pub struct Pages(Vec<(Covers, Vec<Arc<Page>>)>);

/// The statuses that a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Covers {
    Status(u16),
    /// 4 for all of 400 to 499.
    Class(u16),
    Default,
}

impl ErrorPages {
    /// `routes` by their names; only those that have pages of their own.
    pub fn new(routes: HashMap<String, Pages>, everywhere: Pages) -> Self {
        let built_in =
            |form, text: &'static str| Page::cut(form, &Bytes::from_static(text.as_bytes()));
        Self {
            routes,
            everywhere,
            text: built_in(Form::Text, include_str!("built_in/error.txt")),
            json: built_in(Form::Json, include_str!("built_in/error.json")),
            html: built_in(Form::Html, include_str!("built_in/error.html")),
        }
    }

    /// The first that the client takes. Who takes none of the operator's gets a built-in one: a
    /// program that asks for JSON is not helped by a page for people.
    pub fn find(&self, route: Option<&str>, status: StatusCode, accept: &Accept) -> &Page {
        let own = route.and_then(|route| self.routes.get(route));
        let tables = own.into_iter().chain([&self.everywhere]);
        let found = tables.flat_map(|pages| pages.for_status(status.as_u16()));
        let mut taken = found.filter_map(|pages| {
            let best = accept.choose(pages, |page| page.form())?;
            pages.get(best)
        });
        taken.next().map_or_else(
            || match accept.form() {
                Form::Text => &self.text,
                Form::Json => &self.json,
                Form::Html => &self.html,
            },
            AsRef::as_ref,
        )
    }
}

impl Pages {
    pub fn new(mut pages: Vec<(Covers, Vec<Arc<Page>>)>) -> Self {
        pages.sort_by_key(|(covers, _)| *covers);
        Self(pages)
    }

    fn for_status(&self, status: u16) -> impl Iterator<Item = &[Arc<Page>]> {
        let pages = self.0.iter();
        let these = pages.filter(move |(covers, _)| covers.hold(status));
        these.map(|(_, pages)| pages.as_slice())
    }
}

impl Covers {
    fn hold(self, status: u16) -> bool {
        match self {
            Self::Status(own) => own == status,
            Self::Class(class) => class == status / 100,
            Self::Default => true,
        }
    }
}

impl FromStr for Covers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "default" => return Ok(Self::Default),
            "4xx" => return Ok(Self::Class(4)),
            "5xx" => return Ok(Self::Class(5)),
            _ => {}
        }
        let status = text.parse().ok();
        let status = status.filter(|status| (400..=599).contains(status));
        status.map(Self::Status).ok_or_else(|| {
            format!(
                "`{text}` is not the status of an error; write one such as 502, or 4xx, 5xx or \
                 default"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(keys: &[&str], form: Form) -> Pages {
        let page = |key: &&str| {
            let page = Page::cut(form, &Bytes::copy_from_slice(key.as_bytes()));
            (key.parse().unwrap(), vec![Arc::new(page)])
        };
        Pages::new(keys.iter().map(page).collect())
    }

    #[test]
    fn the_status_beats_its_class_the_class_the_default_and_the_route_them_all() {
        let routes = [
            ("shop", &["default", "5xx", "502"][..]),
            ("api", &["4xx"]),
            ("bare", &["default"]),
        ];
        let routes = routes.map(|(name, keys)| (name.to_owned(), pages(keys, Form::Text)));
        let everywhere = pages(&["5xx", "504", "400"], Form::Text);
        let pages = ErrorPages::new(routes.into(), everywhere);
        let table = [
            (Some("shop"), 502, "502"),
            (Some("shop"), 504, "5xx"),
            (Some("shop"), 404, "default"),
            (Some("api"), 404, "4xx"),
            (Some("api"), 504, "504"),
            (Some("api"), 502, "5xx"),
            (Some("bare"), 504, "default"),
            (Some("none"), 504, "504"),
            (None, 400, "400"),
            (
                None,
                404,
                "{status} {error}: {message}\nrequest id {request_id}\n",
            ),
        ];
        let told = |status| super::super::page::Told {
            status,
            error: "{error}",
            message: "{message}",
            request_id: "{request_id}",
        };
        for (route, status, expected) in table {
            let status = StatusCode::from_u16(status).unwrap();
            let page = pages.find(route, status, &Accept::default());
            let expected = expected.replace("{status}", status.as_str());
            assert_eq!(page.render(told(status)), expected, "{route:?} {status}");
        }
    }

    #[test]
    fn only_statuses_of_errors_have_pages() {
        for (text, covers) in [
            ("400", Some(Covers::Status(400))),
            ("599", Some(Covers::Status(599))),
            ("5xx", Some(Covers::Class(5))),
            ("default", Some(Covers::Default)),
            ("200", None),
            ("600", None),
            ("3xx", None),
            ("5XX", None),
            ("Default", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Covers>().ok(), covers, "{text}");
        }
    }
}
