//! Paths: the canonical form holds no dot segment and is refused exactly where it must be, and the
//! table of routes finds what looking at every pattern finds.

use http::Request;
use pointsman::message::Target;
use pointsman::message::target::canonical_path;
use pointsman::route::{Matcher, PathPattern, Predicates, Table};

use crate::Subject;

pub(crate) const SUBJECT: Subject = Subject {
    name: "paths",
    executions: 1_000_000,
    corpus: &[
        "/a/{x}/*\n/a/b/c",
        "/caf%C3%A9\n/caf%c3%a9",
        "/a%2Fb\n/a%2fb/..;x/",
        "/{x}/b\n/%2e%2e/b",
        "/*\n/a//b/.x/...",
        "/a/b/*\n/a/%62/%25%5C%ff",
        "/a b\n/a%20b?c#d\\",
    ],
    run,
};

/// Beside the pattern of the input.
const PATTERNS: [&str; 9] = [
    "/",
    "/*",
    "/a",
    "/a/*",
    "/a/{x}",
    "/a/{x}/c",
    "/{x}/b/*",
    "/a/b/c",
    "/{x}/{y}/{z}/*",
];

/// A pattern, a line end, a path.
fn run(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (pattern, raw) = text.split_once('\n').unwrap_or(("/", &text));
    // The path of a target begins with a slash, or is `*`.
    if raw.starts_with('/') {
        let canonical = canonical_path(raw);
        let refused = canonical.is_none();
        assert_eq!(refused, must_be_refused(raw), "{raw:?} is {canonical:?}");
    }
    let mut texts = PATTERNS.to_vec();
    if PathPattern::parse(pattern).is_ok() {
        texts.push(pattern);
    }
    let Ok(request) = Request::get(raw).header("host", "a").body(()) else {
        return false;
    };
    let head = request.into_parts().0;
    let Ok(target) = Target::parse(&head) else {
        return false;
    };
    let matchers: Vec<Matcher> = texts.iter().map(|text| matcher(text)).collect();
    let borrowed: Vec<&Matcher> = matchers.iter().collect();
    let found = Table::build(&borrowed).find(&target, &head, |index| &matchers[index]);
    assert_eq!(
        found,
        naive(&texts, target.path()),
        "{texts:?} {:?}",
        target.path()
    );
    true
}

/// Everything decoded at once, and both kinds of slash taken for one: whoever reads the path in
/// whatever way finds no dot segment in it.
fn must_be_refused(raw: &str) -> bool {
    let mut decoded = Vec::new();
    let mut rest = raw.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let mut byte = *byte;
        if matches!(byte, b'\\' | b'#' | b' ') {
            return true;
        }
        if byte == b'%' {
            let digits = rest
                .get(..2)
                .and_then(|digits| std::str::from_utf8(digits).ok());
            let digits =
                digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let Some(digits) = digits else {
                return true;
            };
            byte = u8::from_str_radix(digits, 16).expect("two digits");
            rest = &rest[2..];
        }
        if byte.is_ascii_control() {
            return true;
        }
        decoded.push(byte);
    }
    decoded
        .split(|byte| matches!(byte, b'/' | b'\\'))
        .any(|segment| {
            let name = segment
                .split(|byte| *byte == b';')
                .next()
                .unwrap_or_default();
            name == b"." || name == b".."
        })
}

fn matcher(text: &str) -> Matcher {
    Matcher {
        hosts: Vec::new(),
        paths: vec![PathPattern::parse(text).expect("a pattern")],
        predicates: Predicates::default(),
    }
}

/// Of all patterns that match, the most specific, and of equal ones the first.
fn naive(patterns: &[&str], path: &str) -> Option<usize> {
    let ranks = patterns.iter().enumerate().filter_map(|(at, pattern)| {
        let pattern = canonical_path(pattern)?;
        Some((rank(&pattern, path)?, std::cmp::Reverse(at)))
    });
    ranks.max().map(|(_, std::cmp::Reverse(at))| at)
}

/// Segment by segment: a literal before a part, an end before what is open.
fn rank(pattern: &str, path: &str) -> Option<Vec<u8>> {
    let (pattern, open) = match pattern.strip_suffix("/*") {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    if !path.starts_with('/') {
        // `OPTIONS *` is taken by what takes everything.
        return (open && pattern.is_empty()).then(Vec::new);
    }
    let mut segments = path.split('/');
    let mut ranks = Vec::new();
    for wanted in pattern.split('/') {
        let segment = segments.next()?;
        match wanted.strip_prefix('{') {
            Some(_) if segment.is_empty() => return None,
            Some(_) => ranks.push(2),
            None if wanted == segment => ranks.push(3),
            None => return None,
        }
    }
    ranks.push(if open { 1 } else { 2 });
    (open || segments.next().is_none()).then_some(ranks)
}
