//! `Via`: who has passed a message on, and what it came by.

use http::{HeaderValue, Version};

static VIA_US: [HeaderValue; 3] = [
    HeaderValue::from_static("1.0 pointsman"),
    HeaderValue::from_static("1.1 pointsman"),
    HeaderValue::from_static("2.0 pointsman"),
];

/// Ours tells by which version a message was received (RFC 9110 section 7.6.3).
pub(super) fn via(received: Version) -> &'static HeaderValue {
    match received {
        Version::HTTP_10 => &VIA_US[0],
        Version::HTTP_2 => &VIA_US[2],
        _ => &VIA_US[1],
    }
}
