//! The PROXY protocol, versions 1 and 2: what a proxy that relays bytes says of its client before them.
//!
//! Bytes in, meaning out, and back; no sockets. Our own, because the crates for it read more leniently
//! than something may whose word is taken for the client's address: `ppp` takes a sign before a port and
//! a CR for any space, `proxy-header` also zeros before a port and any byte after `PROXY`.

mod read;
mod write;

use std::net::SocketAddr;

pub(crate) use read::read;
pub(crate) use write::write;

/// The two ends of a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ends {
    /// The client.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
}

/// What version 2 begins with. No HTTP does.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::config::ProxyVersion;

    fn ends() -> impl Strategy<Value = Ends> {
        let ends = |source: IpAddr, destination: IpAddr, ports: (u16, u16)| Ends {
            source: SocketAddr::new(source, ports.0),
            destination: SocketAddr::new(destination, ports.1),
        };
        let four = any::<([u8; 4], [u8; 4], (u16, u16))>();
        let six = any::<([u8; 16], [u8; 16], (u16, u16))>();
        prop_oneof![
            four.prop_map(move |(one, other, ports)| ends(one.into(), other.into(), ports)),
            six.prop_map(move |(one, other, ports)| ends(one.into(), other.into(), ports)),
        ]
    }

    fn version() -> impl Strategy<Value = ProxyVersion> {
        prop_oneof![Just(ProxyVersion::V1), Just(ProxyVersion::V2)]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_and_no_beginning_of_it_says_anything(
            version in version(),
            ends in proptest::option::of(ends()),
            rest in proptest::collection::vec(any::<u8>(), 0..32),
        ) {
            let header = write(version, ends);
            for end in 0..header.len() {
                prop_assert_eq!(read(&header[..end]), Ok(None));
            }
            let all = [&header[..], &rest].concat();
            prop_assert_eq!(read(&all), Ok(Some((ends, header.len()))));
        }

        #[test]
        fn no_bytes_are_read_differently_when_more_follow(
            start in prop_oneof![
                Just(b"PROXY TCP4 1.2.3.4 ".to_vec()),
                Just([SIGNATURE.as_slice(), b"\x21"].concat()),
                Just(Vec::new()),
            ],
            rest in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let bytes = [start, rest].concat();
            let whole = read(&bytes);
            for end in 0..bytes.len() {
                let part = read(&bytes[..end]);
                prop_assert!(part == Ok(None) || part == whole, "{part:?}, then {whole:?}");
            }
        }
    }
}
