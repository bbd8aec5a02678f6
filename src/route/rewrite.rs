//! Changes of the path before forwarding, on the bytes as the client sent them.

use http::uri::PathAndQuery;

use crate::message::Target;
use crate::message::target::canonical_path;

/// Takes a prefix away, then puts one before the path. Prefixes end at a segment's end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite {
    strip: Option<Prefix>,
    add: String,
    /// Add only where the prefix was there to be taken away.
    replace: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Prefix {
    /// Canonical, without a slash at its end.
    path: String,
    segments: usize,
}

impl Rewrite {
    pub fn new(strip: Option<&str>, add: Option<&str>, replace: bool) -> Result<Self, String> {
        let strip = strip.map(Prefix::parse).transpose()?;
        let add = match add {
            Some(add) => checked(add)?.trim_end_matches('/').to_owned(),
            None => String::new(),
        };
        Ok(Self {
            strip,
            add,
            replace,
        })
    }

    /// Path and query to send on; none if the request's own are.
    pub fn apply(&self, target: &Target<'_>) -> Option<PathAndQuery> {
        let raw = target.raw_path();
        let stripped = self
            .strip
            .as_ref()
            .and_then(|prefix| prefix.strip(raw, target.path()));
        if stripped.is_none() && (self.replace || self.add.is_empty()) {
            return None;
        }
        let rest = stripped.unwrap_or(raw);
        // `OPTIONS *` has no path that a prefix could go before.
        if !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        let rest = if rest.is_empty() && self.add.is_empty() {
            "/"
        } else {
            rest
        };
        let query = target
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        PathAndQuery::try_from(format!("{}{rest}{query}", self.add)).ok()
    }
}

impl Prefix {
    fn parse(text: &str) -> Result<Self, String> {
        let path = checked(text)?.trim_end_matches('/');
        let path = canonical_path(path).ok_or_else(|| format!("`{text}` cannot be a path"))?;
        Ok(Self {
            path: path.clone().into_owned(),
            segments: path.matches('/').count(),
        })
    }

    /// What of the raw path follows the prefix: nothing, or a slash and more.
    fn strip<'a>(&self, raw: &'a str, canonical: &str) -> Option<&'a str> {
        let rest = canonical.strip_prefix(self.path.as_str())?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        // The prefix may be spelt otherwise in the raw path, but has as many segments there.
        match raw.match_indices('/').nth(self.segments) {
            Some((at, _)) => Some(&raw[at..]),
            None => Some(""),
        }
    }
}

fn checked(text: &str) -> Result<&str, String> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
    if text.starts_with('/') && plain && canonical_path(text).is_some() {
        Ok(text)
    } else {
        Err(format!(
            "`{text}` is not a prefix of a path; write one such as \"/v1\""
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(rewrite: &Rewrite, uri: &str) -> String {
        let request = http::Request::get(uri)
            .header("host", "a")
            .body(())
            .unwrap();
        let (head, ()) = request.into_parts();
        let target = Target::parse(&head).unwrap();
        rewrite
            .apply(&target)
            .map_or_else(|| uri.to_owned(), |path| path.to_string())
    }

    #[test]
    fn prefixes_end_at_a_segment_and_never_make_an_empty_path_or_a_double_slash() {
        let strip = Rewrite::new(Some("/api/"), None, false).unwrap();
        let table = [
            ("/api", "/"),
            ("/api/", "/"),
            ("/api/x", "/x"),
            ("/api//x", "//x"),
            ("/api?q", "/?q"),
            ("/api/x?", "/x?"),
            ("/apix", "/apix"),
            ("/%61pi/a%2Fx?a=1;b&c=%zz", "/a%2Fx?a=1;b&c=%zz"),
        ];
        for (uri, expected) in table {
            assert_eq!(rewritten(&strip, uri), expected);
        }
        for add in ["/v2", "/v2/"] {
            let both = Rewrite::new(Some("/api"), Some(add), false).unwrap();
            for (uri, expected) in [
                ("/api", "/v2"),
                ("/api/", "/v2/"),
                ("/api/x?q", "/v2/x?q"),
                ("/y", "/v2/y"),
            ] {
                assert_eq!(rewritten(&both, uri), expected);
            }
        }
        let replace = Rewrite::new(Some("/api"), Some("/v2"), true).unwrap();
        assert_eq!(rewritten(&replace, "/api/x"), "/v2/x");
        assert_eq!(rewritten(&replace, "/y"), "/y");
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        for text in ["", "v1", "/a?b", "/a#b", "/a b", "/a/../b"] {
            assert!(Rewrite::new(Some(text), None, false).is_err(), "{text}");
            assert!(Rewrite::new(None, Some(text), false).is_err(), "{text}");
        }
    }
}
