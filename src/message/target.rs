//! Who and what a request asks for: host and path read once, into one view that routing, header
//! rules and logs all use. The original bytes are what is forwarded.

use std::borrow::Cow;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderValue, Method, Uri, Version, uri};

use super::fields::lines;
use crate::why::Why;

/// The canonical view of a request's target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    host: Cow<'a, str>,
    authority: &'a str,
    path: Cow<'a, str>,
    uri: &'a Uri,
}

/// For whom a request is, as the client sent it; empty if an HTTP/1.0 client sent nothing.
#[derive(Debug, Clone)]
pub struct Authority {
    pub value: HeaderValue,
    /// It is what the request's `Host` says.
    pub is_host: bool,
}

impl<'a> Target<'a> {
    pub fn parse(head: &'a Parts) -> Result<Self, Why> {
        if head.method == Method::CONNECT {
            return Err(Why::Unsupported);
        }
        let authority = authority(head)?;
        let host = host_of(authority).ok_or(Why::BadHost)?;
        let path = canonical_path(head.uri.path()).ok_or(Why::BadPath)?;
        Ok(Self {
            host: lower(host),
            authority,
            path,
            uri: &head.uri,
        })
    }

    /// Lower case, without port and trailing dot; empty if an HTTP/1.0 client sent none.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Host and port as the client sent them.
    pub fn authority(&self) -> &'a str {
        self.authority
    }

    /// The same as a value of its own; as a rule it is the `Host` of `head`, and not copied.
    pub fn authority_value(&self, head: &Parts) -> Authority {
        let host = lines(&head.headers, &HOST).next();
        let host = host.filter(|host| host.as_bytes() == self.authority.as_bytes());
        let made = || HeaderValue::from_str(self.authority);
        Authority {
            is_host: host.is_some(),
            value: host
                .cloned()
                .map_or_else(made, Ok)
                .unwrap_or(HeaderValue::from_static("")),
        }
    }

    /// See [`canonical_path`].
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A slash or backslash that some applications decode and take for a separator.
    pub fn has_encoded_slash(&self) -> bool {
        self.path.contains("%2F") || self.path.contains("%5C")
    }

    /// The path as the client sent it.
    pub fn raw_path(&self) -> &'a str {
        self.uri.path()
    }

    /// The query as the client sent it, without `?`; `Some("")` for a bare `?`.
    pub fn query(&self) -> Option<&'a str> {
        self.uri.query()
    }
}

/// RFC 9112 section 3.2: one sound `Host` in any HTTP/1.1 request, also in one whose absolute-form
/// target then overrides it. RFC 9113 section 8.3.1: `:authority` in HTTP/2, or `Host`, or both if they
/// say the same.
fn authority(head: &Parts) -> Result<&str, Why> {
    let mut hosts = lines(&head.headers, &HOST);
    let header = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Why::BadHost),
        (Some(host), None) => Some(host.to_str().map_err(|_| Why::BadHost)?),
        (None, None) if head.version <= Version::HTTP_10 => None,
        (None, None) if head.version == Version::HTTP_2 && head.uri.authority().is_some() => None,
        (None, None) => return Err(Why::BadHost),
    };
    match (head.uri.authority(), header) {
        (Some(authority), header) => match header.map(host_of) {
            Some(None) => Err(Why::BadHost),
            Some(Some(_)) if head.version == Version::HTTP_2 && differ(head, authority, header) => {
                Err(Why::BadHost)
            }
            _ => Ok(authority.as_str()),
        },
        // An empty one names no site, and an `http` URI must name one.
        (None, Some("")) => Err(Why::BadHost),
        (None, header) => Ok(header.unwrap_or_default()),
    }
}

/// They may in letter case, and one may name the port that its scheme has anyway. In nothing else:
/// who reads one and who reads the other would see two sites.
fn differ<'a>(head: &Parts, authority: &'a uri::Authority, host: Option<&'a str>) -> bool {
    let port = match head.uri.scheme_str() {
        Some("https") => ":443",
        _ => ":80",
    };
    let plain = |text: &'a str| text.trim_end_matches(port).trim_end_matches(':');
    !host.is_some_and(|host| plain(host).eq_ignore_ascii_case(plain(authority.as_str())))
}

/// The host of `HOST[:PORT]`; none if it is malformed. No host at all is for HTTP/1.0 only, which
/// [`authority`] has seen to.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(_) => {
            let end = authority.find(']')?;
            let inner = &authority[1..end];
            inner.parse::<std::net::Ipv6Addr>().ok()?;
            (
                &authority[..=end],
                authority[end + 1..]
                    .strip_prefix(':')
                    .or_else(|| authority[end + 1..].is_empty().then_some(""))?,
            )
        }
        None => match authority.bytes().position(|byte| byte == b':') {
            Some(colon) => (&authority[..colon], &authority[colon + 1..]),
            None => (authority, ""),
        },
    };
    let named =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let sound = host.starts_with('[') || host.bytes().all(named);
    let host = host.strip_suffix('.').unwrap_or(host);
    let empty = host.is_empty() && !authority.is_empty();
    let port = port.is_empty() || port.parse::<u16>().is_ok() && !port.starts_with('+');
    (sound && !empty && port && host.len() <= 255).then_some(host)
}

