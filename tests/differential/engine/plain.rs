//! httparse alone, with the framing that RFC 9112 section 6.3 describes and no doubts: the parser
//! that ours stands on, without what ours adds.

use httparse::{EMPTY_HEADER, Error, Header, InvalidChunkSize, Request, Response, Status};

use super::{End, Fields, Kind, Message, Reading, sorted};

/// Why there is no message.
enum Stop {
    Waits,
    Refused(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(format!("{error:?}"))
    }
}

impl From<InvalidChunkSize> for Stop {
    fn from(_: InvalidChunkSize) -> Self {
        Self::Refused("ChunkSize".to_owned())
    }
}

pub(super) fn read(kind: Kind, stream: &[u8]) -> Reading {
    let (mut messages, mut at) = (Vec::new(), 0);
    loop {
        let end = match message(kind, &stream[at..]) {
            Ok((message, length)) => {
                at += length;
                let last = message.last == Some(true);
                messages.push(Message {
                    end: Some(at),
                    ..message
                });
                if last { End::Waits } else { continue }
            }
            Err(Stop::Waits) => End::Waits,
            Err(Stop::Refused(why)) => End::Refused(why),
        };
        return Reading { messages, end };
    }
}

fn message(kind: Kind, bytes: &[u8]) -> Result<(Message, usize), Stop> {
    let mut room = [EMPTY_HEADER; 256];
    let (line, fields, length, last) = match kind {
        Kind::Requests => {
            let mut parsed = Request::new(&mut room);
            let length = whole(parsed.parse(bytes)?)?;
            let line = vec![
                parsed.method.unwrap_or_default().into(),
                parsed.path.unwrap_or_default().into(),
                version(parsed.version),
            ];
            (line, pairs(parsed.headers), length, None)
        }
        Kind::Answers { .. } => {
            let mut parsed = Response::new(&mut room);
            let length = whole(parsed.parse(bytes)?)?;
            let status = parsed.code.unwrap_or_default();
            let line = vec![version(parsed.version), format!("{status:03}").into_bytes()];
            let last = !(100..200).contains(&status);
            (line, pairs(parsed.headers), length, Some(last))
        }
    };
    let rest = &bytes[length..];
    let (body, trailers, body_length) = match framing(kind, &line, &fields)? {
        Framing::Chunked => chunks(rest)?,
        Framing::Rest => (rest.to_vec(), Fields::new(), rest.len()),
        Framing::Length(length) => {
            let body = rest.get(..length).ok_or(Stop::Waits)?;
            (body.to_vec(), Fields::new(), length)
        }
    };
    let message = Message {
        line,
        fields,
        body,
        trailers,
        last,
        ..Message::default()
    };
    Ok((message, length + body_length))
}

enum Framing {
    Chunked,
    Rest,
    Length(usize),
}

fn framing(kind: Kind, line: &[Vec<u8>], fields: &Fields) -> Result<Framing, Stop> {
    let status = match kind {
        Kind::Requests => None,
        Kind::Answers { head: true } => return Ok(Framing::Length(0)),
        Kind::Answers { head: false } => Some(&line[1][..]),
    };
    if status.is_some_and(|status| status[0] == b'1' || matches!(status, b"204" | b"304")) {
        return Ok(Framing::Length(0));
    }
    let values = |wanted: &'static [u8]| {
        let named = fields.iter().filter(move |(name, _)| name == wanted);
        named.map(|(_, value)| String::from_utf8_lossy(value).trim().to_ascii_lowercase())
    };
    if let Some(codings) = values(b"transfer-encoding").next_back() {
        let last = codings.rsplit(',').next().unwrap_or_default().trim();
        return match (last, status) {
            ("chunked", _) => Ok(Framing::Chunked),
            (_, Some(_)) => Ok(Framing::Rest),
            (_, None) => Err(Stop::Refused("Coding".to_owned())),
        };
    }
    match (values(b"content-length").next(), status) {
        (Some(length), _) => match length.parse::<u64>() {
            Ok(length) => Ok(Framing::Length(
                usize::try_from(length).unwrap_or(usize::MAX),
            )),
            Err(_) => Err(Stop::Refused("Length".to_owned())),
        },
        (None, Some(_)) => Ok(Framing::Rest),
        (None, None) => Ok(Framing::Length(0)),
    }
}

fn chunks(bytes: &[u8]) -> Result<(Vec<u8>, Fields, usize), Stop> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let (length, size) = whole(httparse::parse_chunk_size(&bytes[at..])?)?;
        at += length;
        if size == 0 {
            let mut room = [EMPTY_HEADER; 64];
            let (length, fields) = whole(httparse::parse_headers(&bytes[at..], &mut room)?)?;
            return Ok((body, pairs(fields), at + length));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let end = at.checked_add(size).ok_or(Stop::Waits)?;
        body.extend_from_slice(bytes.get(at..end).ok_or(Stop::Waits)?);
        let after = bytes.get(end..).unwrap_or_default();
        match after {
            [b'\r', b'\n', ..] => at = end + 2,
            [] | [b'\r'] => return Err(Stop::Waits),
            _ => return Err(Stop::Refused("ChunkEnd".to_owned())),
        }
    }
}

fn whole<T>(status: Status<T>) -> Result<T, Stop> {
    match status {
        Status::Complete(value) => Ok(value),
        Status::Partial => Err(Stop::Waits),
    }
}

fn pairs(headers: &[Header<'_>]) -> Fields {
    let pair = |header: &Header<'_>| {
        let name = header.name.to_ascii_lowercase();
        (name.into_bytes(), header.value.to_vec())
    };
    sorted(headers.iter().map(pair).collect())
}

fn version(minor: Option<u8>) -> Vec<u8> {
    format!("1.{}", minor.unwrap_or_default()).into_bytes()
}
