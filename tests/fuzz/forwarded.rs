//! Who asks: from any trail of addresses, the client is the peer or the right-most address that is
//! not trusted, and what a stranger claims is gone.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use pointsman::config::Peers;
use pointsman::message::forwarded::{self, Sender, Trusted, X_FORWARDED_FOR};

use crate::Subject;

pub(crate) const SUBJECT: Subject = Subject {
    name: "forwarded",
    executions: 1_000_000,
    corpus: &[
        "1x-forwarded-for: 1.2.3.4, 10.0.0.1\nx-forwarded-proto: https",
        "2x-forwarded-for: [2001:db8::1]:443, 10.0.0.2:80\nx-forwarded-for: 10.9.9.9",
        "3x-forwarded-for: unknown, 10.0.0.1\nforwarded: for=1.2.3.4\nx_forwarded_for: 6.6.6.6",
        "4x-forwarded-for: ::ffff:10.0.0.1,1.1.1.1,, 10.0.0.3\nx-real-ip: 5.5.5.5",
        "5x-forwarded-for: fd00::1, 127.0.0.1\nx-forwarded-host: evil\nvia: 1.0 x",
    ],
    run,
};

const PEERS: [&str; 5] = [
    "10.0.0.9",
    "192.0.2.1",
    "::1",
    "::ffff:10.1.2.3",
    "2001:db8::9",
];
const NETWORKS: [&str; 3] = ["10.0.0.0/8", "::1/128", "fd00::/8"];

/// The first byte says who the peer is, the lines after it are its fields.
fn run(bytes: &[u8]) -> bool {
    let Some((first, lines)) = bytes.split_first() else {
        return false;
    };
    let peer: IpAddr = PEERS[usize::from(*first) % PEERS.len()]
        .parse()
        .expect("a peer");
    let networks: Vec<IpNet> = NETWORKS
        .iter()
        .map(|text| text.parse().expect("a network"))
        .collect();
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let at = line
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(line.len());
        let (name, value) = line.split_at(at);
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
            headers.append(name, value);
        }
    }
    let trusted = Trusted::new(Peers {
        networks: networks.clone(),
        unix: false,
    });
    let client = forwarded::client_ip(&headers, Some(peer), &trusted).expect("the peer has one");
    assert_eq!(client, expected(&headers, peer.to_canonical(), &networks));
    claims(headers, peer, trusted.contains(Some(peer)));
    client != peer.to_canonical()
}

/// The same, the slow and obvious way.
fn expected(headers: &HeaderMap, peer: IpAddr, networks: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| networks.iter().any(|network| network.contains(address));
    let mut lines = Vec::new();
    for value in headers.get_all(X_FORWARDED_FOR) {
        lines.push(value.as_bytes());
    }
    let trail = lines.join(&b','); // with no line there is one empty entry, which is no address
    let mut entries: Vec<Option<IpAddr>> = trail.split(|byte| *byte == b',').map(address).collect();
    entries.push(Some(peer));
    let mut client = peer;
    for entry in entries.iter().rev() {
        match entry {
            Some(address) if is_trusted(address) => client = *address,
            Some(address) => return *address,
            None => return client,
        }
    }
    client
}

fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => text.split_at(text.find(':')?),
    };
    let host: IpAddr = match text.starts_with('[') {
        true if port.is_empty() => {
            return host.parse::<IpAddr>().ok().map(|host| host.to_canonical());
        }
        true => host.parse::<std::net::Ipv6Addr>().ok()?.into(),
        false => host.parse::<std::net::Ipv4Addr>().ok()?.into(),
    };
    let port = port.strip_prefix(':')?;
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (digits && port.parse::<u16>().is_ok()).then(|| host.to_canonical())
}

/// What the upstream is told.
fn claims(mut headers: HeaderMap, peer: IpAddr, trusted: bool) {
    let text = peer.to_canonical().to_string();
    let peer_text = HeaderValue::from_str(&text).expect("an address is a value");
    let sender = Sender {
        peer: Some(peer),
        peer_text: Some(&peer_text),
        authority: &HeaderValue::from_static("a.example:81"),
        secured: false,
        version: http::Version::HTTP_11,
        forwarded: true,
    };
    if !trusted {
        forwarded::remove_claims(&mut headers);
    }
    forwarded::set(&mut headers, &sender);
    let trail: Vec<&HeaderValue> = headers.get_all(X_FORWARDED_FOR).iter().collect();
    assert!(
        trail.len() == 1 && trail[0].as_bytes().ends_with(text.as_bytes()),
        "{trail:?}"
    );
    if trusted {
        return;
    }
    assert_eq!(trail[0].as_bytes(), text.as_bytes());
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["x-forwarded-host"], "a.example:81");
    let ours = [
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "forwarded",
    ];
    for name in headers.keys().map(HeaderName::as_str) {
        let folded = name.replace(['_', '.'], "-");
        let claim =
            ["x-real-ip", "x-forwarded-port"].contains(&&*folded) || ours.contains(&&*folded);
        assert!(!claim || ours.contains(&name), "{name} is passed on");
    }
}
