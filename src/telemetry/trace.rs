//! Identities of requests.

use std::fmt::Write as _;
use std::sync::OnceLock;

use http::{HeaderMap, HeaderName};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The identity of one request, made when it is first asked for: most requests never need it.
#[derive(Debug, Default)]
pub(crate) struct RequestId(OnceLock<String>);

impl RequestId {
    pub(crate) fn as_str(&self) -> &str {
        self.0.get_or_init(request_id)
    }
}

/// 128 random bits in hex. Told apart they must be, secret they are not.
fn request_id() -> String {
    let mut id = String::with_capacity(32);
    // Writing to a String cannot fail.
    let _ = write!(id, "{:032x}", fastrand::u128(..));
    id
}

/// The trace that the client says this request belongs to (W3C Trace Context, `traceparent`).
pub(super) fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(TRACEPARENT)?.to_str().ok()?;
    let mut parts = value.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let sound = version.len() == 2 && version != "ff" && trace.len() == 32;
    (sound && hex(version) && hex(trace) && trace.bytes().any(|b| b != b'0')).then_some(trace)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_sound_traceparent_names_a_trace() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, HeaderValue::from_str(value).unwrap());
            trace_id(&headers).map(str::to_owned)
        };
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(
            of(&format!("00-{id}-00f067aa0ba902b7-01")).as_deref(),
            Some(id)
        );
        for wrong in [
            "",
            "00",
            "00-xyz-1-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-1-01",
            "00-00000000000000000000000000000000-1-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-1-01",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(request_id().len(), 32);
    }
}
