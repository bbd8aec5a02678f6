//! The chunked coding (RFC 9112 section 7.1), read strictly and written plainly.

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::{EMPTY_HEADER, Status};
use memchr::memchr;

use super::Refusal;

/// Size line and extensions; extensions are read over, and nobody sends long ones.
const LONGEST_LINE: usize = 256;
/// 16 digits would be more than fits; these are 64 PiB, more than anybody sends in one chunk.
const MOST_DIGITS: usize = 14;
const LONGEST_TRAILERS: usize = 16 * 1024;
const MOST_TRAILERS: usize = 64;
/// They say how long a message is and whom it is for, and come too late for that (RFC 9110 section
/// 6.5.1): who merges trailers into the head would read another message.
pub const HEAD_ONLY: [HeaderName; 5] =
    [CONNECTION, CONTENT_LENGTH, HOST, TRAILER, TRANSFER_ENCODING];

/// Takes chunks apart as their bytes arrive.
#[derive(Debug, Default)]
pub struct Decoder(State);

#[derive(Debug, Default)]
enum State {
    #[default]
    Size,
    Data(u64),
    /// The CR LF after the data.
    DataEnd,
    Trailers,
    Done,
}

/// What came out of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    Data(Bytes),
    /// The last, always; mostly empty.
    End(HeaderMap),
    /// Nothing until there are more bytes.
    Incomplete,
}

impl Decoder {
    /// Takes what it can off the front of `buffer`. Not to be called after [`Decoded::End`].
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, Refusal> {
        loop {
            match self.0 {
                State::Size => match size(buffer)? {
                    None => return Ok(Decoded::Incomplete),
                    Some(0) => self.0 = State::Trailers,
                    Some(size) => self.0 = State::Data(size),
                },
                State::Data(left) => {
                    let take = usize::try_from(left)
                        .unwrap_or(usize::MAX)
                        .min(buffer.len());
                    if take == 0 {
                        return Ok(Decoded::Incomplete);
                    }
                    self.0 = match left - take as u64 {
                        0 => State::DataEnd,
                        left => State::Data(left),
                    };
                    return Ok(Decoded::Data(buffer.split_to(take).freeze()));
                }
                State::DataEnd => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        self.0 = State::Size;
                    }
                    None if buffer.is_empty() || buffer[..] == b"\r"[..] => {
                        return Ok(Decoded::Incomplete);
                    }
                    _ => return Err(Refusal::Chunk),
                },
                State::Trailers => {
                    return Ok(match trailers(buffer)? {
                        None => Decoded::Incomplete,
                        Some(trailers) => {
                            self.0 = State::Done;
                            Decoded::End(trailers)
                        }
                    });
                }
                State::Done => return Err(Refusal::Chunk),
            }
        }
    }
}

/// The size line, whole, or none yet.
fn size(buffer: &mut BytesMut) -> Result<Option<u64>, Refusal> {
    let within = &buffer[..buffer.len().min(LONGEST_LINE)];
    let Some(end) = memchr(b'\n', within) else {
        let whole = check_size(within.strip_suffix(b"\r").unwrap_or(within), false);
        return match buffer.len() {
            LONGEST_LINE.. => Err(Refusal::ChunkExtension),
            _ => whole.map(|_| None),
        };
    };
    let line = within[..end].strip_suffix(b"\r").ok_or(Refusal::LineEnd)?;
    let size = check_size(line, true)?;
    buffer.advance(end + 1);
    Ok(Some(size))
}

/// Digits, then nothing or an extension after a semicolon. An unfinished line may be empty.
fn check_size(line: &[u8], finished: bool) -> Result<u64, Refusal> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let rest = &line[digits..];
    let printable = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    let extension = matches!(rest.first(), None | Some(b';')) && rest.iter().all(printable);
    if digits > MOST_DIGITS || !extension || digits == 0 && (finished || !rest.is_empty()) {
        return Err(Refusal::Chunk);
    }
    let value = |byte: &u8| u64::from(char::from(*byte).to_digit(16).unwrap_or(0));
    Ok(line[..digits]
        .iter()
        .fold(0, |size, byte| size << 4 | value(byte)))
}

/// The trailer section with its empty line, whole, or none yet.
fn trailers(buffer: &mut BytesMut) -> Result<Option<HeaderMap>, Refusal> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let mut fields = [EMPTY_HEADER; MOST_TRAILERS];
    match httparse::parse_headers(buffer, &mut fields) {
        Ok(Status::Partial) if buffer.len() < LONGEST_TRAILERS => Ok(None),
        Ok(Status::Complete((length, fields))) if length <= LONGEST_TRAILERS => {
            let mut trailers = HeaderMap::with_capacity(fields.len());
            for field in fields {
                let name = HeaderName::from_bytes(field.name.as_bytes());
                let value = HeaderValue::from_bytes(field.value);
                let (Ok(name), Ok(value)) = (name, value) else {
                    return Err(Refusal::Trailers);
                };
                if HEAD_ONLY.contains(&name) {
                    return Err(Refusal::Trailers);
                }
                trailers.append(name, value);
            }
            check_line_ends(&buffer[..length])?;
            buffer.advance(length);
            Ok(Some(trailers))
        }
        Ok(_) | Err(_) => Err(Refusal::Trailers),
    }
}

