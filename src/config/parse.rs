//! Text to [`Config`], with every Problem of syntax, keys, types and ranges at once.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::problem::{Problem, nearest};
use super::source::{holds, reaches};
use super::{Config, expand};

/// More Problems than this help nobody; the rest come to light once these are mended.
const MOST_PROBLEMS: usize = 20;

/// Reads a configuration; `variable` looks up what `${NAME}` stands for.
pub fn parse(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Vec<Problem>> {
    let (mut table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: &toml::de::Error| {
            Problem::at_bytes(error.span().unwrap_or(0..0), error.message())
        };
        return Err(errors.iter().take(MOST_PROBLEMS).map(problem).collect());
    }
    let mut problems = Vec::new();
    expand::expand(table.get_mut(), variable, &mut problems);
    deserialize(table, problems)
}

/// Serde stops at the first error. So the value it complains of is taken out of the tree and the
/// rest is tried again, until nothing is left to complain of: each error is found with its own
/// place, and the good case costs one pass.
fn deserialize(
    mut table: Spanned<DeTable<'_>>,
    mut problems: Vec<Problem>,
) -> Result<Config, Vec<Problem>> {
    loop {
        let error = match Config::deserialize(Deserializer::from(table.clone())) {
            Ok(config) if problems.is_empty() => return Ok(config),
            Ok(_) => return Err(problems),
            Err(error) => error,
        };
        let span = error.span().unwrap_or(0..0);
        problems.push(explain(error.message(), span.clone()));
        if problems.len() >= MOST_PROBLEMS || !remove(table.get_mut(), &span) {
            return Err(problems);
        }
    }
}

/// Serde's words, and for an unknown key the nearest known one.
fn explain(message: &str, span: Range<usize>) -> Problem {
    let mut words = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") {
        let unknown = words.next().unwrap_or_default();
        let known: Vec<&str> = words.collect();
        let help = match nearest(unknown, known.iter().copied()) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("known keys are {}", known.join(", ")),
        };
        return Problem::at_bytes(span, format!("unknown key `{unknown}`")).help(help);
    }
    if message.starts_with("unknown variant") {
        let unknown = words.next().unwrap_or_default();
        let known: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
        return Problem::at_bytes(span, format!("`{unknown}` is not a value of this key"))
            .help(format!("write one of {}", known.join(", ")));
    }
    if message.starts_with("missing field") {
        let missing = words.next().unwrap_or_default();
        return Problem::at_bytes(span, format!("the key `{missing}` is missing"));
    }
    Problem::at_bytes(span, message)
}

/// Takes the innermost key or list element that holds these bytes out of the tree.
fn remove(table: &mut DeTable<'_>, bytes: &Range<usize>) -> bool {
    let found = table.iter_mut().find_map(|(key, value)| {
        // The key of `[[route]]` lies within the span of its first element, too.
        let is_key = holds(&key.span(), bytes);
        (is_key || reaches(value, bytes)).then(|| {
            (
                key.get_ref().clone(),
                !is_key && remove_inside(value, bytes),
            )
        })
    });
    match found {
        None => false,
        Some((_, true)) => true,
        Some((key, false)) => table.remove(key.as_ref()).is_some(),
    }
}

fn remove_inside(value: &mut Spanned<DeValue<'_>>, bytes: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => remove(table, bytes),
        DeValue::Array(array) => {
            let Some(index) = array.iter().position(|element| reaches(element, bytes)) else {
                return false;
            };
            if !array
                .get_mut(index)
                .is_some_and(|element| remove_inside(element, bytes))
            {
                let kept = array.iter().enumerate().filter(|(at, _)| *at != index);
                *array = kept.map(|(_, kept)| kept.clone()).collect();
            }
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Report, Source};
    use super::*;

    fn reports(text: &str) -> Vec<String> {
        let source = Source::new("p.toml", text);
        let problems = parse(text, &|_| None).expect_err("the text is wrong");
        source.reports(&problems).iter().map(Report::line).collect()
    }

    #[test]
    fn every_problem_is_told_at_once_with_line_column_and_key() {
        let text = "listen = \"nowhere\"\n\
                    [server]\nworker = 4\n\
                    [[route]]\nupstraem = \"http://a\"\nhost = 5\n\
                    [[route]]\nforwarded = \"yes\"\n\
                    [log]\nlevel = \"loud\"\n";
        let reports = reports(text);
        let expected = [
            "p.toml:1:10: listen: `nowhere` is not an address",
            "p.toml:3:1: server.worker: unknown key `worker` (did you mean `workers`?)",
            "p.toml:5:1: route[0].upstraem: unknown key `upstraem` (did you mean `upstream`?)",
            "p.toml:6:8: route[0].host: invalid type: integer `5`, expected a string or a list of strings",
            "p.toml:8:13: route[1].forwarded: invalid type: string \"yes\", expected a boolean",
            "p.toml:10:9: log.level: `loud` is not a value of this key (write one of \"error\", \"warn\"",
        ];
        assert_eq!(reports.len(), expected.len(), "{reports:#?}");
        for (report, expected) in reports.iter().zip(expected) {
            assert!(report.starts_with(expected), "{report}\n{expected}");
        }
    }

    #[test]
    fn a_misspelt_list_of_tables_is_one_problem() {
        let reports = reports("[[rout]]\nhost = \"a\"\n[[rout]]\nhost = \"b\"\n");
        assert_eq!(
            reports,
            ["p.toml:1:3: rout: unknown key `rout` (did you mean `route`?)"]
        );
    }

    #[test]
    fn a_report_points_with_a_caret() {
        let text = "[[route]]\nupstream = \"http://a\"\npaht = \"/x\"\n";
        let problems = parse(text, &|_| None).expect_err("paht");
        let shown = Source::new("p.toml", text).reports(&problems)[0].to_string();
        let expected = "error: unknown key `paht`\n --> p.toml:3:1 (route[0].paht)\n  |\n\
                        3 | paht = \"/x\"\n  | ^^^^\n  = help: did you mean `path`?\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_missing_key_points_at_its_table() {
        let reports = reports("[[listener]]\nname = \"web\"\n");
        assert_eq!(
            reports,
            ["p.toml:1:1: listener[0]: the key `address` is missing"]
        );
    }

    #[test]
    fn broken_syntax_has_a_place_too() {
        let reports = reports("[[route]]\nhost = \"a\nupstream = \"http://b\"\n");
        assert!(reports[0].starts_with("p.toml:2:"), "{reports:#?}");
    }

    #[test]
    fn variables_are_expanded_before_types_are_checked() {
        let variable = |name: &str| (name == "PORT").then(|| "81".to_owned());
        let config = parse("listen = \"127.0.0.1:${PORT}\"", &variable).unwrap();
        assert_eq!(config.listen.0[0].to_string(), "127.0.0.1:81");
    }

    #[test]
    fn strange_text_never_panics() {
        for text in [
            "",
            "=",
            "[",
            "[[route]]",
            "é = \"${\"",
            "route = 5",
            "\u{0}",
            "a.b.c = [1, {",
        ] {
            if let Err(problems) = parse(text, &|_| None) {
                let reports = Source::new("x", text).reports(&problems);
                assert!(
                    reports
                        .iter()
                        .all(|report| report.to_string().contains("--> x:"))
                );
            }
        }
    }
}
