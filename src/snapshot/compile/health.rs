//! How an upstream's servers are asked whether they are well.

use http::uri::PathAndQuery;

use crate::config::{KeyPath, Problem, Scheme, Upstream};
use crate::upstream::{Check, Question};

/// The longest name of a service that is asked for.
const LONGEST: usize = 127;

/// None if they are not asked, or with a Problem.
pub(super) fn compile(
    upstream: &Upstream,
    at: &KeyPath,
    problems: &mut Vec<Problem>,
) -> Option<Check> {
    let health = upstream.health.as_ref()?;
    let at = at.key("health");
    let mut wrong = |key: &str, holds: bool, rule: &str| {
        if !holds {
            problems.push(Problem::error(at.key(key), rule));
        }
    };
    let rule = "it cannot be zero";
    wrong("interval", !health.interval.0.is_zero(), rule);
    wrong("timeout", !health.timeout.0.is_zero(), rule);
    wrong("healthy", health.healthy > 0, rule);
    wrong("unhealthy", health.unhealthy > 0, rule);
    let question = match (&health.path, &health.grpc) {
        (Some(path), None) => {
            let whole = path.starts_with('/') && path.parse::<PathAndQuery>().is_ok();
            let rule = "it must be a path such as \"/healthz\"";
            wrong("path", whole, rule);
            Question::Http(path.clone())
        }
        (None, Some(service)) => {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
            let good = service.len() <= LONGEST && service.bytes().all(known);
            let rule = "it must be the name of a service such as \"shop.Cart\", or \"\"";
            wrong("grpc", good, rule);
            let old = |scheme: Scheme| scheme == Scheme::Http;
            let new = !upstream.server.iter().any(|url| old(url.scheme()));
            let rule = "gRPC is spoken by servers of `h2c://` and `https://` only";
            wrong("grpc", new, rule);
            Question::Grpc(service.clone())
        }
        _ => {
            let message = "servers are asked either by HTTP or by gRPC";
            let help = "write `health = { path = \"/healthz\" }` or `health = { grpc = \"\" }`";
            problems.push(Problem::error(&at, message).help(help));
            return None;
        }
    };
    Some(Check {
        question,
        interval: health.interval.0,
        timeout: health.timeout.0,
        healthy: health.healthy,
        unhealthy: health.unhealthy,
    })
}
