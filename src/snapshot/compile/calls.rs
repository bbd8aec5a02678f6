//! Methods of gRPC that a route lists.

use crate::config::{self, KeyPath, Problem};
use crate::metrics::{Calls, Metrics};

/// With twenty codes and sixteen buckets each, a scrape grows by forty lines for each of them.
const MOST: usize = 200;

pub(super) fn compile(
    name: &str,
    route: &config::Route,
    metrics: &Metrics,
    at: &KeyPath,
    problems: &mut Vec<Problem>,
) -> Option<Calls> {
    let (methods, at) = (&route.grpc_methods, at.key("grpc_methods"));
    if methods.is_empty() {
        return None;
    }
    if methods.len() > MOST {
        let message = format!("more than {MOST} methods would make too many series");
        problems.push(Problem::error(&at, message).help("list those that matter"));
    }
    for (index, method) in methods.iter().enumerate() {
        let parts: Vec<&str> = method.split('/').collect();
        let good = |part: &&str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
            !part.is_empty() && part.bytes().all(known)
        };
        if parts.len() != 2 || !parts.iter().all(good) {
            let message = format!("`{}` is no method of gRPC", method.escape_debug());
            let help = "write one such as \"shop.Cart/Add\"";
            problems.push(Problem::error(at.index(index), message).help(help));
        }
    }
    Some(metrics.calls(name, methods))
}