fn lower(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// The form of a path that patterns are matched against: percent-escapes decoded once, except
/// those that would change its structure or be ambiguous afterwards (`%2F`, `%5C`, `%25`, and
/// bytes that are not UTF-8), which stay, in upper case. Nothing is merged or resolved.
///
/// None if an origin could well read another path than we do: dot segments in any spelling, a
/// control character, a raw backslash, a broken escape.
pub fn canonical_path(raw: &str) -> Option<Cow<'_, str>> {
    let plain = raw
        .bytes()
        .all(|byte| !matches!(byte, b'%' | b'\\' | b'#' | 0..=0x20 | 0x7f));
    let path = if plain {
        Cow::Borrowed(raw)
    } else {
        Cow::Owned(decode(raw)?)
    };
    // Most paths hold no dot after a slash, and need no closer look.
    let dots = raw.bytes().any(|byte| matches!(byte, b'.' | b'%'));
    let dotted = dots && (path.contains("/.") || path.contains("%2F.") || path.contains("%5C."));
    (!dotted || !path.split('/').any(is_dot_segment)).then_some(path)
}

/// Also behind an encoded separator, which some origins decode, and before `;parameters`, which
/// some servers cut off first.
fn is_dot_segment(segment: &str) -> bool {
    segment
        .split("%2F")
        .flat_map(|part| part.split("%5C"))
        .any(|part| {
            let name = part.split(';').next().unwrap_or(part);
            name == "." || name == ".."
        })
}

fn decode(raw: &str) -> Option<String> {
    let mut path = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (high, low) = (hex(bytes.next()?)?, hex(bytes.next()?)?);
                push_decoded(high << 4 | low, &mut path)?;
            }
            b'\\' | b'#' | 0..=0x20 | 0x7f => return None,
            byte => path.push(byte),
        }
    }
    Some(match String::from_utf8(path) {
        Ok(path) => path,
        Err(error) => escape_invalid(error.as_bytes()),
    })
}

fn push_decoded(byte: u8, path: &mut Vec<u8>) -> Option<()> {
    match byte {
        0..=0x1f | 0x7f => return None,
        b'/' => path.extend_from_slice(b"%2F"),
        b'\\' => path.extend_from_slice(b"%5C"),
        b'%' => path.extend_from_slice(b"%25"),
        byte => path.push(byte),
    }
    Some(())
}

fn escape_invalid(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_reading_or_none() {
        let table = [
            ("/", Some("/")),
            ("/a/b", Some("/a/b")),
            ("//a//b/", Some("//a//b/")),
            ("/%61dmin", Some("/admin")),
            ("/a%2fb", Some("/a%2Fb")),
            ("/a%2Fb/c.d/..e/...", Some("/a%2Fb/c.d/..e/...")),
            ("/a%252fb", Some("/a%252fb")),
            ("/caf%C3%A9", Some("/café")),
            ("/%ff%61", Some("/%FFa")),
            ("/a;v=1/b", Some("/a;v=1/b")),
            ("/.well-known/x", Some("/.well-known/x")),
            ("/public/../admin", None),
            ("/public/./admin", None),
            ("/public/..", None),
            ("/public/%2e%2e/admin", None),
            ("/public/.%2E/admin", None),
            ("/public/..%2fadmin", None),
            ("/public/x%2f..%2fadmin", None),
            ("/public%2F..", None),
            ("/public/..%5cadmin", None),
            ("/public\\..\\admin", None),
            ("/public/..;x=1/admin", None),
            ("/a%00b", None),
            ("/a%0d%0ab", None),
            ("/a%7f", None),
            ("/a%zz", None),
            ("/a%2", None),
            ("/a%", None),
        ];
        for (raw, expected) in table {
            assert_eq!(canonical_path(raw).as_deref(), expected, "{raw}");
        }
    }

    #[test]
    fn one_sound_host_is_asked_for_even_where_the_target_overrides_it() {
        let table: [(&[&str], Version, bool); 7] = [
            (&["b.example"], Version::HTTP_11, true),
            (&[""], Version::HTTP_11, true),
            (&[], Version::HTTP_10, true),
            (&[], Version::HTTP_11, false),
            (&["a b"], Version::HTTP_11, false),
            (&["a@b"], Version::HTTP_10, false),
            (&["a.example", "a.example"], Version::HTTP_11, false),
        ];
        for (hosts, version, sound) in table {
            let request = http::Request::get("http://a.example/x").version(version);
            let request = hosts.iter().fold(request, |r, host| r.header(HOST, *host));
            let head = request.body(()).unwrap().into_parts().0;
            let host = Target::parse(&head).map(|target| target.host().to_owned());
            let expected = sound.then(|| "a.example".to_owned());
            assert_eq!(host, expected.ok_or(Why::BadHost), "{hosts:?} {version:?}");
        }
    }

    #[test]
    fn authority_and_host_differ_in_no_more_than_case_and_the_port_of_their_scheme() {
        let table = [
            ("http://a:80", "a:", true),
            ("https://a:443", "a", true),
            ("https://a", "a:80", false),
            ("http://a:80", "a:81", false),
        ];
        for (uri, host, same) in table {
            let request = http::Request::get(uri).version(Version::HTTP_2);
            let head = request.header(HOST, host).body(()).unwrap().into_parts().0;
            assert_eq!(Target::parse(&head).is_ok(), same, "{uri} {host}");
        }
    }

    #[test]
    fn hosts_are_read_with_or_without_a_port() {
        let table = [
            ("", Some("")),
            ("example.com", Some("example.com")),
            ("example.com:8080", Some("example.com")),
            ("example.com:", Some("example.com")),
            ("example.com.", Some("example.com")),
            ("[::1]:8080", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("a_b.example", Some("a_b.example")),
            ("user@example.com", None),
            ("example.com:80:80", None),
            ("example.com:99999", None),
            ("example.com:+80", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[zz]", None),
            (":80", None),
            (".", None),
            ("a b", None),
            ("a,b", None),
            ("a/b", None),
        ];
        for (authority, expected) in table {
            assert_eq!(host_of(authority), expected, "{authority}");
        }
    }
}