fn check_line_ends(bytes: &[u8]) -> Result<(), Refusal> {
    let sound = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .all(|line| line.ends_with(b"\r\n"));
    if sound { Ok(()) } else { Err(Refusal::LineEnd) }
}

/// The line before a chunk of this many bytes, which are not 0. After the chunk comes CR LF.
pub fn encode_size(size: usize, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut line = [0; 18];
    let mut at = 16;
    let mut left = size;
    loop {
        at -= 1;
        line[at] = DIGITS[left & 0xf];
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    line[16..].copy_from_slice(b"\r\n");
    out.extend_from_slice(&line[at..]);
}

/// The end of a body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The end of a body with trailers.
pub fn encode_end(trailers: &HeaderMap, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    super::encode::fields(trailers, out);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Data, trailers, and what is left.
    type Whole = (Vec<u8>, Option<HeaderMap>, Vec<u8>);

    /// Feeds the pieces one after another.
    fn decode(pieces: &[&[u8]]) -> Result<Whole, Refusal> {
        let (mut decoder, mut buffer, mut data) = (Decoder::default(), BytesMut::new(), Vec::new());
        let mut end = None;
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while end.is_none() {
                match decoder.decode(&mut buffer)? {
                    Decoded::Data(bytes) => data.extend_from_slice(&bytes),
                    Decoded::End(trailers) => end = Some(trailers),
                    Decoded::Incomplete => break,
                }
            }
        }
        Ok((data, end, buffer.to_vec()))
    }

    #[test]
    fn chunks_extensions_and_trailers_are_read() {
        let body = b"5\r\nhello\r\n1;a=\"b\"\r\n,\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\nGET";
        for cut in 0..body.len() {
            let (data, end, left) = decode(&[&body[..cut], &body[cut..]]).unwrap();
            assert_eq!(
                (&data[..], &left[..]),
                (&b"hello,0123456789"[..], &b"GET"[..]),
                "cut {cut}"
            );
            assert_eq!(end.unwrap()["x-sum"], "1");
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        let table: [(&[u8], Refusal); 17] = [
            (b"5\nhello\r\n", Refusal::LineEnd),
            (b"0x5\r\nhello\r\n", Refusal::Chunk),
            (b"+5\r\nhello\r\n", Refusal::Chunk),
            (b"-1\r\n", Refusal::Chunk),
            (b" 5\r\nhello\r\n", Refusal::Chunk),
            (b"5 \r\nhello\r\n", Refusal::Chunk),
            (b"\r\nhello\r\n", Refusal::Chunk),
            (b";a\r\n", Refusal::Chunk),
            (b"5\r\nhelloX\r\n", Refusal::Chunk),
            (b"5\r\nhello\n", Refusal::Chunk),
            (b"fffffffffffffff\r\n", Refusal::Chunk),
            (b"10000000000000005\r\n", Refusal::Chunk),
            (b"5;a\0b\r\nhello\r\n", Refusal::Chunk),
            (b"5;\rx\r\nhello\r\n", Refusal::Chunk),
            (b"0\r\nA b\r\n\r\n", Refusal::Trailers),
            (b"0\r\nA: b\n\r\n", Refusal::LineEnd),
            (b"0\r\nHost: b\r\n\r\n", Refusal::Trailers),
        ];
        for (bytes, expected) in table {
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(decode(&[bytes]).err(), Some(expected), "{text:?}");
            let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
            assert!(decode(&pieces).is_err(), "byte by byte: {text:?}");
        }
        let long = [b"5;", "x".repeat(300).as_bytes()].concat();
        assert_eq!(decode(&[&long]).err(), Some(Refusal::ChunkExtension));
        let long = [b"0\r\nA: ", "x".repeat(20_000).as_bytes()].concat();
        assert_eq!(decode(&[&long]).err(), Some(Refusal::Trailers));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_however_it_is_cut(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8),
            cut in 1_usize..50,
        ) {
            let mut encoded = Vec::new();
            for chunk in &chunks {
                encode_size(chunk.len(), &mut encoded);
                encoded.extend_from_slice(chunk);
                encoded.extend_from_slice(b"\r\n");
            }
            encoded.extend_from_slice(LAST_CHUNK);
            let pieces: Vec<&[u8]> = encoded.chunks(cut).collect();
            let (data, end, left) = decode(&pieces).unwrap();
            prop_assert_eq!(data, chunks.concat());
            prop_assert!(end.is_some_and(|trailers| trailers.is_empty()) && left.is_empty());
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&[&bytes]);
        }
    }
}
