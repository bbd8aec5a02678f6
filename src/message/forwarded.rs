//! Who asks: the client's address, and the fields that tell the upstream of it.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use super::fields::has;
use super::via::via;
use crate::config::Peers;

pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Said by a client, these are believed from trusted peers only.
const CLAIMS: [HeaderName; 6] = [
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    X_FORWARDED_PORT,
    X_REAL_IP,
    FORWARDED,
];

/// Peers that may say on whose behalf they ask.
#[derive(Debug, Clone, Default)]
pub struct Trusted(Peers);

impl Trusted {
    pub fn new(peers: Peers) -> Self {
        Self(peers)
    }

    /// A peer without an address came by a unix socket.
    pub fn contains(&self, peer: Option<IpAddr>) -> bool {
        let Some(address) = peer else {
            return self.0.unix;
        };
        let networks = &self.0.networks;
        if networks.is_empty() {
            return false;
        }
        let address = address.to_canonical();
        networks.iter().any(|network| network.contains(&address))
    }
}

/// The client: the peer, or, behind trusted proxies, the right-most address in
/// `X-Forwarded-For` that is not one of them. None for a client of a unix socket, who has no address.
pub fn client_ip(headers: &HeaderMap, peer: Option<IpAddr>, trusted: &Trusted) -> Option<IpAddr> {
    let peer = peer.map(|address| address.to_canonical());
    if !trusted.contains(peer) {
        return peer;
    }
    let mut client = peer;
    let lines = headers.get_all(X_FORWARDED_FOR).iter();
    let lines: Vec<&[u8]> = lines.map(HeaderValue::as_bytes).collect();
    for entry in lines
        .iter()
        .rev()
        .flat_map(|line| line.rsplit(|byte| *byte == b','))
    {
        // Whoever wrote something that is no address is as far as the trail can be followed.
        let Some(address) = std::str::from_utf8(entry).ok().and_then(address) else {
            break;
        };
        client = Some(address);
        if !trusted.contains(client) {
            break;
        }
    }
    client
}

/// `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]`, `[::1]:80`. An address with a zone means something only
/// on the host that wrote it.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = Some(entry.trim()).filter(|entry| !entry.contains('%'))?;
    let bare = entry
        .strip_prefix('[')
        .and_then(|entry| entry.strip_suffix(']'))
        .unwrap_or(entry);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

/// What is to be told of one request.
#[derive(Debug)]
pub struct Sender<'a> {
    /// None if it came by a unix socket.
    pub peer: Option<IpAddr>,
    /// The peer's address as text, made once a connection.
    pub peer_text: Option<&'a HeaderValue>,
    /// `Host` as the client sent it; empty if an HTTP/1.0 client sent none.
    pub authority: &'a HeaderValue,
    /// Does the peer speak TLS?
    pub secured: bool,
    /// By which its request came.
    pub version: Version,
    /// Send RFC 7239 `Forwarded` too.
    pub forwarded: bool,
}

pub(super) fn scheme(secured: bool) -> &'static str {
    if secured { "https" } else { "http" }
}

/// Does a peer, who has to be trusted, say that its client asks by HTTPS?
pub fn says_https(headers: &HeaderMap) -> bool {
    let said = headers.get(X_FORWARDED_PROTO);
    said.is_some_and(|said| said.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// Adds what is true. To be called after the hop-by-hop fields are stripped, and [the
/// claims](remove_claims) of a peer that is not trusted.
pub fn set(headers: &mut HeaderMap, sender: &Sender<'_>) {
    // Without an address nothing is made up: readers expect addresses here and nothing else.
    if let Some(peer) = sender.peer_text {
        append(headers, X_FORWARDED_FOR, peer);
    }
    if !has(headers, &X_FORWARDED_PROTO) {
        headers.append(
            X_FORWARDED_PROTO,
            HeaderValue::from_static(scheme(sender.secured)),
        );
    }
    if !has(headers, &X_FORWARDED_HOST) {
        headers.append(X_FORWARDED_HOST, sender.authority.clone());
    }
    if sender.forwarded
        && let Ok(element) = HeaderValue::try_from(element(sender))
    {
        append(headers, FORWARDED, &element);
    }
    append(headers, VIA, via(sender.version));
}

/// Trailers come after what they would change, but some applications merge them into the head: so a
/// client says in them what it may say in the head, and no more.
pub fn strip_trailers(trailers: &mut HeaderMap, trusted: bool, never: &[HeaderName]) {
    super::hop::strip_request(trailers);
    super::fields::remove_all(trailers, never);
    if !trusted {
        remove_claims(trailers);
    }
}

/// Takes away what a peer claims, in any spelling that an application may fold into the same variable.
pub fn remove_claims(headers: &mut HeaderMap) {
    let claimed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_claim(name))
        .cloned()
        .collect();
    for name in claimed {
        headers.remove(name);
    }
}

/// Also in a spelling that some applications fold into the same variable.
fn is_claim(name: &HeaderName) -> bool {
    // Most names begin otherwise than all of them.
    let begins = |name: &HeaderName| name.as_str().as_bytes().first().copied();
    matches!(begins(name), Some(b'x' | b'f')) && is_spelt_like_claim(name)
}

fn is_spelt_like_claim(name: &HeaderName) -> bool {
    CLAIMS.contains(name)
        || name
            .as_str()
            .bytes()
            .any(|byte| matches!(byte, b'_' | b'.'))
            && {
                let folded = name.as_str().replace(['_', '.'], "-");
                CLAIMS.iter().any(|claim| claim.as_str() == folded)
            }
}

/// Joins all lines of a list field with one value more into one line.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    if !has(headers, &name) {
        headers.append(name, value.clone());
        return;
    }
    let mut line = Vec::new();
    for before in headers.get_all(&name) {
        line.extend_from_slice(before.as_bytes());
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(value.as_bytes());
    if let Ok(line) = HeaderValue::from_bytes(&line) {
        headers.insert(name, line);
    }
}

