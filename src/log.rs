//! Log output as Prometheus': logfmt or JSON on standard error.

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

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
        // openraft logs each election of each group at these levels; the node says what matters of it.
        .add_directive("openraft=error".parse().expect("a fixed directive"));
    let layer = match format {
        Format::Logfmt => tracing_logfmt::builder()
            .with_ansi_color(false)
            .with_target(false)
            .with_span_name(false)
            .with_span_path(false)
            .layer()
            .with_filter(filter)
            .boxed(),
        Format::Json => fmt::layer().json().flatten_event(true).with_target(false).with_writer(std::io::stderr).with_filter(filter).boxed(),
    };
    tracing_subscriber::registry().with(layer).init();
}
