//! Which requests a route takes.

use http::{HeaderName, HeaderValue, Method};

use super::header::header_value;
use super::sound;
use crate::config::{KeyPath, Problem, Route};
use crate::route::{HostPattern, Matcher, PathPattern, Predicates};

pub(super) fn compile(route: &Route, at: &KeyPath, problems: &mut Vec<Problem>) -> Matcher {
    let (hosts, paths) = (at.key("host"), at.key("path"));
    let host = |text: &String| HostPattern::parse(text);
    let path = |text: &String| PathPattern::parse(text);
    Matcher {
        hosts: each(route.host.iter().map(host), &hosts, problems),
        paths: each(route.path.iter().map(path), &paths, problems),
        predicates: predicates(route, at, problems),
    }
}

fn predicates(route: &Route, at: &KeyPath, problems: &mut Vec<Problem>) -> Predicates {
    let methods = route.method.iter().map(|text| method(text));
    let mut methods = each(methods, &at.key("method"), problems);
    methods.sort_by(|one, two| one.as_str().cmp(two.as_str()));
    methods.dedup();
    let header = |(name, value): (&String, &String)| predicate_header(name, value);
    let mut headers = each(route.header.iter().map(header), &at.key("header"), problems);
    headers.sort_by(|one, two| one.0.as_str().cmp(two.0.as_str()));
    let any = |value: &String| (value != "*").then(|| value.clone());
    let query = route.query.iter();
    let query = query.map(|(name, value)| (name.clone(), any(value)));
    Predicates {
        methods,
        headers,
        query: query.collect(),
    }
}

fn each<T>(
    results: impl Iterator<Item = Result<T, String>>,
    at: &KeyPath,
    problems: &mut Vec<Problem>,
) -> Vec<T> {
    results
        .filter_map(|result| sound(result, at, problems))
        .collect()
}

fn method(text: &str) -> Result<Method, String> {
    let upper = text.to_ascii_uppercase();
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT) => Err("a route cannot take CONNECT".to_owned()),
        Ok(method) if text == upper => Ok(method),
        Ok(_) => Err(format!("methods are upper case; write \"{upper}\"")),
        Err(_) => Err(format!(
            "`{text}` is not a method; write one such as \"GET\""
        )),
    }
}

fn predicate_header(name: &str, value: &str) -> Result<(HeaderName, Option<HeaderValue>), String> {
    let header = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("`{name}` is not a header name"))?;
    let value = (value != "*").then(|| header_value(value)).transpose()?;
    Ok((header, value))
}
