//! The server's command-line flags: one table, from which the parser, the help and `/api/v1/status/flags` are made.
//!
//! Names and defaults are Prometheus' wherever it has the flag. Conventions are kingpin's, which Prometheus uses: `--flag=value` or
//! `--flag value`, booleans as `--flag` and `--no-flag`, repeatable where said.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use pharos_model::duration;

/// How a flag's text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Any text; `&str` names it in the help.
    Text(&'static str),
    Repeated(&'static str),
    Bool,
}

/// What the flag means to this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Used,
    /// Taken so that an existing command line starts, with a warning that it does nothing here.
    Ignored(&'static str),
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
struct Flag {
    name: &'static str,
    alias: Option<&'static str>,
    kind: Kind,
    default: &'static str,
    effect: Effect,
    help: &'static str,
}

const fn text(name: &'static str, value: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag { name, alias: None, kind: Kind::Text(value), default, effect: Effect::Used, help }
}

const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag { name, alias: None, kind: Kind::Bool, default: "false", effect: Effect::Used, help }
}

const fn ignored(name: &'static str, default: &'static str, why: &'static str) -> Flag {
    Flag { name, alias: None, kind: Kind::Text("VALUE"), default, effect: Effect::Ignored(why), help: "" }
}

const fn ignored_switch(name: &'static str, default: &'static str, why: &'static str) -> Flag {
    Flag { name, alias: None, kind: Kind::Bool, default, effect: Effect::Ignored(why), help: "" }
}

const GO_ONLY: &str = "it tunes the Go runtime, and there is none here";
const NO_RULES: &str = "rules are not evaluated yet";
const NO_REMOTE: &str = "remote read and the sending side of remote write are not served yet";
const NO_UI_SETTING: &str = "console templates are not served";
const OWN_STORAGE: &str = "the storage engine has no such setting";

/// Every flag of `pharos server`, in the order of the help.
const FLAGS: &[Flag] = &[
    text("config.file", "FILE", "prometheus.yml", "Prometheus configuration file."),
    Flag {
        kind: Kind::Repeated("HOST:PORT"),
        ..text(
            "web.listen-address",
            "",
            "0.0.0.0:9090",
            "Address to serve the API, the pages and telemetry on. Repeatable.",
        )
    },
    text(
        "web.read-timeout",
        "DURATION",
        "5m",
        "Longest time to read a request, and longest idle time of a connection.",
    ),
    text("web.max-connections", "N", "512", "Most simultaneous connections over all listeners."),
    text(
        "web.external-url",
        "URL",
        "",
        "The URL under which the node is reachable from outside, if it is not its own address.",
    ),
    text("web.route-prefix", "PATH", "", "Prefix of all internal routes. Defaults to the path of --web.external-url."),
    switch("web.enable-lifecycle", "Enable reload and shutdown by HTTP request."),
    switch("web.enable-admin-api", "Enable the API for admin control actions."),
    Flag {
        default: "true",
        ..switch(
            "web.enable-remote-write-receiver",
            "Accept remote write requests. On unless --no-web.enable-remote-write-receiver is given.",
        )
    },
    text("web.page-title", "TITLE", "Pharos", "Document title of the pages."),
    text("web.cors.origin", "REGEX", ".*", "Origins allowed to read answers from a browser, fully anchored."),
    Flag {
        alias: Some("storage.tsdb.path"),
        ..text("storage.path", "DIR", "data/", "Folder for the log, the head and, by default, the data files.")
    },
    text(
        "object-store",
        "URL",
        "",
        "Where data files live: file:///DIR or s3://BUCKET/PREFIX with the usual AWS_* environment. Default: inside --storage.path.",
    ),
    text(
        "storage.tsdb.retention.time",
        "DURATION",
        "",
        "How long to keep samples. Default 15d unless a size is given.",
    ),
    text(
        "storage.tsdb.retention.size",
        "BYTES",
        "",
        "Most bytes of data files to keep; units B, KB, MB, GB, TB, PB, EB, base 1024.",
    ),
    text("storage.seal-interval", "DURATION", "2h", "Width of the time slices that leave the head for data files."),
    text(
        "storage.checkpoint-interval",
        "DURATION",
        "2m",
        "Longest time of samples to replay from the log after a crash.",
    ),
    text("storage.series-limit", "N", "0", "Most active series a tenant may have in one partition; 0 is no limit."),
    text("cluster.partitions", "N", "24", "Partitions of a new cluster. Fixed when the data folder is first used."),
    text("query.lookback-delta", "DURATION", "5m", "How far back an instant selector looks for a sample."),
    text("query.timeout", "DURATION", "2m", "Longest time a query may take before it is aborted."),
    text("query.max-concurrency", "N", "20", "Most queries executed concurrently."),
    text("query.max-samples", "N", "50000000", "Most samples a single query may hold in memory."),
    text("query.max-memory", "BYTES", "1GB", "Most memory one query's operators may hold; units as retention.size."),
    Flag {
        kind: Kind::Repeated("FEATURE,..."),
        ..text(
            "enable-feature",
            "",
            "",
            "Comma separated feature names: promql-experimental-functions, promql-duration-expr, promql-extended-range-selectors, \
             promql-binop-fill-modifiers, promql-delayed-name-removal.",
        )
    },
    text("log.level", "LEVEL", "info", "Only log messages of this severity or above: debug, info, warn, error."),
    text("log.format", "FORMAT", "logfmt", "Output format of log messages: logfmt, json."),
    ignored_switch("auto-gomaxprocs", "true", GO_ONLY),
    ignored_switch("auto-gomemlimit", "true", GO_ONLY),
    ignored("auto-gomemlimit.ratio", "0.9", GO_ONLY),
    ignored("web.config.file", "", "TLS and authentication of the web endpoint are not served yet"),
    ignored("web.max-notifications-subscribers", "16", "live notifications are not served yet"),
    ignored("web.user-assets", "", NO_UI_SETTING),
    ignored("web.console.templates", "consoles", NO_UI_SETTING),
    ignored("web.console.libraries", "console_libraries", NO_UI_SETTING),
    ignored_switch("web.enable-otlp-receiver", "false", "OTLP is not served yet"),
    ignored("scrape.timestamp-tolerance", "2ms", "timestamps are aligned to the interval within 2 ms, always"),
    ignored_switch("scrape.adjust-timestamps", "true", "timestamps are aligned to the interval within 2 ms, always"),
    ignored("config.auto-reload-interval", "30s", "automatic reloads are not served yet"),
    ignored_switch("storage.tsdb.no-lockfile", "false", "the data folder is always locked"),
    ignored_switch("storage.tsdb.allow-overlapping-blocks", "true", OWN_STORAGE),
    ignored_switch("storage.tsdb.wal-compression", "true", OWN_STORAGE),
    ignored("storage.tsdb.wal-compression-type", "snappy", OWN_STORAGE),
    ignored("storage.tsdb.wal-segment-size", "", OWN_STORAGE),
    ignored("storage.tsdb.head-chunks-write-queue-size", "0", OWN_STORAGE),
    ignored("storage.tsdb.min-block-duration", "2h", "use --storage.seal-interval"),
    ignored("storage.tsdb.max-block-duration", "", "data files keep the width of --storage.seal-interval"),
    ignored("storage.remote.flush-deadline", "1m", NO_REMOTE),
    ignored("storage.remote.read-sample-limit", "50000000", NO_REMOTE),
    ignored("storage.remote.read-concurrent-limit", "10", NO_REMOTE),
    ignored("storage.remote.read-max-bytes-in-frame", "1048576", NO_REMOTE),
    ignored("rules.alert.for-outage-tolerance", "1h", NO_RULES),
    ignored("rules.alert.for-grace-period", "10m", NO_RULES),
    ignored("rules.alert.resend-delay", "1m", NO_RULES),
    ignored("rules.max-concurrent-evals", "4", NO_RULES),
    ignored("alertmanager.notification-queue-capacity", "10000", NO_RULES),
    ignored("alertmanager.notification-batch-size", "256", NO_RULES),
    ignored_switch("alertmanager.drain-notification-queue-on-shutdown", "true", NO_RULES),
];

/// Features of [`FLAGS`]' `enable-feature` that this version knows.
pub const FEATURES: &[&str] = &[
    "promql-experimental-functions",
    "promql-duration-expr",
    "promql-extended-range-selectors",
    "promql-binop-fill-modifiers",
    "promql-delayed-name-removal",
];

/// A flag's text that does not read, or reads to something that makes no sense.
#[derive(Clone, Debug, thiserror::Error)]
#[error("--{flag}={value}: {reason}")]
pub struct FlagError {
    flag: &'static str,
    value: String,
    reason: String,
}

/// The flags of one server, read and checked.
#[derive(Clone, Debug)]
pub struct ServerFlags {
    pub config_file: PathBuf,
    pub listen_addresses: Vec<String>,
    pub web_read_timeout: Duration,
    pub web_connections_max: usize,
    pub web_external_url: String,
    pub web_route_prefix: String,
    pub web_lifecycle: bool,
    pub web_admin_api: bool,
    pub web_remote_write: bool,
    pub web_page_title: String,
    pub web_cors_origin: regex::Regex,
    pub storage_path: PathBuf,
    pub object_store: Option<String>,
    pub retention_time: Option<Duration>,
    pub retention_bytes: Option<u64>,
    pub seal_interval: Duration,
    pub checkpoint_interval: Duration,
    pub series_limit: Option<u32>,
    pub partitions: u16,
    pub query_lookback: Duration,
    pub query_timeout: Duration,
    pub query_concurrency_max: usize,
    pub query_samples_max: u64,
    pub query_memory_bytes_max: usize,
    pub features: Vec<String>,
    pub log_level: String,
    pub log_format: crate::log::Format,
    /// Every flag with the text in force, for the API.
    pub texts: BTreeMap<String, String>,
    /// What the user should be told once the log works.
    pub warnings: Vec<String>,
}

/// The `server` command for the parser.
pub fn command() -> Command {
    FLAGS
        .iter()
        .fold(Command::new("server"), |command, flag| command.args(args_of(flag)))
        .about("Run a node: scrape, take remote write, keep, answer queries")
        .after_help(
            "Examples:\n  \
             pharos server --config.file=prometheus.yml --storage.path=./data\n  \
             pharos server --config.file=prometheus.yml --object-store=s3://metrics/prod --web.listen-address=:9090\n  \
             AWS_ENDPOINT_URL=http://localhost:8333 AWS_ALLOW_HTTP=true pharos server --object-store=s3://test",
        )
}

fn args_of(flag: &'static Flag) -> Vec<Arg> {
    let help = match flag.default {
        "" => flag.help.to_owned(),
        default if flag.kind == Kind::Bool => format!("{} Default {default}.", flag.help),
        default => format!("{} Default {default}.", flag.help),
    };
    let hidden = flag.effect != Effect::Used;
    let mut arg = Arg::new(flag.name).long(flag.name).help(help).hide(hidden);
    if let Some(alias) = flag.alias {
        arg = arg.visible_alias(alias);
    }
    match flag.kind {
        Kind::Text(value) => vec![arg.value_name(value).action(ArgAction::Set).allow_hyphen_values(true)],
        Kind::Repeated(value) => vec![arg.value_name(value).action(ArgAction::Append)],
        Kind::Bool => {
            let negated = format!("no-{}", flag.name);
            vec![
                arg.action(ArgAction::SetTrue).overrides_with(negated.clone()),
                Arg::new(negated.clone()).long(negated).action(ArgAction::SetTrue).hide(true).overrides_with(flag.name),
            ]
        }
    }
}

impl ServerFlags {
    /// Reads what the parser matched.
    pub fn from_matches(matches: &ArgMatches) -> Result<Self, FlagError> {
        let texts: BTreeMap<String, String> =
            FLAGS.iter().map(|flag| (flag.name.to_owned(), text_in_force(matches, flag))).collect();
        let warnings = FLAGS.iter().filter_map(|flag| warning(matches, flag)).collect();
        let read = Reader(&texts);
        let features = features_of(&texts["enable-feature"])?;
        let external_url = texts["web.external-url"].clone();
        Ok(Self {
            config_file: PathBuf::from(&texts["config.file"]),
            listen_addresses: texts["web.listen-address"].split(',').map(str::to_owned).collect(),
            web_read_timeout: read.duration("web.read-timeout")?,
            web_connections_max: read.number("web.max-connections", 1)?,
            web_route_prefix: route_prefix(&texts["web.route-prefix"], &external_url)?,
            web_external_url: external_url,
            web_lifecycle: read.bool("web.enable-lifecycle"),
            web_admin_api: read.bool("web.enable-admin-api"),
            web_remote_write: read.bool("web.enable-remote-write-receiver"),
            web_page_title: texts["web.page-title"].clone(),
            web_cors_origin: read.origin("web.cors.origin")?,
            storage_path: PathBuf::from(&texts["storage.path"]),
            object_store: Some(texts["object-store"].clone()).filter(|url| !url.is_empty()),
            retention_time: read.optional("storage.tsdb.retention.time", Reader::duration)?,
            retention_bytes: read.optional("storage.tsdb.retention.size", Reader::bytes)?,
            seal_interval: read.duration("storage.seal-interval")?,
            checkpoint_interval: read.duration("storage.checkpoint-interval")?,
            series_limit: Some(read.number("storage.series-limit", 0)? as u32).filter(|limit| *limit > 0),
            partitions: read.partitions("cluster.partitions")?,
            query_lookback: read.duration("query.lookback-delta")?,
            query_timeout: read.duration("query.timeout")?,
            query_concurrency_max: read.number("query.max-concurrency", 1)?,
            query_samples_max: read.number("query.max-samples", 1)? as u64,
            query_memory_bytes_max: read.bytes("query.max-memory")? as usize,
            features,
            log_level: read.one_of("log.level", &["debug", "info", "warn", "error"])?,
            log_format: match read.one_of("log.format", &["logfmt", "json"])?.as_str() {
                "json" => crate::log::Format::Json,
                _ => crate::log::Format::Logfmt,
            },
            texts,
            warnings,
        })
    }

    pub fn feature(&self, name: &str) -> bool {
        debug_assert!(FEATURES.contains(&name), "unknown feature");
        self.features.iter().any(|feature| feature == name)
    }
}

fn text_in_force(matches: &ArgMatches, flag: &Flag) -> String {
    match flag.kind {
        Kind::Text(_) => matches.get_one::<String>(flag.name).cloned(),
        Kind::Repeated(_) => {
            matches.get_many::<String>(flag.name).map(|all| all.cloned().collect::<Vec<_>>().join(","))
        }
        Kind::Bool if matches.get_flag(flag.name) => Some("true".into()),
        Kind::Bool if matches.get_flag(&format!("no-{}", flag.name)) => Some("false".into()),
        Kind::Bool => None,
    }
    .unwrap_or_else(|| flag.default.to_owned())
}

fn warning(matches: &ArgMatches, flag: &Flag) -> Option<String> {
    let Effect::Ignored(why) = flag.effect else { return None };
    let given = match flag.kind {
        Kind::Bool => matches.get_flag(flag.name) || matches.get_flag(&format!("no-{}", flag.name)),
        Kind::Text(_) | Kind::Repeated(_) => matches.contains_id(flag.name),
    };
    given.then(|| format!("--{} has no effect: {why}", flag.name))
}

fn features_of(text: &str) -> Result<Vec<String>, FlagError> {
    let features: Vec<String> =
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    match features.iter().find(|name| !FEATURES.contains(&name.as_str())) {
        Some(unknown) => Err(FlagError {
            flag: "enable-feature",
            value: unknown.clone(),
            reason: format!("unknown feature; known are {}", FEATURES.join(", ")),
        }),
        None => Ok(features),
    }
}

/// The prefix of all routes: empty, or `/a/b` with one slash in front and none behind.
fn route_prefix(given: &str, external_url: &str) -> Result<String, FlagError> {
    let path = if !given.is_empty() {
        given.to_owned()
    } else if external_url.is_empty() {
        String::new()
    } else {
        let uri: http::Uri = external_url.parse().map_err(|error| FlagError {
            flag: "web.external-url",
            value: external_url.to_owned(),
            reason: format!("not a URL: {error}"),
        })?;
        uri.path().to_owned()
    };
    let trimmed = path.trim_matches('/');
    Ok(if trimmed.is_empty() { String::new() } else { format!("/{trimmed}") })
}

/// Reads typed values out of the texts.
struct Reader<'a>(&'a BTreeMap<String, String>);

