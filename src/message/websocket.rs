//! The proof that whoever answers a WebSocket handshake has read it as one (RFC 6455 section 4): a key
//! that is sent, and what the answer makes of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::{HeaderMap, HeaderValue};
use sha1::{Digest, Sha1};

use super::fields::lines;

/// What the key is joined with, so that nothing but a WebSocket server answers it by chance.
const SALT: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Of a handshake that begins here.
#[derive(Debug)]
pub struct Key(String);

impl Key {
    /// It has to be new, and is no secret.
    pub fn fresh() -> Self {
        Self(STANDARD.encode(fastrand::u128(..).to_be_bytes()))
    }

    pub fn put(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            headers.insert(SEC_WEBSOCKET_KEY, value);
        }
    }

    /// Is this the answer to it?
    pub fn is_answered(&self, headers: &HeaderMap) -> bool {
        let mut answers = lines(headers, &SEC_WEBSOCKET_ACCEPT);
        let expected = self.answer();
        match (answers.next(), answers.next()) {
            (Some(answer), None) => answer.as_bytes() == expected.as_bytes(),
            _ => false,
        }
    }

    fn answer(&self) -> String {
        let digest = Sha1::new().chain_update(&self.0).chain_update(SALT);
        STANDARD.encode(digest.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_answered_as_it_says() {
        let key = Key("dGhlIHNhbXBsZSBub25jZQ==".to_owned());
        let answer = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let answered = |answers: &[&str]| {
            let mut headers = HeaderMap::new();
            for answer in answers {
                let answer = HeaderValue::from_str(answer).expect("a value");
                headers.append(SEC_WEBSOCKET_ACCEPT, answer);
            }
            key.is_answered(&headers)
        };
        assert!(answered(&[answer]));
        assert!(!answered(&[]));
        assert!(!answered(&[&answer.to_lowercase()]));
        assert!(!answered(&[answer, answer]));
    }

    #[test]
    fn no_key_is_used_twice_and_each_is_of_sixteen_bytes() {
        let (one, other) = (Key::fresh(), Key::fresh());
        assert_ne!(one.0, other.0);
        let length = |key: &Key| STANDARD.decode(&key.0).map(|bytes| bytes.len());
        assert_eq!(length(&one), Ok(16));
    }
}
