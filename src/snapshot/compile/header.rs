//! Header rules and other texts with variables.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue};

use super::sound;
use crate::config::{self, KeyPath, Problem};
use crate::message::rules::{HeaderRules, Value};
use crate::message::template::Template;

/// These frame the message or belong to one connection: the proxy alone writes them.
const OURS: [HeaderName; 6] = [
    CONNECTION,
    CONTENT_LENGTH,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

pub(super) fn rules(
    rules: &config::HeaderRules,
    parts: &[&str],
    at: &KeyPath,
    problems: &mut Vec<Problem>,
) -> HeaderRules {
    let remove = rules.remove.iter();
    let place = at.key("remove");
    let remove = remove
        .filter_map(|name| sound(header_name(name), &place, problems))
        .collect();
    let mut values = |kind: &str, rules: &std::collections::BTreeMap<String, String>| {
        let mut values = Vec::new();
        for (name, text) in rules {
            let place = at.key(kind).key(name);
            let name = sound(header_name(name), &place, problems);
            let value = sound(value(text, parts), &place, problems);
            values.extend(name.zip(value));
        }
        values
    };
    let set = values("set", &rules.set);
    let add = values("add", &rules.add);
    HeaderRules { remove, set, add }
}

fn header_name(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| format!("`{text}` is not a header name"))?;
    if OURS.contains(&name) {
        return Err(format!(
            "`{text}` is written by the proxy itself and cannot have a rule"
        ));
    }
    if name == HOST {
        return Err("the Host is set with `upstream_host`, not by a header rule".to_owned());
    }
    Ok(name)
}

fn value(text: &str, parts: &[&str]) -> Result<Value, String> {
    let template = Template::parse(text, parts)?;
    match template.constant() {
        None => Ok(Value::Template(template)),
        Some(constant) => header_value(constant).map(Value::Constant),
    }
}

pub(super) fn header_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text)
        .map_err(|_| format!("`{}` cannot be the value of a header", text.escape_debug()))
}
