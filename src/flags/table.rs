//! The table of flags: names, kinds, defaults, help, and what each means to this version.

/// How a flag's text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any text; `&str` names it in the help.
    Text(&'static str),
    Repeated(&'static str),
    Bool,
}

/// What the flag means to this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Used,
    /// Taken so that an existing command line starts, with a warning that it does nothing here.
    Ignored(&'static str),
    /// The old name of another flag: counts where that one is not given.
    OldNameOf(&'static str),
    /// Belongs to Prometheus' agent, which this is not.
    Agent,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) alias: Option<&'static str>,
    pub(super) kind: Kind,
    pub(super) default: &'static str,
    pub(super) effect: Effect,
    pub(super) help: &'static str,
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

const fn old_name(name: &'static str, new: &'static str) -> Flag {
    Flag { name, alias: None, kind: Kind::Text("VALUE"), default: "", effect: Effect::OldNameOf(new), help: "" }
}

const fn agent(name: &'static str) -> Flag {
    Flag { name, alias: None, kind: Kind::Text("VALUE"), default: "", effect: Effect::Agent, help: "" }
}

const fn agent_switch(name: &'static str) -> Flag {
    Flag { name, alias: None, kind: Kind::Bool, default: "false", effect: Effect::Agent, help: "" }
}

const fn ignored_switch(name: &'static str, default: &'static str, why: &'static str) -> Flag {
    Flag { name, alias: None, kind: Kind::Bool, default, effect: Effect::Ignored(why), help: "" }
}

pub(super) const RETENTION_TIME: &str = "storage.tsdb.retention.time";
/// Turns Prometheus into an agent.
pub(super) const AGENT: &str = "agent";
const GO_ONLY: &str = "it tunes the Go runtime, and there is none here";
const NO_RULES: &str = "rules are not evaluated yet";
const NO_REMOTE: &str = "remote read and the sending side of remote write are not served yet";
const NO_UI_SETTING: &str = "console templates are not served";
const OWN_STORAGE: &str = "the storage engine has no such setting";

/// Every flag of `pharos server`, in the order of the help.
pub(super) const FLAGS: &[Flag] = &[
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
        "web.shutdown-delay",
        "DURATION",
        "0s",
        "How long a node that is told to end still answers, while /-/ready says that it is not ready: the time that load balancers need to notice. A second signal ends it at once.",
    ),
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
        RETENTION_TIME,
        "DURATION",
        "",
        "How long to keep samples. Default 15d unless a size is given; 0 is not given. The configuration file wins.",
    ),
    text(
        "storage.tsdb.retention.size",
        "BYTES",
        "",
        "Most bytes of data files to keep; units B, KB, MB, GB, TB, PB, EB, base 1024; 0 is no limit. The configuration file wins.",
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
    text("cluster.name", "NAME", "", "Name of the cluster, the same on all of its nodes."),
    text(
        "cluster.listen-address",
        "HOST:PORT",
        "",
        "Address to listen on for other nodes. Without it the node is a cluster of one.",
    ),
    text(
        "cluster.advertise-address",
        "HOST:PORT",
        "",
        "Address at which other nodes reach this one. Default: --cluster.listen-address, if that names a host.",
    ),
    Flag {
        kind: Kind::Repeated("HOST:PORT,..."),
        ..text(
            "cluster.initial-nodes",
            "",
            "",
            "Advertised addresses of the nodes that begin a cluster together: the same list, in the same order, on each of them.",
        )
    },
    Flag {
        kind: Kind::Repeated("HOST:PORT,..."),
        ..text("cluster.join", "", "", "Advertised addresses of nodes of a running cluster that this one is to join.")
    },
    text("cluster.zone", "ZONE", "", "Zone of the node; replicas of a partition are kept in different zones."),
    text(
        "cluster.tls-cert-file",
        "FILE",
        "",
        "Certificate (PEM) for connections between nodes; names the advertised host.",
    ),
    text("cluster.tls-key-file", "FILE", "", "Key (PEM) of the certificate."),
    text("cluster.tls-ca-file", "FILE", "", "Authorities (PEM) that sign the certificates of the cluster's nodes."),
    text(
        "cluster.gossip-secret-file",
        "FILE",
        "",
        "Secrets that seal gossip between nodes, one a line of 32 characters or more; the first one seals, all of them open. The same \
         on all nodes, needed with TLS; read again with the configuration.",
    ),
    text(
        "cluster.snapshot-rate",
        "BYTES",
        "100MB",
        "Most bytes a second of all snapshots that the node sends to others; units as retention.size; 0 is no limit.",
    ),
    switch(
        "cluster.allow-plaintext",
        "Talk to nodes on other machines without TLS: whoever reaches the port can read and write everything.",
    ),
    text("query.lookback-delta", "DURATION", "5m", "How far back an instant selector looks for a sample."),
    text("query.timeout", "DURATION", "2m", "Longest time a query may take before it is aborted."),
    text("query.max-concurrency", "N", "20", "Most queries executed concurrently."),
    text("query.max-samples", "N", "50000000", "Most samples a single query may hold in memory."),
    text(
        "query.results-cache.bytes",
        "BYTES",
        "32MB",
        "Memory for results of range queries that are kept, so that a refreshed dashboard computes its newest steps alone; 0 keeps none.",
    ),
    text("query.max-memory", "BYTES", "1GB", "Most memory one query's operators may hold; units as retention.size."),
    Flag {
        kind: Kind::Repeated("FEATURE,..."),
        ..text(
            "enable-feature",
            "",
            "",
            "Comma separated feature names: promql-experimental-functions, promql-duration-expr, promql-extended-range-selectors, \
             promql-binop-fill-modifiers, promql-delayed-name-removal, type-and-unit-labels, use-start-timestamps, st-storage, \
             created-timestamp-zero-ingestion, extra-scrape-metrics.",
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
    ignored("scrape.discovery-reload-interval", "5s", "discovery is followed at once, bounded by a fixed pause"),
    ignored("scrape.name-escaping-scheme", "", "use metric_name_escaping_scheme in the configuration file"),
    Flag {
        kind: Kind::Repeated("MESSAGE"),
        ..ignored(
            "web.remote-write-receiver.accepted-protobuf-messages",
            "prometheus.WriteRequest, io.prometheus.write.v2.Request",
            "both messages are accepted, always",
        )
    },
    ignored("config.auto-reload-interval", "30s", "automatic reloads are not served yet"),
    ignored_switch("storage.tsdb.no-lockfile", "false", "the data folder is always locked"),
    ignored_switch("storage.tsdb.allow-overlapping-blocks", "true", OWN_STORAGE),
    ignored_switch("storage.tsdb.wal-compression", "true", OWN_STORAGE),
    ignored("storage.tsdb.wal-compression-type", "snappy", OWN_STORAGE),
    ignored("storage.tsdb.wal-segment-size", "", OWN_STORAGE),
    ignored("storage.tsdb.head-chunks-write-queue-size", "0", OWN_STORAGE),
    ignored("storage.tsdb.min-block-duration", "2h", "use --storage.seal-interval"),
    ignored("storage.tsdb.max-block-duration", "", "data files keep the width of --storage.seal-interval"),
    ignored("storage.tsdb.samples-per-chunk", "120", OWN_STORAGE),
    ignored("storage.tsdb.max-block-chunk-segment-size", "0B", OWN_STORAGE),
    ignored("storage.tsdb.block-reload-interval", "1m", OWN_STORAGE),
    ignored("storage.tsdb.delay-compact-file.path", "", OWN_STORAGE),
    old_name("storage.tsdb.retention", RETENTION_TIME),
    ignored("storage.remote.flush-deadline", "1m", NO_REMOTE),
    ignored("storage.remote.read-sample-limit", "50000000", NO_REMOTE),
    ignored("storage.remote.read-concurrent-limit", "10", NO_REMOTE),
    ignored("storage.remote.read-max-bytes-in-frame", "1048576", NO_REMOTE),
    ignored("rules.alert.for-outage-tolerance", "1h", NO_RULES),
    ignored("rules.alert.for-grace-period", "10m", NO_RULES),
    ignored("rules.alert.resend-delay", "1m", NO_RULES),
    ignored("rules.max-concurrent-evals", "4", NO_RULES),
    ignored("alertmanager.timeout", "10s", NO_RULES),
    ignored("alertmanager.notification-queue-capacity", "10000", NO_RULES),
    ignored("alertmanager.notification-batch-size", "256", NO_RULES),
    ignored_switch("alertmanager.drain-notification-queue-on-shutdown", "true", NO_RULES),
    agent_switch(AGENT),
    agent("storage.agent.path"),
    agent("storage.agent.wal-segment-size"),
    agent_switch("storage.agent.wal-compression"),
    agent("storage.agent.wal-compression-type"),
    agent("storage.agent.wal-truncate-frequency"),
    agent("storage.agent.retention.min-time"),
    agent("storage.agent.retention.max-time"),
    agent_switch("storage.agent.no-lockfile"),
];
