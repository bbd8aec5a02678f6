//! Patterns of hosts and paths.

use std::fmt;

use crate::message::target::canonical_path;

/// `example.com`, or `*.example.com` for everything below it, however deep.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    Exact(String),
    /// Without the `*.`.
    Below(String),
}

impl HostPattern {
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_prefix("*.").unwrap_or(&lower);
        let name = name.strip_suffix('.').unwrap_or(name);
        let label = |label: &str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !label.is_empty() && label.bytes().all(known)
        };
        let address = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
            .is_some_and(|name| name.parse::<std::net::Ipv6Addr>().is_ok());
        if !address && !name.split('.').all(label) {
            return Err(format!(
                "`{text}` is not a host; write a name such as \"example.com\" or \
                 \"*.example.com\", without scheme, port or path"
            ));
        }
        let name = name.to_owned();
        Ok(if lower.starts_with("*.") {
            Self::Below(name)
        } else {
            Self::Exact(name)
        })
    }

    #[cfg(test)]
    pub(super) fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => host == name,
            Self::Below(name) => host
                .strip_suffix(name.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

/// The tree of patterns is walked by recursion.
const MOST_SEGMENTS: usize = 64;

/// `/users/{id}`; `/api/*` is `/api`, `/api/` and all below, never `/apix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    pub(super) segments: Vec<Segment>,
    /// Ends in `/*`.
    pub(super) open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Segment {
    /// In canonical form.
    Literal(String),
    /// Any one segment that is not empty.
    Part(String),
}

impl PathPattern {
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{text}` {why}");
        let Some(rest) = text.strip_prefix('/') else {
            return Err(wrong(
                "does not begin with a slash; write \"/users/{id}\" or \"/api/*\"",
            ));
        };
        if text.contains(['?', '#']) {
            return Err(wrong(
                "holds a query or fragment; match a query with `query = { ... }`",
            ));
        }
        let (rest, open) = match rest.strip_suffix('*') {
            Some("") => (None, true),
            Some(rest) => match rest.strip_suffix('/') {
                Some(rest) => (Some(rest), true),
                None => return Err(wrong("has a `*` that is not a whole segment; write \"/*\"")),
            },
            None => (Some(rest), false),
        };
        let segments = rest
            .into_iter()
            .flat_map(|rest| rest.split('/'))
            .map(Segment::parse);
        let segments = segments
            .collect::<Result<Vec<_>, _>>()
            .map_err(|why| wrong(&why))?;
        if segments.len() > MOST_SEGMENTS {
            return Err(wrong(&format!("has more than {MOST_SEGMENTS} segments")));
        }
        let names: Vec<&str> = segments.iter().filter_map(Segment::part).collect();
        if let Some(twice) = names
            .iter()
            .enumerate()
            .find(|(at, name)| names[..*at].contains(name))
        {
            return Err(wrong(&format!("names two parts `{{{}}}`", twice.1)));
        }
        Ok(Self {
            text: text.to_owned(),
            segments,
            open,
        })
    }

    /// Every path.
    pub fn any() -> Self {
        Self {
            text: "/*".to_owned(),
            segments: Vec::new(),
            open: true,
        }
    }

    /// Does the pattern take this canonical path? The plain way; the tree is the fast one.
    pub fn matches(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix('/') else {
            return self.segments.is_empty();
        };
        let mut given = rest.split('/');
        let taken = self
            .segments
            .iter()
            .all(|segment| match (segment, given.next()) {
                (Segment::Literal(literal), Some(given)) => literal == given,
                (Segment::Part(_), Some(given)) => !given.is_empty(),
                (_, None) => false,
            });
        taken && (self.open || given.next().is_none())
    }

    pub(super) fn part<'a>(&self, raw_path: &'a str, name: &str) -> Option<&'a str> {
        let at = self
            .segments
            .iter()
            .position(|segment| segment.part() == Some(name))?;
        // Decoding never makes or removes a separator, so segments keep their places.
        raw_path.strip_prefix('/')?.split('/').nth(at)
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::part)
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, String> {
        let name = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'));
        let named = |name: &str| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        match name {
            Some(name) if named(name) => Ok(Self::Part(name.to_owned())),
            Some(_) => Err("has a part whose name is not letters, digits and `_`".to_owned()),
            None if text.contains(['{', '}', '*']) => {
                Err("has `{`, `}` or `*` within a segment; each must be a whole one".to_owned())
            }
            None => match canonical_path(&format!("/{text}")) {
                Some(path) => Ok(Self::Literal(path[1..].to_owned())),
                None => Err(
                    "holds a dot segment, a control character or a broken escape, and \
                             such requests are refused"
                        .to_owned(),
                ),
            },
        }
    }

    fn part(&self) -> Option<&str> {
        match self {
            Self::Part(name) => Some(name),
            Self::Literal(_) => None,
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_on_segment_boundaries() {
        let table: [(&str, &[&str], &[&str]); 8] = [
            ("/", &["/"], &["//", "/a"]),
            ("/*", &["/", "/a", "//", "/a/b"], &[]),
            ("/api", &["/api"], &["/api/", "/apix", "//api", "/API"]),
            ("/api/", &["/api/"], &["/api", "/api/x"]),
            (
                "/api/*",
                &["/api", "/api/", "/api/x", "/api//x"],
                &["/apix", "/api-x", "//api", "/"],
            ),
            (
                "/users/{id}",
                &["/users/7", "/users/a%2Fb"],
                &["/users", "/users/", "/users/7/"],
            ),
            (
                "/users/{id}/*",
                &["/users/7", "/users/7/x/y"],
                &["/users/", "/users"],
            ),
            ("/%61%2fb", &["/a%2Fb"], &["/a/b"]),
        ];
        for (pattern, yes, no) in table {
            let pattern = PathPattern::parse(pattern).unwrap();
            for path in yes {
                assert!(pattern.matches(path), "{pattern} {path}");
            }
            for path in no {
                assert!(!pattern.matches(path), "{pattern} {path}");
            }
        }
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for text in [
            "", "api", "/a*", "/a/*/b", "/{a", "/x{a}", "/{a}/{a}", "/{}", "/a?b", "/a/../b",
            "/%zz",
        ] {
            assert!(PathPattern::parse(text).is_err(), "{text}");
        }
        for text in [
            "", "*", "*.", "http://a", "a:80", "a/b", "a..b", "*.*.a", "a b",
        ] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wildcard_is_everything_below_and_not_the_name_itself() {
        let pattern = HostPattern::parse("*.Example.com.").unwrap();
        for (host, expected) in [
            ("a.example.com", true),
            ("b.a.example.com", true),
            ("example.com", false),
            (".example.com", false),
            ("aexample.com", false),
        ] {
            assert_eq!(pattern.matches(host), expected, "{host}");
        }
    }
}
