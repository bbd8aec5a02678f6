//! A page of an answer that the proxy makes itself: a text with a few placeholders, the operator's
//! or one that is built in.

use axum::body::Bytes;
use http::{HeaderValue, StatusCode};

use super::accept::Form;

/// What the placeholders of a page stand for.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    pub status: StatusCode,
    /// The word of `x-pointsman-error`.
    pub error: &'a str,
    pub message: &'a str,
    pub request_id: &'a str,
}

/// A page cut into its pieces when the snapshot is built. The texts are slices of one file.
#[derive(Debug, Clone)]
pub struct Page {
    form: Form,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(Bytes),
    Placeholder(Placeholder),
}

#[derive(Debug, Clone, Copy)]
enum Placeholder {
    Status,
    Error,
    Message,
    RequestId,
}

const PLACEHOLDERS: [(&[u8], Placeholder); 4] = [
    (b"{status}", Placeholder::Status),
    (b"{error}", Placeholder::Error),
    (b"{message}", Placeholder::Message),
    (b"{request_id}", Placeholder::RequestId),
];

impl Page {
    /// Any other brace is a plain one: pages are full of JSON and style sheets.
    pub fn cut(form: Form, text: &Bytes) -> Self {
        let mut pieces = Vec::new();
        let mut from = 0;
        for at in memchr::memchr_iter(b'{', text) {
            let mut known = PLACEHOLDERS.iter();
            let Some((name, placeholder)) = known.find(|(name, _)| text[at..].starts_with(name))
            else {
                continue;
            };
            if from < at {
                pieces.push(Piece::Text(text.slice(from..at)));
            }
            pieces.push(Piece::Placeholder(*placeholder));
            from = at + name.len();
        }
        if from < text.len() {
            pieces.push(Piece::Text(text.slice(from..)));
        }
        Self { form, pieces }
    }

    /// By the end of a file's name; none if that does not tell.
    pub fn form_of(path: &str) -> Option<Form> {
        let (_, extension) = path.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "html" | "htm" => Some(Form::Html),
            "json" => Some(Form::Json),
            "txt" => Some(Form::Text),
            _ => None,
        }
    }

    pub fn form(&self) -> Form {
        self.form
    }

    pub fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self.form {
            Form::Text => "text/plain; charset=utf-8",
            Form::Json => "application/json",
            Form::Html => "text/html; charset=utf-8",
        })
    }

    pub fn render(&self, told: Told<'_>) -> Bytes {
        // A page without placeholders is sent as it lies in memory.
        if let [Piece::Text(text)] = self.pieces.as_slice() {
            return text.clone();
        }
        let mut body = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => body.extend_from_slice(text),
                Piece::Placeholder(placeholder) => {
                    let value = placeholder.value(told);
                    body.extend_from_slice(escaped(&value, self.form).as_bytes());
                }
            }
        }
        body.into()
    }
}

impl Placeholder {
    fn value(self, told: Told<'_>) -> String {
        match self {
            Self::Status => told.status.as_str().to_owned(),
            Self::Error => told.error.to_owned(),
            Self::Message => told.message.to_owned(),
            Self::RequestId => told.request_id.to_owned(),
        }
    }
}

/// As the inside of a string of JSON, or of an element or attribute of HTML.
fn escaped(text: &str, form: Form) -> String {
    match form {
        Form::Text => text.to_owned(),
        Form::Json => {
            let quoted = serde_json::Value::from(text).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        }
        Form::Html => {
            let mut escaped = String::with_capacity(text.len());
            for c in text.chars() {
                match c {
                    '&' => escaped.push_str("&amp;"),
                    '<' => escaped.push_str("&lt;"),
                    '>' => escaped.push_str("&gt;"),
                    '"' => escaped.push_str("&quot;"),
                    '\'' => escaped.push_str("&#39;"),
                    _ => escaped.push(c),
                }
            }
            escaped
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_escaped_by_the_form_and_other_braces_are_left_alone() {
        let told = Told {
            status: StatusCode::BAD_GATEWAY,
            error: "connect_refused",
            message: "<the \"upstream's\" & co>\n",
            request_id: "r1",
        };
        let table = [
            (Form::Text, "{message}", told.message),
            (
                Form::Html,
                "a{b:c}<p>{message}",
                "a{b:c}<p>&lt;the &quot;upstream&#39;s&quot; &amp; co&gt;\n",
            ),
            (
                Form::Json,
                "{\"status\":{status},\"m\":\"{message}\"}",
                "{\"status\":502,\"m\":\"<the \\\"upstream's\\\" & co>\\n\"}",
            ),
            (Form::Text, "{{error}} {request_id}", "{connect_refused} r1"),
            (Form::Text, "{status{} {nope} {", "{status{} {nope} {"),
            (Form::Text, "", ""),
        ];
        for (form, text, expected) in table {
            let page = Page::cut(form, &Bytes::from_static(text.as_bytes()));
            assert_eq!(page.render(told), expected.as_bytes(), "{text}");
        }
    }

    #[test]
    fn the_end_of_the_name_tells_the_form() {
        let table = [
            ("pages/502.html", Some(Form::Html)),
            ("502.HTM", Some(Form::Html)),
            ("a.b/x.json", Some(Form::Json)),
            ("down.txt", Some(Form::Text)),
            ("logo.png", None),
            ("html", None),
        ];
        for (path, form) in table {
            assert_eq!(Page::form_of(path), form, "{path}");
        }
    }
}
