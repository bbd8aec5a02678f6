//! Reading a PROXY header. Strict: it is the one place where a stranger's word would become an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Ends, SIGNATURE};

/// The longest line of version 1, its CR LF included.
const LONGEST_LINE: usize = 107;
const FIXED: usize = SIGNATURE.len() + 4;
/// Of version 2: what fits into the smallest first segment, so that a sender may rely on it.
const LONGEST: usize = 536;

/// It is no PROXY header, and no further byte will make it one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no sound PROXY header")]
pub(crate) struct Malformed;

/// Who connected, if the header tells; it need not, and then it is who sends it. With how many bytes
/// the header has.
type Read = Option<(Option<Ends>, usize)>;

/// The header at the beginning of `bytes`; none if there is more to come of it.
pub(crate) fn read(bytes: &[u8]) -> Result<Read, Malformed> {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(is, wanted)| is == wanted);
    if begins(SIGNATURE) {
        binary(bytes)
    } else if begins(b"PROXY ") {
        line(bytes)
    } else {
        Err(Malformed)
    }
}

/// `PROXY TCP4 192.0.2.1 10.0.0.1 56324 80`, CR LF.
fn line(bytes: &[u8]) -> Result<Read, Malformed> {
    let within = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = memchr::memchr(b'\n', within) else {
        return match within.len() {
            LONGEST_LINE => Err(Malformed),
            _ => Ok(None),
        };
    };
    let line = within[..end].strip_suffix(b"\r").ok_or(Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let mut fields = line.split(' ').skip(1);
    let ends = match fields.next() {
        Some("TCP4") => Some(addresses::<Ipv4Addr>(fields).ok_or(Malformed)?),
        Some("TCP6") => Some(addresses::<Ipv6Addr>(fields).ok_or(Malformed)?),
        // Whatever else it says is to be ignored.
        Some("UNKNOWN") => None,
        _ => return Err(Malformed),
    };
    Ok(Some((ends, end + 1)))
}

/// Two addresses, then two ports, then nothing.
fn addresses<'a, A: FromStr + Into<IpAddr>>(
    mut fields: impl Iterator<Item = &'a str>,
) -> Option<Ends> {
    let mut address = || fields.next()?.parse::<A>().ok().map(Into::into);
    let (source, destination) = (address()?, address()?);
    let (from, to) = (port(fields.next()?)?, port(fields.next()?)?);
    let ends = Ends {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
    };
    fields.next().is_none().then_some(ends)
}

/// As it would be written again: no sign, no zeros before it.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn binary(bytes: &[u8]) -> Result<Read, Malformed> {
    let Some(fixed) = bytes.get(SIGNATURE.len()..FIXED) else {
        return Ok(None);
    };
    let length = FIXED + usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if length > LONGEST {
        return Err(Malformed);
    }
    let Some(body) = bytes.get(FIXED..length) else {
        return Ok(None);
    };
    let ends = match (fixed[0], fixed[1]) {
        // LOCAL: the proxy speaks for itself, to see whether we live.
        (0x20, _) => None,
        (0x21, 0x11) => Some(pair::<4>(body).ok_or(Malformed)?),
        (0x21, 0x21) => Some(pair::<16>(body).ok_or(Malformed)?),
        // Not told, or no addresses that a client of ours can have.
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => None,
        _ => return Err(Malformed),
    };
    Ok(Some((ends, length)))
}

