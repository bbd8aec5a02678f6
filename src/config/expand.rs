//! `${NAME}` and `${NAME:-default}` in strings; `$${` is a plain `${`.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// Expands every string of the tree in place; a variable that is not set is a Problem.
pub(super) fn expand(
    table: &mut DeTable<'_>,
    variable: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) {
    for (_, value) in table.iter_mut() {
        expand_value(value, variable, problems);
    }
}

fn expand_value(
    value: &mut Spanned<DeValue<'_>>,
    variable: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(text) if text.contains("${") => match expand_text(text, variable) {
            Ok(expanded) => *text = expanded.into(),
            Err(why) => problems.push(
                Problem::at_bytes(span, why)
                    .help("set it before the start, or give a default: \"${NAME:-value}\""),
            ),
        },
        DeValue::Array(array) => {
            for element in array.iter_mut() {
                expand_value(element, variable, problems);
            }
        }
        DeValue::Table(table) => expand(table, variable, problems),
        _ => {}
    }
}

fn expand_text(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            expanded.push_str(&rest[..at]);
            expanded.push('{');
            rest = &rest[at + 2..];
            continue;
        }
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 2..];
        let end = after.find('}').ok_or("`${` without its `}`")?;
        let (name, default) = match after[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&after[..end], None),
        };
        let value = variable(name).filter(|value| !value.is_empty() || default.is_none());
        match (value, default) {
            (Some(value), _) => expanded.push_str(&value),
            (None, Some(default)) => expanded.push_str(default),
            (None, None) => return Err(format!("the environment variable `{name}` is not set")),
        }
        rest = &after[end + 1..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_defaults_and_escapes() {
        let variable = |name: &str| match name {
            "PORT" => Some("80".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let table = [
            ("a${PORT}b${PORT}", Ok("a80b80")),
            ("${NONE:-x:y}", Ok("x:y")),
            ("${EMPTY:-x}", Ok("x")),
            ("[${EMPTY}]", Ok("[]")),
            ("$${PORT}", Ok("${PORT}")),
            ("{path.id} $5", Ok("{path.id} $5")),
            ("${NONE}", Err("the environment variable `NONE` is not set")),
            ("${PORT", Err("`${` without its `}`")),
        ];
        for (text, expected) in table {
            let expanded = expand_text(text, &variable);
            assert_eq!(
                expanded.as_deref().map_err(String::as_str),
                expected,
                "{text}"
            );
        }
    }
}
