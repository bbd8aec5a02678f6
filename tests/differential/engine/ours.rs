//! What Pointsman makes of a stream: its head parser, its framing and its chunk decoder, as the two
//! ends of `wire` put them together.

use bytes::BytesMut;
use http::{HeaderMap, Method, Version};
use pointsman::config::ListenerLimit;
use pointsman::message;
use pointsman::wire::chunked::{Decoded, Decoder};
use pointsman::wire::{BodyLength, Limits, Refusal, ResponseHead, Reuse};
use pointsman::wire::{framing, parse};

use super::{End, Fields, Kind, Message, Reading, sorted};

pub(super) fn read(kind: Kind, stream: &[u8]) -> Reading {
    let mut buffer = BytesMut::from(stream);
    let mut messages = Vec::new();
    loop {
        let length = stream.len();
        let next = match kind {
            Kind::Requests => request(&mut buffer),
            Kind::Answers { head } => answer(&mut buffer, head),
        };
        let end = match next {
            Ok(Some(message)) => {
                let last = message.last == Some(true);
                messages.push(Message {
                    end: Some(length - buffer.len()),
                    ..message
                });
                if last { End::Waits } else { continue }
            }
            Ok(None) => End::Waits,
            Err(refusal) => End::Refused(format!("{refusal:?}")),
        };
        return Reading { messages, end };
    }
}

fn limits() -> Limits {
    Limits::from(&ListenerLimit::default())
}

/// A whole one, or none yet.
fn request(buffer: &mut BytesMut) -> Result<Option<Message>, Refusal> {
    parse::skip_empty_line(buffer);
    let Some(mut head) = parse::request(buffer, &limits())? else {
        return Ok(None);
    };
    let length = framing::request(head.version, &head.headers)?;
    let last = framing::reuse(head.version, &head.headers) == Reuse::Close;
    let (head, ()) = head.take_request(()).into_parts();
    let line = vec![
        head.method.as_str().into(),
        head.uri.to_string().into_bytes(),
        version_text(head.version),
    ];
    let fields = fields(&head.headers);
    let unserved = message::Target::parse(&head)
        .is_err_and(|why| matches!(why.word(), "bad_host" | "unsupported"));
    let body = body(length, buffer)?;
    Ok(body.map(|(body, trailers)| Message {
        line,
        fields,
        body,
        trailers,
        end: None,
        last: Some(last),
        unserved,
    }))
}

/// A whole one, or none yet.
fn answer(buffer: &mut BytesMut, head: bool) -> Result<Option<Message>, Refusal> {
    let Some(answer) = parse::response(buffer, &limits())? else {
        return Ok(None);
    };
    let ResponseHead {
        status,
        version,
        headers,
    } = answer;
    let method = if head { Method::HEAD } else { Method::GET };
    let length = framing::response(&method, status, version, &headers)?;
    let body = body(length, buffer)?;
    Ok(body.map(|(body, trailers)| Message {
        line: vec![version_text(version), status.as_str().into()],
        fields: fields(&headers),
        body,
        trailers,
        // Only one answer was asked for.
        last: Some(!status.is_informational()),
        ..Message::default()
    }))
}

fn body(length: BodyLength, buffer: &mut BytesMut) -> Result<Option<(Vec<u8>, Fields)>, Refusal> {
    let none = Fields::new();
    match length {
        BodyLength::Empty => Ok(Some((Vec::new(), none))),
        BodyLength::UntilClose => Ok(Some((buffer.split().to_vec(), none))),
        BodyLength::Known(length) => Ok(usize::try_from(length)
            .ok()
            .filter(|length| *length <= buffer.len())
            .map(|length| (buffer.split_to(length).to_vec(), none))),
        BodyLength::Chunked => {
            let (mut decoder, mut data) = (Decoder::default(), Vec::new());
            loop {
                match decoder.decode(buffer)? {
                    Decoded::Data(bytes) => data.extend_from_slice(&bytes),
                    Decoded::End(trailers) => return Ok(Some((data, fields(&trailers)))),
                    Decoded::Incomplete => return Ok(None),
                }
            }
        }
    }
}

pub(super) fn fields(headers: &HeaderMap) -> Fields {
    let pair = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().into(), value.as_bytes().to_vec())
    };
    sorted(headers.iter().map(pair).collect())
}

pub(super) fn version_text(version: Version) -> Vec<u8> {
    let text = if version == Version::HTTP_10 {
        "1.0"
    } else {
        "1.1"
    };
    text.into()
}
