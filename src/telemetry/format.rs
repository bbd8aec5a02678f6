//! The two shapes of a log line: one JSON object, or a line for a terminal.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    pub(super) json: bool,
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level();
        if self.json {
            fields.json(writer, *level)
        } else {
            fields.text(writer, *level)
        }
    }
}

/// The fields of an event in the order given, each value as JSON.
#[derive(Debug, Default)]
struct Fields {
    timestamp: Option<String>,
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Fields {
    fn timestamp(&mut self) -> String {
        self.timestamp
            .take()
            .unwrap_or_else(|| Timestamp::now().to_string())
    }

    fn json(mut self, mut writer: Writer<'_>, level: tracing::Level) -> fmt::Result {
        let level = level.as_str().to_ascii_lowercase();
        let timestamp = self.timestamp();
        write!(
            writer,
            r#"{{"timestamp":"{timestamp}","level":"{level}","service":"pointsman""#
        )?;
        write!(writer, r#","message":{}"#, quoted(&self.message))?;
        for (name, value) in &self.others {
            write!(writer, r#","{name}":{value}"#)?;
        }
        writer.write_str("}\n")
    }

    /// The time of day is enough on a terminal.
    fn text(mut self, mut writer: Writer<'_>, level: tracing::Level) -> fmt::Result {
        let timestamp = self.timestamp();
        let time = timestamp.get(11..19).unwrap_or(&timestamp);
        write!(writer, "{time} {level:>5} {}", printable(&self.message))?;
        for (name, value) in &self.others {
            // Quotes only where a value could be taken for several.
            let bare = value.trim_matches('"');
            let plain = !bare.is_empty() && !bare.contains([' ', '=', '"', '\\']);
            let shown = if plain { bare } else { value };
            write!(writer, " {name}={}", printable(shown))?;
        }
        writer.write_char('\n')
    }

    fn push(&mut self, field: &Field, json: String) {
        self.others.push((field.name(), json));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            "timestamp" => self.timestamp = Some(value.to_owned()),
            _ => self.push(field, quoted(value)),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.to_string());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.to_string());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity and no NaN.
        self.push(
            field,
            if value.is_finite() {
                value.to_string()
            } else {
                "null".to_owned()
            },
        );
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A client's escape sequence must not reach the operator's terminal.
fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            let _ = write!(safe, "{}", c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}
