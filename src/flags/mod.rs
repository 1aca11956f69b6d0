//! The server's command-line flags: one table, from which the parser, the help and `/api/v1/status/flags` are made.
//!
//! Names and defaults are Prometheus' wherever it has the flag. Conventions are kingpin's, which Prometheus uses: `--flag=value` or
//! `--flag value`, booleans as `--flag` and `--no-flag`, repeatable where said.

mod cluster;
mod table;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use pharos_model::{byte_size, duration};
use pharos_storage::record::StartRule;

pub use cluster::{ClusterFlags, TlsFiles};
use table::{AGENT, Effect, FLAGS, Flag, Kind, RETENTION_TIME};

/// Features of [`FLAGS`]' `enable-feature` that this version knows.
pub const FEATURES: &[&str] = &[
    "promql-experimental-functions",
    "promql-duration-expr",
    "promql-extended-range-selectors",
    "promql-binop-fill-modifiers",
    "promql-delayed-name-removal",
    "type-and-unit-labels",
    "use-start-timestamps",
    "st-storage",
    "created-timestamp-zero-ingestion",
    "extra-scrape-metrics",
];
/// Features of older releases that cannot be switched off any more.
const FEATURES_ALWAYS_ON: &[&str] =
    &["promql-at-modifier", "promql-negative-offset", "promql-per-step-stats", "exemplar-storage", "native-histograms"];

/// Why a command line does not start a server.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FlagError {
    /// A text that does not read, or reads to something that makes no sense.
    #[error("--{flag}={value}: {reason}")]
    Value { flag: &'static str, value: String, reason: String },
    #[error("--agent: there is no agent mode here; a node keeps what it scrapes")]
    Agent,
    #[error("The following flag(s) can only be used in agent mode: {0:?}")]
    AgentOnly(Vec<String>),
}

