//! Log output as Prometheus' (Go's slog): one line an event on standard error, logfmt or JSON, keys `time`, `level`, `msg`,
//! then the event's own fields, then those of the spans around it. Spans are made at level `debug` only.

use std::fmt::{self, Write as _};
use std::io;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry, Scope};
use tracing_subscriber::util::SubscriberInitExt;

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
        // openraft logs every election of every group, and each node that does not answer; the node itself says what matters of it.
        .add_directive("openraft=off".parse().expect("a fixed directive"))
        // So with chitchat, about every delta that comes late.
        .add_directive("chitchat=off".parse().expect("a fixed directive"));
    subscriber(filter, format, io::stderr).init();
}

fn subscriber<W>(filter: impl Layer<Registry> + Send + Sync, format: Format, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).event_format(Lines { format });
    tracing_subscriber::registry().with(filter).with(SpanFields).with(lines)
}

/// Keeps the fields of a span with it, for the lines of events within.
struct SpanFields;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanFields {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }
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
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now: DateTime<Utc> = std::time::SystemTime::now().into();
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.add(of_span);
            }
        }
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

    /// Adds what says something new; of two fields of one name the first stays.
    fn add(&mut self, others: &Self) {
        for (name, value) in &others.rest {
            if !self.rest.iter().any(|(known, _)| known == name) {
                self.rest.push((*name, value.clone()));
            }
        }
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

    /// Takes what is written.
    #[derive(Clone, Default)]
    struct Captured(std::sync::Arc<parking_lot::Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_carry_the_fields_of_the_spans_around_them() {
        let written = |level: LevelFilter| {
            let captured = Captured::default();
            let writer = captured.clone();
            tracing::subscriber::with_default(subscriber(level, Format::Logfmt, move || writer.clone()), || {
                let _outer = tracing::debug_span!("outer", tenant = "a", n = 1).entered();
                let _inner = tracing::debug_span!("inner", panel = 2).entered();
                tracing::info!(n = 3, "done");
            });
            String::from_utf8(captured.0.lock().clone()).unwrap()
        };
        assert!(written(LevelFilter::DEBUG).ends_with("msg=done n=3 tenant=a panel=2\n"));
        assert!(written(LevelFilter::INFO).ends_with("msg=done n=3\n"));
    }
}