/// RFC 7239: an IPv6 address and a host with a port are quoted.
fn element(sender: &Sender<'_>) -> String {
    let node = match sender.peer.map(|address| address.to_canonical()) {
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("\"[{address}]\""),
        None => "unknown".to_owned(),
    };
    let mut element = format!("for={node};proto={}", scheme(sender.secured));
    if let Ok(host) = sender.authority.to_str()
        && !host.is_empty()
    {
        element.push_str(&format!(";host=\"{host}\""));
    }
    element
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted() -> Trusted {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        Trusted::new(Peers {
            networks: networks.into(),
            unix: true,
        })
    }

    #[test]
    fn the_client_is_the_right_most_untrusted_address() {
        let table: [(&str, &[&str], &str); 13] = [
            ("192.0.2.1", &["1.1.1.1"], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6", "1.1.1.1, 10.0.0.2"], "1.1.1.1"),
            ("10.0.0.1", &["10.0.0.3", "10.0.0.2"], "10.0.0.3"),
            ("::ffff:10.0.0.1", &["1.1.1.1:443"], "1.1.1.1"),
            ("fd00::1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("10.0.0.1", &["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["1.1.1.1, "], "10.0.0.1"),
            ("unix:", &["6.6.6.6, 1.1.1.1, 10.0.0.2"], "1.1.1.1"),
            ("unix:", &[], "unix:"),
            ("10.0.0.1", &["[fe80::1%1]"], "10.0.0.1"),
            ("10.0.0.1", &["[fe80::1%1]:443"], "10.0.0.1"),
        ];
        for (peer, lines, expected) in table {
            let line = |value: &&str| (X_FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
            let headers: HeaderMap = lines.iter().map(line).collect();
            let address = |text: &str| text.parse::<IpAddr>().ok();
            let client = client_ip(&headers, address(peer), &trusted());
            assert_eq!(client, address(expected), "{peer} {lines:?}");
        }
    }

    #[test]
    fn an_untrusted_peer_claims_nothing_in_any_spelling() {
        let mut headers = HeaderMap::new();
        for name in [
            "x-forwarded-for",
            "x_forwarded_for",
            "x-forwarded_proto",
            "x.real.ip",
            "forwarded",
            "x-forwarded-port",
        ] {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static("6.6.6.6"),
            );
        }
        headers.insert("access_key", HeaderValue::from_static("k"));
        let peer = "192.0.2.1".parse().ok();
        let peer_text = Some(&HeaderValue::from_static("192.0.2.1"));
        let authority = &HeaderValue::from_static("a.example:81");
        let sender = Sender {
            peer,
            peer_text,
            authority,
            secured: false,
            version: Version::HTTP_11,
            forwarded: true,
        };
        remove_claims(&mut headers);
        set(&mut headers, &sender);
        let mut seen: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        seen.sort();
        let expected = [
            "access_key=k",
            "forwarded=for=192.0.2.1;proto=http;host=\"a.example:81\"",
            "via=1.1 pointsman",
            "x-forwarded-for=192.0.2.1",
            "x-forwarded-host=a.example:81",
            "x-forwarded-proto=http",
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_trusted_peer_is_added_to_the_trail() {
        let mut headers = HeaderMap::new();
        headers.append(X_FORWARDED_FOR, HeaderValue::from_static("1.1.1.1"));
        headers.append(X_FORWARDED_FOR, HeaderValue::from_static("10.0.0.2"));
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
        let peer = "10.0.0.1".parse().ok();
        let peer_text = Some(&HeaderValue::from_static("10.0.0.1"));
        let sender = Sender {
            peer,
            peer_text,
            authority: &HeaderValue::from_static("a"),
            secured: true,
            version: Version::HTTP_11,
            forwarded: false,
        };
        set(&mut headers, &sender);
        assert_eq!(headers[X_FORWARDED_FOR], "1.1.1.1, 10.0.0.2, 10.0.0.1");
        assert_eq!(headers[X_FORWARDED_PROTO], "https");
    }
}