/// The flags of one server, read and checked.
#[derive(Clone, Debug)]
pub struct ServerFlags {
    pub config_file: PathBuf,
    pub listen_addresses: Vec<String>,
    pub web_read_timeout: Duration,
    pub web_connections_max: u32,
    /// How long a node that ends still answers.
    pub web_shutdown_delay: Option<Duration>,
    pub web_external_url: String,
    /// Before every path of the pages as users see them; a proxy in front may take it away.
    pub web_external_prefix: String,
    /// Before every path as requests have it.
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
    /// How the node takes part in a cluster of several; missing for one that stays alone.
    pub cluster: Option<ClusterFlags>,
    pub query_lookback: Duration,
    pub query_timeout: Duration,
    pub query_concurrency_max: usize,
    pub query_samples_max: u64,
    pub query_memory_bytes_max: usize,
    pub query_results_cache_bytes: usize,
    pub features: Vec<String>,
    pub log_level: String,
    pub log_format: crate::log::Format,
    /// Every flag with the text in force, for the API.
    pub texts: BTreeMap<String, String>,
    /// What the user should be told once the log works.
    pub warnings: Vec<String>,
    pub unknown_features: Vec<String>,
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
             AWS_ENDPOINT_URL=http://localhost:8333 AWS_ALLOW_HTTP=true pharos server --object-store=s3://test\n  \
             pharos server --object-store=s3://metrics/prod --cluster.name=prod --cluster.listen-address=a:9095 \
             --cluster.initial-nodes=a:9095,b:9095,c:9095",
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
        refuse_agent(matches)?;
        let mut texts: BTreeMap<String, String> = FLAGS
            .iter()
            .filter(|flag| flag.effect != Effect::Agent)
            .map(|flag| (flag.name.to_owned(), text_in_force(matches, flag)))
            .collect();
        take_old_names(&mut texts);
        let warnings = FLAGS.iter().filter_map(|flag| warning(matches, flag)).collect();
        let read = Reader(&texts);
        let (features, unknown_features) = features_of(&texts["enable-feature"]);
        let external_url = texts["web.external-url"].clone();
        let external_prefix = external_prefix(&external_url)?;
        Ok(Self {
            config_file: PathBuf::from(&texts["config.file"]),
            listen_addresses: texts["web.listen-address"].split(',').map(str::to_owned).collect(),
            web_read_timeout: read.duration("web.read-timeout")?,
            web_connections_max: u32::try_from(read.number("web.max-connections", 1)?).unwrap_or(u32::MAX),
            web_shutdown_delay: read.duration_unless_zero("web.shutdown-delay")?,
            web_route_prefix: match texts["web.route-prefix"].as_str() {
                "" => external_prefix.clone(),
                given => prefix(given),
            },
            web_external_prefix: external_prefix,
            web_external_url: external_url,
            web_lifecycle: read.bool("web.enable-lifecycle"),
            web_admin_api: read.bool("web.enable-admin-api"),
            web_remote_write: read.bool("web.enable-remote-write-receiver"),
            web_page_title: texts["web.page-title"].clone(),
            web_cors_origin: read.origin("web.cors.origin")?,
            storage_path: PathBuf::from(&texts["storage.path"]),
            object_store: Some(texts["object-store"].clone()).filter(|url| !url.is_empty()),
            retention_time: read.duration_unless_zero(RETENTION_TIME)?,
            retention_bytes: read.bytes_unless_zero("storage.tsdb.retention.size")?,
            seal_interval: read.duration("storage.seal-interval")?,
            checkpoint_interval: read.duration("storage.checkpoint-interval")?,
            series_limit: Some(read.number("storage.series-limit", 0)? as u32).filter(|limit| *limit > 0),
            partitions: read.partitions("cluster.partitions")?,
            cluster: ClusterFlags::read(&texts)?,
            query_lookback: read.duration("query.lookback-delta")?,
            query_timeout: read.duration("query.timeout")?,
            query_concurrency_max: read.number("query.max-concurrency", 1)?,
            query_samples_max: read.number("query.max-samples", 1)? as u64,
            query_memory_bytes_max: read.memory("query.max-memory")?,
            query_results_cache_bytes: usize::try_from(read.bytes("query.results-cache.bytes")?).unwrap_or(usize::MAX),
            features,
            log_level: read.one_of("log.level", &["debug", "info", "warn", "error"])?,
            log_format: match read.one_of("log.format", &["logfmt", "json"])?.as_str() {
                "json" => crate::log::Format::Json,
                _ => crate::log::Format::Logfmt,
            },
            texts,
            warnings,
            unknown_features,
        })
    }

    pub fn feature(&self, name: &str) -> bool {
        debug_assert!(FEATURES.contains(&name), "unknown feature");
        self.features.iter().any(|feature| feature == name)
    }

    /// What becomes of start timestamps.
    pub fn starts(&self) -> StartRule {
        let (stored, zero_samples) = (self.feature("st-storage"), self.feature("created-timestamp-zero-ingestion"));
        StartRule { stored, zero_samples }
    }

    /// Whether start timestamps are read at all.
    pub fn reads_starts(&self) -> bool {
        self.starts() != StartRule::default()
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

fn is_given(matches: &ArgMatches, flag: &Flag) -> bool {
    match flag.kind {
        Kind::Bool => matches.get_flag(flag.name) || matches.get_flag(&format!("no-{}", flag.name)),
        Kind::Text(_) | Kind::Repeated(_) => matches.contains_id(flag.name),
    }
}

fn warning(matches: &ArgMatches, flag: &Flag) -> Option<String> {
    let text = match flag.effect {
        Effect::Used | Effect::Agent => return None,
        Effect::Ignored(why) => format!("--{} has no effect: {why}", flag.name),
        Effect::OldNameOf(new) => format!("--{} is deprecated, use --{new}", flag.name),
    };
    is_given(matches, flag).then_some(text)
}

/// An old name counts where the new one is not given.
fn take_old_names(texts: &mut BTreeMap<String, String>) {
    for flag in FLAGS {
        let Effect::OldNameOf(new) = flag.effect else { continue };
        if texts[new].is_empty() {
            texts.insert(new.to_owned(), texts[flag.name].clone());
        }
    }
}

fn refuse_agent(matches: &ArgMatches) -> Result<(), FlagError> {
    if matches.get_flag(AGENT) {
        return Err(FlagError::Agent);
    }
    let given = FLAGS.iter().filter(|flag| flag.effect == Effect::Agent && is_given(matches, flag));
    let given: Vec<String> = given.map(|flag| format!("--{}", flag.name)).collect();
    if given.is_empty() { Ok(()) } else { Err(FlagError::AgentOnly(given)) }
}

/// The features of the text that are known, and those that nobody knows.
fn features_of(text: &str) -> (Vec<String>, Vec<String>) {
    text.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && !FEATURES_ALWAYS_ON.contains(name))
        .map(str::to_owned)
        .partition(|name| FEATURES.contains(&name.as_str()))
}

/// The path of the external URL as a prefix.
fn external_prefix(external_url: &str) -> Result<String, FlagError> {
    if external_url.is_empty() {
        return Ok(String::new());
    }
    let uri: http::Uri = external_url.parse().map_err(|error| FlagError::Value {
        flag: "web.external-url",
        value: external_url.to_owned(),
        reason: format!("not a URL: {error}"),
    })?;
    Ok(prefix(uri.path()))
}

/// A path as a prefix of others: empty, or `/a/b` with one slash in front and none behind.
fn prefix(path: &str) -> String {
    match path.trim_matches('/') {
        "" => String::new(),
        trimmed => format!("/{trimmed}"),
    }
}

/// Reads typed values out of the texts.
struct Reader<'a>(&'a BTreeMap<String, String>);

