//! Do two readings agree, and if not, what is the smallest stream that shows it?

use std::fmt;

use super::{End, Fields, Message, Reading};

/// What each of the two did where they first part: `takes`, `waits`, `refuses: WHY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) ours: String,
    pub(super) theirs: String,
}

impl Difference {
    fn new(ours: impl Into<String>, theirs: impl Into<String>) -> Self {
        Self {
            ours: ours.into(),
            theirs: theirs.into(),
        }
    }

    /// Both read on, and not the same: what smuggling is made of. No table may explain it away.
    pub(super) fn is_dangerous(&self) -> bool {
        matches!(
            (&self.ours[..], &self.theirs[..]),
            ("reads", _) | ("takes", "waits") | ("waits", "takes")
        )
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ours {}, theirs {}", self.ours, self.theirs)
    }
}

pub(super) fn difference(ours: &Reading, theirs: &Reading) -> Option<Difference> {
    let mut at = 0;
    loop {
        let found = match (ours.messages.get(at), theirs.messages.get(at)) {
            (Some(one), Some(other)) => match (unlike(one, other), one.last, other.last) {
                (Some(part), _, _) => Difference::new("reads", part),
                (None, Some(true), None | Some(true)) => return None,
                (None, Some(true), Some(false)) => Difference::new("closes", "keeps"),
                (None, _, Some(true)) => Difference::new("keeps", "closes"),
                (None, _, _) => {
                    at += 1;
                    continue;
                }
            },
            (Some(one), None) if one.unserved => {
                Difference::new("refuses its Host", name(&theirs.end))
            }
            (Some(_), None) => Difference::new("takes", name(&theirs.end)),
            (None, Some(_)) => Difference::new(name(&ours.end), "takes"),
            (None, None) => match (&ours.end, &theirs.end) {
                (End::Waits, End::Waits) | (End::Refused(_), End::Refused(_)) => return None,
                (one, other) => Difference::new(name(one), name(other)),
            },
        };
        return Some(found);
    }
}

fn name(end: &End) -> String {
    match end {
        End::Waits => "waits".to_owned(),
        End::Refused(why) => format!("refuses: {why}"),
    }
}

/// The first part of a message that two parsers read unlike.
fn unlike(one: &Message, other: &Message) -> Option<&'static str> {
    let target = |message: &Message| match &message.line[..] {
        [_, target, _] => with_path(target),
        _ => Vec::new(),
    };
    let around = |message: &Message| match &message.line[..] {
        [method, _, version] => vec![method.clone(), version.clone()],
        line => line.to_vec(),
    };
    let ends = one.end.zip(other.end);
    [
        ("line", around(one) != around(other)),
        ("target", target(one) != target(other)),
        ("fields", meant(one) != meant(other)),
        ("body", one.body != other.body),
        ("trailers", one.trailers != other.trailers),
        ("end", ends.is_some_and(|(one, other)| one != other)),
    ]
    .into_iter()
    .find_map(|(part, unlike)| unlike.then_some(part))
}

/// The name of a coding has no case, and h11 hands it out in lower case. That an answer of HTTP/1.1 keeps
/// the connection need not be said, and we read over it.
fn meant(message: &Message) -> Fields {
    let mut fields = message.fields.clone();
    for (name, value) in &mut fields {
        if name == b"transfer-encoding" {
            value.make_ascii_lowercase();
        }
    }
    if matches!(&message.line[..], [version, _] if version == b"1.1") {
        fields.retain(|(name, value)| {
            name != b"connection" || !value.eq_ignore_ascii_case(b"keep-alive")
        });
    }
    fields
}

/// An absolute target with the path that it leaves out, its scheme in lower case.
fn with_path(target: &[u8]) -> Vec<u8> {
    let Some(at) = target.windows(3).position(|bytes| bytes == b"://") else {
        return target.to_vec();
    };
    if target[0] == b'/' {
        return target.to_vec();
    }
    let (scheme, rest) = target.split_at(at + 3);
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
    let (authority, rest) = rest.split_at(end.unwrap_or(rest.len()));
    let path: &[u8] = if rest.starts_with(b"/") { b"" } else { b"/" };
    [&scheme.to_ascii_lowercase(), authority, path, rest].concat()
}

/// Takes bytes away as long as the same still shows.
pub(super) fn shrink(stream: &[u8], mut shows: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut stream = stream.to_vec();
    let mut length = stream.len().next_power_of_two() / 2;
    while length > 0 {
        let mut at = 0;
        while at < stream.len() {
            let end = (at + length).min(stream.len());
            let less = [&stream[..at], &stream[end..]].concat();
            if shows(&less) {
                stream = less;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
    stream
}