impl Reader<'_> {
    fn error(&self, flag: &'static str, reason: impl Into<String>) -> FlagError {
        FlagError { flag, value: self.0[flag].clone(), reason: reason.into() }
    }

    fn bool(&self, flag: &'static str) -> bool {
        self.0[flag] == "true"
    }

    fn duration(&self, flag: &'static str) -> Result<Duration, FlagError> {
        let ms = duration::parse_ms(&self.0[flag]).map_err(|error| self.error(flag, error.to_string()))?;
        match u64::try_from(ms) {
            Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms)),
            _ => Err(self.error(flag, "must be above zero")),
        }
    }

    fn number(&self, flag: &'static str, min: usize) -> Result<usize, FlagError> {
        match self.0[flag].parse::<usize>() {
            Ok(number) if number >= min => Ok(number),
            Ok(_) => Err(self.error(flag, format!("must be at least {min}"))),
            Err(error) => Err(self.error(flag, error.to_string())),
        }
    }

    fn partitions(&self, flag: &'static str) -> Result<u16, FlagError> {
        match self.number(flag, 1)? {
            n if n <= 1024 => Ok(n as u16),
            _ => Err(self.error(flag, "must be at most 1024")),
        }
    }

    fn bytes(&self, flag: &'static str) -> Result<u64, FlagError> {
        parse_bytes(&self.0[flag]).ok_or_else(|| self.error(flag, "not a size such as 512MB or 10GB"))
    }

    fn optional<T>(
        &self,
        flag: &'static str,
        read: impl Fn(&Self, &'static str) -> Result<T, FlagError>,
    ) -> Result<Option<T>, FlagError> {
        if self.0[flag].is_empty() { Ok(None) } else { read(self, flag).map(Some) }
    }

    fn one_of(&self, flag: &'static str, choices: &[&str]) -> Result<String, FlagError> {
        let value = &self.0[flag];
        if choices.contains(&value.as_str()) {
            Ok(value.clone())
        } else {
            Err(self.error(flag, format!("must be one of {}", choices.join(", "))))
        }
    }

    fn origin(&self, flag: &'static str) -> Result<regex::Regex, FlagError> {
        regex::Regex::new(&format!("^(?:{})$", self.0[flag])).map_err(|error| self.error(flag, error.to_string()))
    }
}

