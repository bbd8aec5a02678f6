//! What the client wants an answer of the proxy itself to be (RFC 9110, 12.5.1): plain text, JSON,
//! or, for those who name it, HTML.

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};

use super::fields::lines;

/// What an answer of the proxy itself can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
    Html,
}

/// The `Accept` of a request, kept for the case that the request fails: a reference, no copy.
#[derive(Debug, Clone, Default)]
pub struct Accept(Option<HeaderValue>);

/// How much a form is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    /// The q-value in thousandths; 0 is "not this".
    quality: u16,
    /// By its own name, not by a wildcard.
    named: bool,
}

/// Who is served first among forms that are wanted as much: those who name one mostly are programs
/// that take JSON; those who take anything mostly are people at a terminal. HTML must be named.
const RANKS: [(Form, bool); 5] = [
    (Form::Json, true),
    (Form::Text, true),
    (Form::Html, true),
    (Form::Text, false),
    (Form::Json, false),
];

impl Accept {
    pub fn of(headers: &HeaderMap) -> Self {
        let mut values = lines(headers, &ACCEPT);
        let Some(first) = values.next() else {
            return Self(None);
        };
        let Some(second) = values.next() else {
            return Self(Some(first.clone()));
        };
        // A list may be spread over several fields.
        let all = [first, second].into_iter().chain(values);
        let all: Vec<&[u8]> = all.map(HeaderValue::as_bytes).collect();
        Self(HeaderValue::from_bytes(&all.join(&b","[..])).ok())
    }

    /// The form of an answer that can be had in all of them. Who wants none of them gets text all
    /// the same: it says more than an empty 406.
    pub fn form(&self) -> Form {
        let mut best = (0, Form::Text);
        for (form, named) in RANKS {
            let wanted = self.wanted(form);
            if wanted.named == named && wanted.quality > best.0 {
                best = (wanted.quality, form);
            }
        }
        best.1
    }

    /// The best of these that the client takes at all; the first of those it takes equally.
    pub fn choose<T>(&self, candidates: &[T], form: impl Fn(&T) -> Form) -> Option<usize> {
        let wanted = candidates
            .iter()
            .map(|candidate| self.wanted(form(candidate)));
        // From behind, because `max_by_key` gives the last of equals.
        let best = wanted
            .enumerate()
            .rev()
            .filter(|(_, wanted)| wanted.quality > 0);
        let best = best.max_by_key(|(_, wanted)| *wanted);
        best.map(|(index, _)| index)
    }

    /// The most specific range that holds the form decides.
    fn wanted(&self, form: Form) -> Wanted {
        let text = self.0.as_ref().and_then(|value| value.to_str().ok());
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
            return Wanted {
                quality: 1000,
                named: false,
            };
        };
        let ranges = text.split(',').filter_map(|range| weigh(range, form));
        let (specificity, quality) = ranges.max().unwrap_or((Specificity::Any, 0));
        Wanted {
            quality,
            named: specificity >= Specificity::Parameters,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    Any,
    Type,
    /// A type with parameters means a variant of it; ours is good enough if nothing names it.
    Parameters,
    Exact,
}

/// How closely a range names the form, and its q-value; none if it does not hold the form.
fn weigh(range: &str, form: Form) -> Option<(Specificity, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let (mut quality, mut parameters) = (1000, false);
    for part in parts {
        match part.split_once('=') {
            Some(("q" | "Q", value)) => quality = thousandths(value)?,
            Some((name, _)) if name.eq_ignore_ascii_case("charset") => {}
            _ => parameters = true,
        }
    }
    let (kind, exact) = match form {
        Form::Text => ("text/*", media == "text/plain"),
        Form::Html => ("text/*", media == "text/html"),
        Form::Json => ("application/*", is_json(&media)),
    };
    let specificity = match media.as_str() {
        "*/*" => Specificity::Any,
        media if media == kind => Specificity::Type,
        _ if exact && parameters => Specificity::Parameters,
        _ if exact => Specificity::Exact,
        _ => return None,
    };
    Some((specificity, quality))
}

/// `application/json`, and what is JSON by its suffix, as `application/problem+json`.
fn is_json(media: &str) -> bool {
    let subtype = media.strip_prefix("application/");
    subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// None for what is no q-value.
fn thousandths(text: &str) -> Option<u16> {
    let value: f32 = text.trim().parse().ok()?;
    let in_range = (0.0..=1.0).contains(&value);
    in_range.then_some((value * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(values: &[&str]) -> Accept {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        Accept::of(&headers)
    }

    #[test]
    fn the_most_wanted_form_is_chosen_and_html_only_by_name() {
        use Form::{Html, Json, Text};
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        let table = [
            (&["*/*"][..], Text),
            (&[], Text),
            (&[""], Text),
            (&[browser], Html),
            (&["text/html"], Html),
            (&["TEXT/HTML;charset=utf-8"], Html),
            (&["text/html, */*"], Html),
            (&["text/html;q=0.5, */*"], Text),
            (&["text/html;q=0.5, application/json;q=0.6"], Json),
            (&["text/html;q=0.6, application/json;q=0.5"], Html),
            (&["text/html, application/json"], Json),
            (&["text/html, text/plain"], Text),
            (&["text/html", "application/json;q=0.9"], Html),
            (&["text/html;q=0.9", "application/json"], Json),
            (&["text/*"], Text),
            (&["text/*;q=0.9, text/plain;q=0"], Text),
            (&["application/json"], Json),
            (&["application/json, text/plain, */*"], Json),
            (&["application/json;odata=verbose"], Json),
            (&["application/problem+json"], Json),
            (&["application/*+json, */*;q=0.1"], Json),
            (&["application/*"], Json),
            (&["application/json;q=0, */*"], Text),
            (&["text/plain;q=0, */*"], Json),
            (
                &["text/plain;q=0.2, text/plain;format=flowed, application/json;q=0.3"],
                Json,
            ),
            (&["image/png"], Text),
            (&["*/*;q=0"], Text),
            (&["application/json;q=2"], Text),
            (&["application/json;q=NaN, ,;;=,/"], Text),
        ];
        for (values, form) in table {
            assert_eq!(accept(values).form(), form, "{values:?}");
        }
    }

    #[test]
    fn of_what_there_is_the_best_that_is_taken_at_all_is_chosen() {
        use Form::{Html, Json, Text};
        let table = [
            ("*/*", &[Html, Json][..], Some(0)),
            ("*/*", &[Json, Html], Some(0)),
            ("application/json, */*", &[Html, Json], Some(1)),
            ("text/*", &[Json, Html], Some(1)),
            ("application/json", &[Html], None),
            ("text/html;q=0, */*", &[Html], None),
            ("text/plain;q=0.1, text/html;q=0.2", &[Text, Html], Some(1)),
            ("*/*", &[], None),
        ];
        for (value, forms, chosen) in table {
            let accept = accept(&[value]);
            assert_eq!(accept.choose(forms, |form| *form), chosen, "{value}");
        }
    }
}
