//! Writing a PROXY header.

use std::net::{IpAddr, SocketAddr};

use super::{Ends, SIGNATURE};
use crate::config::ProxyVersion;

/// Without ends the client is unknown: it came by a unix socket.
pub(crate) fn write(version: ProxyVersion, ends: Option<Ends>) -> Vec<u8> {
    let ends = ends.map(of_one_family);
    match version {
        ProxyVersion::V1 => line(ends).into_bytes(),
        ProxyVersion::V2 => binary(ends),
    }
}

/// One header holds addresses of one family: of two, the older is written in terms of the newer.
fn of_one_family(ends: Ends) -> Ends {
    let Ends {
        source,
        destination,
    } = ends;
    if source.is_ipv4() == destination.is_ipv4() {
        return ends;
    }
    let newer = |end: SocketAddr| match end.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), end.port()),
        IpAddr::V6(_) => end,
    };
    Ends {
        source: newer(source),
        destination: newer(destination),
    }
}

fn line(ends: Option<Ends>) -> String {
    let Some(Ends {
        source,
        destination,
    }) = ends
    else {
        return "PROXY UNKNOWN\r\n".to_owned();
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    format!(
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    )
}

fn binary(ends: Option<Ends>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut family = 0x00;
    if let Some(Ends {
        source,
        destination,
    }) = ends
    {
        family = if source.is_ipv4() { 0x11 } else { 0x21 };
        for end in [source, destination] {
            match end.ip() {
                IpAddr::V4(ip) => body.extend(ip.octets()),
                IpAddr::V6(ip) => body.extend(ip.octets()),
            }
        }
        for end in [source, destination] {
            body.extend(end.port().to_be_bytes());
        }
    }
    let mut header = SIGNATURE.to_vec();
    header.extend([0x21, family, 0, body.len() as u8]);
    header.extend(body);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(source: &str, destination: &str) -> Option<Ends> {
        Some(Ends {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        })
    }

    #[test]
    fn a_line_is_written_as_the_specification_shows_it() {
        let table = [
            (
                ends("192.0.2.1:56324", "10.0.0.1:80"),
                "TCP4 192.0.2.1 10.0.0.1 56324 80",
            ),
            (
                ends("[2001:db8::1]:1", "[::1]:2"),
                "TCP6 2001:db8::1 ::1 1 2",
            ),
            (
                ends("192.0.2.1:1", "[::1]:2"),
                "TCP6 ::ffff:192.0.2.1 ::1 1 2",
            ),
            (None, "UNKNOWN"),
        ];
        for (ends, expected) in table {
            let line = String::from_utf8(write(ProxyVersion::V1, ends)).unwrap();
            assert_eq!(line, format!("PROXY {expected}\r\n"));
        }
    }

    #[test]
    fn a_binary_header_is_written_as_the_specification_draws_it() {
        let header = write(ProxyVersion::V2, ends("192.0.2.1:56324", "10.0.0.1:80"));
        let expected =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x0a\0\0\x01\xdc\x04\0\x50";
        assert_eq!(header, expected);
        let unknown = write(ProxyVersion::V2, None);
        assert_eq!(unknown, b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0");
        assert_eq!(
            write(ProxyVersion::V2, ends("[::1]:1", "1.2.3.4:2")).len(),
            16 + 36
        );
    }
}