/// A size with an optional unit, base 1024: `B`, `KB`, `MB`, `GB`, `TB`, `PB`, `EB`, with or without `i`.
fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let power = match unit.to_ascii_uppercase().replace('I', "").as_str() {
        "" | "B" => 0,
        "K" | "KB" => 1,
        "M" | "MB" => 2,
        "G" | "GB" => 3,
        "T" | "TB" => 4,
        "P" | "PB" => 5,
        "E" | "EB" => 6,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1u64.checked_shl(10 * power)?)
}

/// Resolves `:9090` and `host:port` to what can be bound.
pub fn listen_addr(text: &str) -> std::io::Result<SocketAddr> {
    use std::net::ToSocketAddrs;
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    full.to_socket_addrs()?
        .next()
        .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::AddrNotAvailable, format!("no address for {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<ServerFlags, String> {
        let matches =
            command().try_get_matches_from([&["server"], args].concat()).map_err(|error| error.kind().to_string())?;
        ServerFlags::from_matches(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_prometheus() {
        let flags = parse(&[]).unwrap();
        assert_eq!(flags.texts["query.timeout"], "2m");
        assert_eq!(flags.listen_addresses, ["0.0.0.0:9090"]);
        assert_eq!(flags.query_samples_max, 50_000_000);
        assert!(!flags.web_lifecycle && flags.web_remote_write);
        assert!(flags.warnings.is_empty());
    }

    #[test]
    fn kingpin_habits_work() {
        let flags = parse(&[
            "--storage.tsdb.path=/tmp/x",
            "--no-web.enable-remote-write-receiver",
            "--web.enable-lifecycle",
            "--web.listen-address=:1",
            "--web.listen-address",
            "[::1]:2",
        ])
        .unwrap();
        assert_eq!(flags.storage_path, PathBuf::from("/tmp/x"));
        assert!(flags.web_lifecycle && !flags.web_remote_write);
        assert_eq!(flags.listen_addresses, [":1", "[::1]:2"]);
    }

    #[test]
    fn go_only_flags_warn_and_unknown_ones_fail() {
        let flags = parse(&["--auto-gomemlimit.ratio=0.8", "--no-auto-gomaxprocs"]).unwrap();
        assert_eq!(flags.warnings.len(), 2, "{:?}", flags.warnings);
        assert!(parse(&["--no-such-flag"]).is_err());
    }

    #[test]
    fn a_bad_value_names_its_flag_and_reason() {
        for (arg, error) in [
            ("--query.timeout=1", "--query.timeout=1: not a valid duration string: \"1\""),
            ("--log.level=loud", "--log.level=loud: must be one of debug, info, warn, error"),
            ("--query.max-memory=1X", "--query.max-memory=1X: not a size such as 512MB or 10GB"),
            ("--cluster.partitions=0", "--cluster.partitions=0: must be at least 1"),
        ] {
            assert_eq!(parse(&[arg]).unwrap_err(), error);
        }
        assert!(parse(&["--enable-feature=nope"]).unwrap_err().contains("unknown feature"));
    }

    #[test]
    fn the_route_prefix_comes_from_the_external_url() {
        assert_eq!(parse(&["--web.external-url=http://x/prom/"]).unwrap().web_route_prefix, "/prom");
        assert_eq!(parse(&["--web.external-url=http://x/prom/", "--web.route-prefix=/"]).unwrap().web_route_prefix, "");
    }
}
