//! Log output as Prometheus' (Go's slog): one line an event on standard error, logfmt or JSON, keys `time`, `level`, `msg`,
//! then the event's own fields.

use std::fmt::{self, Write as _};
use std::io;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Logfmt,
    Json,
}

/// Starts logging at a level of `debug`, `info`, `warn` or `error`. `RUST_LOG`, where set, refines it.
pub fn init(level: &str, format: Format) {
    let level: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
    let filter = EnvFilter::builder()
        .with_default_directive(level.into())
        .from_env_lossy()
        // openraft logs every election of every group; the node itself says what matters of it.
        .add_directive("openraft=error".parse().expect("a fixed directive"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).event_format(Lines { format }).init();
}

/// Writes one event as one line.
struct Lines {
    format: Format,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now: DateTime<Utc> = std::time::SystemTime::now().into();
        let mut fields = Fields::default();
        event.record(&mut fields);
        writer.write_str(&line(self.format, now, *event.metadata().level(), &fields))?;
        writer.write_char('\n')
    }
}

/// An event's message and its other fields in the order they were given.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, Value)>,
}

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        self.rest.push((field.name(), value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.push(field, format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.push(field, value.into());
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.push(field, text.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }
}

fn line(format: Format, now: DateTime<Utc>, level: Level, fields: &Fields) -> String {
    let time = now.to_rfc3339_opts(SecondsFormat::Millis, true);
    let level = level.as_str();
    match format {
        Format::Json => {
            let mut object = Map::new();
            object.insert("time".into(), time.into());
            object.insert("level".into(), level.into());
            object.insert("msg".into(), fields.message.clone().into());
            object.extend(fields.rest.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            Value::Object(object).to_string()
        }
        Format::Logfmt => {
            let mut out = format!("time={time} level={level} msg={}", logfmt(&fields.message));
            for (name, value) in &fields.rest {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let _ = write!(out, " {name}={}", logfmt(&text));
            }
            out
        }
    }
}

/// Quotes a value where a logfmt reader needs it.
fn logfmt(text: &str) -> String {
    let plain =
        !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '=');
    if plain { text.to_owned() } else { pharos_model::labels::quote(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_carry_the_same_keys() {
        let now = DateTime::from_timestamp_millis(1_700_000_000_123).unwrap();
        let fields =
            Fields { message: "Listening on".into(), rest: vec![("address", "0.0.0.0:9090".into()), ("n", 3.into())] };
        assert_eq!(
            line(Format::Logfmt, now, Level::INFO, &fields),
            "time=2023-11-14T22:13:20.123Z level=INFO msg=\"Listening on\" address=0.0.0.0:9090 n=3"
        );
        assert_eq!(
            line(Format::Json, now, Level::INFO, &fields),
            r#"{"time":"2023-11-14T22:13:20.123Z","level":"INFO","msg":"Listening on","address":"0.0.0.0:9090","n":3}"#
        );
    }
}