/// Two addresses of `N` bytes, then two ports. What follows are TLVs, which nobody here wants.
fn pair<const N: usize>(body: &[u8]) -> Option<Ends>
where
    [u8; N]: Into<IpAddr>,
{
    let (source, rest) = body.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (from, rest) = rest.split_first_chunk::<2>()?;
    let (to, _) = rest.split_first_chunk::<2>()?;
    let end = |address: &[u8; N], port: &[u8; 2]| {
        SocketAddr::new((*address).into(), u16::from_be_bytes(*port))
    };
    Some(Ends {
        source: end(source, from),
        destination: end(destination, to),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> Option<(String, String)> {
        let (ends, length) = read(bytes).unwrap().expect("a whole header");
        assert_eq!(length, bytes.len());
        ends.map(|ends| (ends.source.to_string(), ends.destination.to_string()))
    }

    #[test]
    fn a_line_tells_both_ends_or_nothing() {
        let table = [
            (
                "PROXY TCP4 192.0.2.1 10.0.0.1 56324 80\r\n",
                "192.0.2.1:56324",
                "10.0.0.1:80",
            ),
            (
                "PROXY TCP4 192.0.2.1 10.0.0.1 0 65535\r\n",
                "192.0.2.1:0",
                "10.0.0.1:65535",
            ),
            (
                "PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
                "[2001:db8::1]:1",
                "[::1]:2",
            ),
        ];
        for (line, source, destination) in table {
            let expected = Some((source.to_owned(), destination.to_owned()));
            assert_eq!(told(line.as_bytes()), expected, "{line}");
        }
        let full = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LONGEST_LINE - 16));
        assert_eq!(full.len(), LONGEST_LINE);
        for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN 1 2 3\r\n", &full] {
            assert_eq!(told(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn other_lines_are_malformed() {
        let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LONGEST_LINE - 15));
        let wrong = [
            "GET / HTTP/1.1\r\n",
            "proxy TCP4 192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY  TCP4 192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXYxTCP4 192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXYx UNKNOWN\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 \r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 01 2\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 65536 2\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 1  2\r\n",
            "PROXY TCP4 192.0.2 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.01 10.0.0.1 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY \r\n",
            "PROXY UNKNOWNS\r\n",
            &long,
            &long[..LONGEST_LINE],
        ];
        for line in wrong {
            assert_eq!(read(line.as_bytes()), Err(Malformed), "{line}");
        }
    }

    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    const FOUR: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0xdc, 0x04, 0, 80];

    #[test]
    fn a_binary_header_tells_both_ends_whatever_tlvs_follow() {
        let expected = Some(("192.0.2.1:56324".to_owned(), "10.0.0.1:80".to_owned()));
        assert_eq!(told(&binary(0x21, 0x11, &FOUR)), expected);
        let most = [&FOUR[..], &[0xee; LONGEST - FIXED - 12]].concat();
        assert_eq!(told(&binary(0x21, 0x11, &most)), expected);
        let mut six = [0; 36];
        (six[15], six[31], six[33], six[35]) = (1, 2, 3, 4);
        let expected = Some(("[::1]:3".to_owned(), "[::2]:4".to_owned()));
        assert_eq!(told(&binary(0x21, 0x21, &six)), expected);
    }

    #[test]
    fn a_binary_header_may_tell_nothing() {
        for (command, family) in [
            (0x20, 0x00),
            (0x20, 0x11),
            (0x21, 0x00),
            (0x21, 0x12),
            (0x21, 0x31),
        ] {
            assert_eq!(
                told(&binary(command, family, &FOUR)),
                None,
                "{command:x} {family:x}"
            );
        }
        assert_eq!(told(&binary(0x20, 0x00, b"")), None);
    }

    #[test]
    fn other_binary_headers_are_malformed() {
        let long = [0; LONGEST - FIXED + 1];
        let wrong = [
            binary(0x11, 0x11, &FOUR),
            binary(0x22, 0x11, &FOUR),
            binary(0x21, 0x13, &FOUR),
            binary(0x21, 0x41, &FOUR),
            binary(0x21, 0x11, &FOUR[..11]),
            binary(0x21, 0x21, &FOUR),
            binary(0x21, 0x11, &long)[..FIXED].to_vec(),
            b"\r\n\r\n\0\r\nQUIT\r".to_vec(),
        ];
        for header in wrong {
            assert_eq!(read(&header), Err(Malformed), "{header:x?}");
        }
    }
}
