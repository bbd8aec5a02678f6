//! Upgrades: the protocols that a route allows, less those that no proxy should.

use super::sound;
use crate::config::{self, KeyPath, Problem};
use crate::route::Upgrades;

/// What is allowed if the route does not say.
const DEFAULT: &str = "websocket";

/// Protocols that carry further requests. Those would pass by every route and rule unseen.
const CARRY_REQUESTS: [&str; 4] = ["h2c", "h2", "http", "tls"];

pub(super) fn upgrades(
    route: &config::Route,
    at: &KeyPath,
    problems: &mut Vec<Problem>,
) -> Upgrades {
    let place = at.key("upgrade");
    let protocols = match &route.upgrade {
        None => vec![DEFAULT.to_owned()],
        Some(list) => {
            let protocols = list.iter().map(|text| protocol(text));
            let sound = protocols.filter_map(|protocol| sound(protocol, &place, problems));
            sound.collect()
        }
    };
    let idle = route.timeout.tunnel.0;
    if idle.is_zero() {
        problems.push(
            Problem::error(at.key("timeout").key("tunnel"), "it cannot be zero")
                .help("write `upgrade = []` to allow no tunnels"),
        );
    }
    Upgrades {
        protocols,
        idle,
        half_closed: route.timeout.half_closed.0,
    }
}

/// A name, perhaps with a version after a slash (RFC 9110 section 7.8).
fn protocol(text: &str) -> Result<String, String> {
    let (name, version) = text.split_once('/').unwrap_or((text, "0"));
    if !is_token(name) || !is_token(version) {
        let text = text.escape_debug();
        return Err(format!(
            "`{text}` is not the name of a protocol; write one such as \"websocket\""
        ));
    }
    let mut known = CARRY_REQUESTS.iter();
    if known.any(|known| name.eq_ignore_ascii_case(known)) {
        return Err(format!(
            "`{text}` cannot be allowed: the requests in such a connection would pass by every \
             route and rule unseen; take it away, and they are served as plain HTTP/1.1"
        ));
    }
    Ok(text.to_owned())
}

fn is_token(text: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(sign)
}

#[cfg(test)]
mod tests {
    use super::protocol;

    #[test]
    fn what_carries_requests_of_its_own_is_refused_in_any_spelling() {
        for good in ["websocket", "WebSocket", "mqtt", "irc/6.9", "SHTTP/1.3"] {
            assert_eq!(protocol(good), Ok(good.to_owned()));
        }
        for request in ["h2c", "H2C", "h2", "HTTP/2.0", "tls/1.0", "TLS"] {
            let refused = protocol(request).unwrap_err();
            assert!(refused.contains("unseen"), "{request}: {refused}");
        }
        for malformed in ["", "/", "a/", "/1", "a b", "websocket, mqtt", "a/b/c", "\n"] {
            let refused = protocol(malformed).unwrap_err();
            assert!(refused.contains("not the name"), "{malformed}: {refused}");
        }
    }
}
