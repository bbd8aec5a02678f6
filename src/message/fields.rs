//! Fields of a head, found by looking through all of them: heads are short, and one hash costs more
//! than a look at a dozen names.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The values of a field, one for each of its lines.
#[inline]
pub fn lines<'a>(
    headers: &'a HeaderMap,
    name: &'a HeaderName,
) -> impl Iterator<Item = &'a HeaderValue> {
    // Most that are looked for are not there.
    let some = has(headers, name).then(|| headers.iter());
    let lines = some.into_iter().flatten();
    lines.filter_map(move |(known, value)| (known == name).then_some(value))
}

/// Inlined, for then a look at a name is one comparison with a constant.
#[inline]
pub fn has(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.keys().any(|known| known == name)
}

/// Is the word an element of a comma-separated field? Letter case does not count.
pub fn says(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let is = |element: &[u8]| element.trim_ascii().eq_ignore_ascii_case(word.as_bytes());
    lines(headers, name).any(|line| line.as_bytes().split(|byte| *byte == b',').any(is))
}

/// The elements of a comma-separated field, over all its lines. One that is not ASCII hides no other.
pub fn tokens<'a>(headers: &'a HeaderMap, name: &'a HeaderName) -> impl Iterator<Item = &'a str> {
    lines(headers, name)
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|token| std::str::from_utf8(token.trim_ascii()).ok())
        .filter(|token| !token.is_empty())
}

/// Takes these fields away in any spelling, whoever sent them.
pub fn remove_all(headers: &mut HeaderMap, names: &[HeaderName]) {
    if names.is_empty() {
        return;
    }
    let folded = |name: &HeaderName| name.as_str().replace(['_', '.'], "-");
    let names: Vec<String> = names.iter().map(folded).collect();
    let sent: Vec<HeaderName> = headers.keys().cloned().collect();
    for name in sent.iter().filter(|name| names.contains(&folded(name))) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONNECTION;

    use super::*;

    #[test]
    fn elements_are_found_on_every_line_and_beside_what_is_none() {
        let mut headers = HeaderMap::new();
        for line in [&b"a, b ,,\xff,c"[..], b"", b"d"] {
            headers.append(CONNECTION, HeaderValue::from_bytes(line).unwrap());
        }
        let found: Vec<&str> = tokens(&headers, &CONNECTION).collect();
        assert_eq!(found, ["a", "b", "c", "d"]);
        assert_eq!(lines(&headers, &CONNECTION).count(), 3);
    }
}
