//! The target of a request, in the form that its method asks for.

use bytes::Bytes;
use http::{Method, Uri};
use memchr::memchr2;

use super::Refusal;

/// The four forms of RFC 9112 section 3.2, each with the methods that may use it.
pub(super) fn parse(method: &Method, target: Bytes) -> Result<Uri, Refusal> {
    // `http` would cut a fragment off without a word, and two views of the path would differ.
    let clean = memchr2(b'#', b'\\', &target).is_none();
    let connect = *method == Method::CONNECT;
    let form = match target.first() {
        Some(b'/') => !connect,
        Some(b'*') => target.len() == 1 && *method == Method::OPTIONS,
        _ if connect => true,
        _ => is_absolute(&target),
    };
    if !form || !clean {
        return Err(Refusal::Target);
    }
    let uri = Uri::from_maybe_shared(target).map_err(|_| Refusal::Target)?;
    let port_missing = connect && uri.port().is_none();
    if port_missing {
        Err(Refusal::Target)
    } else {
        Ok(uri)
    }
}

fn is_absolute(target: &[u8]) -> bool {
    let begins = |scheme: &[u8]| {
        target
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    begins(b"http://") || begins(b"https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(method: &str, target: &'static str) -> Result<Uri, Refusal> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        parse(&method, Bytes::from_static(target.as_bytes()))
    }

    #[test]
    fn each_form_is_taken_with_its_methods() {
        for (method, target) in [
            ("GET", "//evil.example/x"),
            ("GET", "/café"),
            ("OPTIONS", "*"),
            ("GET", "http://a.example/x"),
            ("GET", "HTTPS://a.example"),
            ("CONNECT", "a.example:443"),
            ("BREW", "/pot"),
        ] {
            assert!(parsed(method, target).is_ok(), "{method} {target}");
        }
        let uri = parsed("GET", "//evil.example/x").unwrap();
        assert_eq!((uri.host(), uri.path()), (None, "//evil.example/x"));
    }

    #[test]
    fn other_forms_are_refused() {
        for (method, target) in [
            ("GET", "/a#b"),
            ("GET", "/a\\b"),
            ("GET", "a"),
            ("GET", "*"),
            ("OPTIONS", "*a"),
            ("GET", "ftp://a/"),
            ("GET", "a.example:443"),
            ("CONNECT", "/a"),
            ("CONNECT", "a.example"),
        ] {
            assert_eq!(
                parsed(method, target),
                Err(Refusal::Target),
                "{method} {target}"
            );
        }
    }
}