impl Reader<'_> {
    fn error(&self, flag: &'static str, reason: impl Into<String>) -> FlagError {
        FlagError::Value { flag, value: self.0[flag].clone(), reason: reason.into() }
    }

    fn bool(&self, flag: &'static str) -> bool {
        self.0[flag] == "true"
    }

    fn duration(&self, flag: &'static str) -> Result<Duration, FlagError> {
        match self.milliseconds(flag)? {
            0 => Err(self.error(flag, "must be above zero")),
            ms => Ok(Duration::from_millis(ms)),
        }
    }

    /// `None` for the empty text and for zero, which both mean "not set".
    fn duration_unless_zero(&self, flag: &'static str) -> Result<Option<Duration>, FlagError> {
        if self.0[flag].is_empty() {
            return Ok(None);
        }
        let ms = self.milliseconds(flag)?;
        Ok(Some(Duration::from_millis(ms)).filter(|duration| !duration.is_zero()))
    }

    fn milliseconds(&self, flag: &'static str) -> Result<u64, FlagError> {
        let ms = duration::parse_ms(&self.0[flag]).map_err(|error| self.error(flag, error.to_string()))?;
        u64::try_from(ms).map_err(|_| self.error(flag, "must not be negative"))
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
        let bytes = byte_size::parse(&self.0[flag]).map_err(|error| self.error(flag, error.to_string()))?;
        u64::try_from(bytes).map_err(|_| self.error(flag, "must not be negative"))
    }

    /// `None` for the empty text and for zero, which both mean "no limit".
    fn bytes_unless_zero(&self, flag: &'static str) -> Result<Option<u64>, FlagError> {
        if self.0[flag].is_empty() { Ok(None) } else { Ok(Some(self.bytes(flag)?).filter(|bytes| *bytes > 0)) }
    }

    fn memory(&self, flag: &'static str) -> Result<usize, FlagError> {
        match self.bytes(flag)? {
            0 => Err(self.error(flag, "must be above zero")),
            bytes => Ok(usize::try_from(bytes).unwrap_or(usize::MAX)),
        }
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
        assert_eq!(flags.query_results_cache_bytes, 32 << 20);
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
            ("--query.max-memory=1X", "--query.max-memory=1X: units: unknown unit X in 1X"),
            ("--query.max-memory=0", "--query.max-memory=0: must be above zero"),
            ("--cluster.partitions=0", "--cluster.partitions=0: must be at least 1"),
        ] {
            assert_eq!(parse(&[arg]).unwrap_err(), error);
        }
    }

    #[test]
    fn unknown_features_are_told_and_the_others_hold() {
        let flags =
            parse(&["--enable-feature=nope,type-and-unit-labels", "--enable-feature=promql-at-modifier"]).unwrap();
        assert_eq!(flags.unknown_features, ["nope"]);
        assert!(flags.feature("type-and-unit-labels") && !flags.feature("extra-scrape-metrics"));
    }

    #[test]
    fn a_retention_of_zero_is_not_set() {
        let retention = |args: &[&str]| parse(args).map(|flags| (flags.retention_time, flags.retention_bytes)).unwrap();
        assert_eq!(retention(&["--storage.tsdb.retention.time=0s", "--storage.tsdb.retention.size=0"]), (None, None));
        assert_eq!(retention(&["--storage.tsdb.retention.size=1.5GB"]), (None, Some(1536 << 20)));
        assert!(parse(&["--storage.tsdb.retention.size=-1GB"]).unwrap_err().ends_with("must not be negative"));
    }

    #[test]
    fn the_old_name_of_retention_counts_unless_the_new_one_is_given() {
        let day = Duration::from_secs(24 * 3600);
        let old = parse(&["--storage.tsdb.retention=3d"]).unwrap();
        assert_eq!((old.retention_time, old.warnings.len()), (Some(3 * day), 1));
        let both = parse(&["--storage.tsdb.retention=3d", "--storage.tsdb.retention.time=5d"]).unwrap();
        assert_eq!(both.retention_time, Some(5 * day));
    }

    #[test]
    fn flags_of_the_agent_are_named() {
        assert_eq!(
            parse(&["--storage.agent.path=x", "--storage.agent.no-lockfile"]).unwrap_err(),
            "The following flag(s) can only be used in agent mode: [\"--storage.agent.path\", \"--storage.agent.no-lockfile\"]"
        );
        assert!(parse(&["--agent"]).unwrap_err().starts_with("--agent: "));
    }

    #[test]
    fn a_repeated_flag_that_does_nothing_is_taken() {
        let accepted = "--web.remote-write-receiver.accepted-protobuf-messages";
        let flags = parse(&[accepted, "prometheus.WriteRequest", accepted, "io.prometheus.write.v2.Request"]).unwrap();
        assert_eq!(flags.warnings.len(), 1, "{:?}", flags.warnings);
    }

    #[test]
    fn the_route_prefix_comes_from_the_external_url() {
        let prefixes = |args: &[&str]| {
            let flags = parse(args).unwrap();
            (flags.web_route_prefix, flags.web_external_prefix)
        };
        let both = |route: &str, external: &str| (route.to_owned(), external.to_owned());
        assert_eq!(prefixes(&[]), both("", ""));
        assert_eq!(prefixes(&["--web.external-url=http://x/prom/"]), both("/prom", "/prom"));
        assert_eq!(prefixes(&["--web.external-url=http://x/prom/", "--web.route-prefix=/"]), both("", "/prom"));
        assert_eq!(prefixes(&["--web.route-prefix=a/b/"]), both("/a/b", ""));
    }
}
