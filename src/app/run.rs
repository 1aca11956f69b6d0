//! From flags to a serving node, and to its end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use pharos_cluster::member::Phase;
use pharos_ingest::config::{ConfigError, Loaded};
use pharos_ingest::remote_write::{self, MetadataStore, Receiver, ReceiverConfig};
use pharos_ingest::scrape::ScrapeFeatures;
use pharos_model::{Clock, TenantId, clock::SystemClock};
use pharos_promql::ParserOptions;
use pharos_query::{Engine, EngineOptions, QueryError};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::config;
use super::query_threads::QueryThreads;
use super::scraping::{Conditions, Scraping};
use super::signals::{Request, Signals};
use super::{App, limits, metrics};
use crate::flags::ServerFlags;
use crate::http::api::targets::external_address;
use crate::http::body::BodyReader;
use crate::http::metrics::HttpMetrics;
use crate::http::{self, server, startup::Gate};
use crate::node::{self, Node, Retention, Scrapes, Surroundings};

/// Metrics of which one tenant's senders may leave type and help.
const METADATA_METRICS_MAX: usize = 20_000;

/// Why a node did not start, or ended early.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("Error loading config (--config.file={}): {source}", path.display())]
    Config { path: PathBuf, source: ConfigError },
    #[error(transparent)]
    Listen(io::Error),
    #[error(transparent)]
    Node(#[from] node::OpenError),
    #[error("query engine: {0}")]
    Engine(QueryError),
    #[error("threads of queries")]
    Threads(#[source] io::Error),
    #[error("metrics")]
    Metrics(#[from] prometheus::Error),
    #[error("scraping: {0}")]
    Scrape(String),
    #[error("signals")]
    Signals(#[source] io::Error),
    #[error(
        "the cluster has removed this node for ever: to come back, it needs an empty storage path; this one can be deleted"
    )]
    Removed,
    #[error("the log can no longer be written; the node ends rather than promise what it cannot keep: {0}")]
    Log(String),
}

/// Runs a node until it is told to end.
pub async fn run(flags: ServerFlags) -> Result<(), StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let started_ms = clock.now_ms();
    info!(version = crate::build_info::VERSION, revision = crate::build_info::REVISION, "Starting Pharos Server");
    let loaded =
        config::read_file(&flags).map_err(|source| StartError::Config { path: flags.config_file.clone(), source })?;
    let mut signals = Signals::install().map_err(StartError::Signals)?;
    let (stop, stop_serving) = (CancellationToken::new(), CancellationToken::new());
    let phase = watch::Sender::default();
    let gate = Gate::new(phase.subscribe());
    let listeners = server::bind(&flags.listen_addresses).await.map_err(StartError::Listen)?;
    let web = listeners[0].local_addr().map_err(StartError::Listen)?;
    let limits = server::Limits { connections_max: flags.web_connections_max, read_timeout: flags.web_read_timeout };
    let serving = tokio::spawn(server::serve(listeners, gate.clone(), limits, stop_serving.clone()));

    let mut node = None;
    let outcome = async {
        let app = tokio::select! {
            // Boxed: large, and gone once the node is open.
            opened = Box::pin(open(flags, clock, loaded, Begun { started_ms, web, phase, stop: stop.clone() })) => opened?,
            // What was half open is left as a crash leaves it: the next start goes on from there.
            () = signals.end() => return Ok(()),
        };
        gate.open(http::router(app.clone()));
        info!("Server is ready to receive web requests.");
        node = Some(app.node.clone());
        let ended = until_stopped(&app, &mut signals).await;
        let told = Instant::now();
        leave(&app).await;
        // A node that was told to end is waited for; one that has to end is not.
        if let (Ok(()), Some(delay)) = (&ended, app.flags.web_shutdown_delay) {
            stay(told + delay, &mut signals).await;
        }
        ended
    }
    .await;
    // What is under way is answered before the node closes.
    stop_serving.cancel();
    if let Err(error) = serving.await {
        warn!(%error, "the HTTP server ended with");
    }
    if let Some(node) = node {
        node.close().await;
    }
    info!("See you next time!");
    outcome
}

/// What there is of a process before its node is open.
struct Begun {
    started_ms: i64,
    web: SocketAddr,
    phase: watch::Sender<Phase>,
    stop: CancellationToken,
}

async fn open(flags: ServerFlags, clock: Arc<dyn Clock>, loaded: Loaded, begun: Begun) -> Result<Arc<App>, StartError> {
    let registry = Registry::new();
    metrics::register(&registry)?;
    let config_metrics = config::Metrics::register(&registry)?;
    let http_metrics = HttpMetrics::register(&registry)?;
    let bodies = BodyReader::new(flags.web_read_timeout, &registry)?;
    let retention = Retention::new(&flags, &loaded.config);
    let query_threads = QueryThreads::start().map_err(StartError::Threads)?;
    let surroundings = Surroundings {
        clock: clock.clone(),
        registry: registry.clone(),
        query_threads: query_threads.runtime().clone(),
        phase: begun.phase,
        web: begun.web,
    };
    let node = Node::open(&flags, retention, surroundings).await?;
    let config = config::first(&flags, loaded, &node, &clock);
    let loaded = &config.loaded;
    node.router().set_out_of_order_window(config::out_of_order_window(loaded));
    let limits = limits::Seen::default();
    let documents = node.meta().documents().borrow().clone();
    limits.follow(&documents, &node, flags.series_limit);

    let parser_options = parser_options(&flags);
    let engine = engine(&flags, loaded, parser_options, &node, &clock)?.on_threads(query_threads.runtime().clone());
    registry.register(Box::new(engine.metrics().clone()))?;
    let metadata_labels = flags.feature("type-and-unit-labels");
    let receiver = Receiver::new(
        ReceiverConfig { metadata_labels, ..ReceiverConfig::new(u128::from_le_bytes(node::random()?)) },
        node.router().clone(),
        Arc::new(MetadataStore::new(METADATA_METRICS_MAX)),
        clock.clone(),
        remote_write::Metrics::register(&registry)?,
    );
    let conditions = Conditions {
        ownership: node.ownership(TenantId::anonymous()),
        seed: node.cluster_seed(),
        secret: u128::from_le_bytes(node::random()?),
        features: ScrapeFeatures { start_timestamps: flags.reads_starts(), type_and_unit_labels: metadata_labels },
    };
    let scraping = Scraping::start(node.router().clone(), clock.clone(), conditions, &registry)?;
    scraping.apply(loaded).await.map_err(StartError::Scrape)?;
    node.tell_of(Scrapes {
        status: scraping.status(),
        external: external_address(&flags),
        metadata: receiver.metadata().clone(),
    });
    config::tell(&config, &config_metrics, &node);
    Ok(Arc::new(App {
        flags,
        clock,
        registry,
        http_metrics,
        bodies,
        parser_options,
        node,
        engine: Arc::new(engine),
        _query_threads: query_threads,
        receiver,
        scraping: tokio::sync::Mutex::new(Some(scraping)),
        started_ms: begun.started_ms,
        stop: begun.stop,
        config: RwLock::new(Arc::new(config)),
        config_metrics,
        limits,
    }))
}

fn parser_options(flags: &ServerFlags) -> ParserOptions {
    ParserOptions {
        experimental_functions: flags.feature("promql-experimental-functions"),
        // Part of the language since 3.14; the feature's name is accepted for older command lines.
        duration_expressions: true,
        extended_range_selectors: flags.feature("promql-extended-range-selectors"),
        binop_fill_modifiers: flags.feature("promql-binop-fill-modifiers"),
    }
}

fn engine(
    flags: &ServerFlags,
    loaded: &Loaded,
    parser: ParserOptions,
    node: &Node,
    clock: &Arc<dyn Clock>,
) -> Result<Engine, StartError> {
    let options = EngineOptions {
        timeout: flags.query_timeout,
        max_concurrency: flags.query_concurrency_max,
        max_samples: flags.query_samples_max,
        memory_limit: flags.query_memory_bytes_max,
        results_cache_bytes: flags.query_results_cache_bytes,
        lookback: flags.query_lookback,
        parser,
        delayed_name_removal: flags.feature("promql-delayed-name-removal"),
        type_and_unit_labels: flags.feature("type-and-unit-labels"),
        use_start_timestamps: flags.feature("use-start-timestamps"),
        subquery_step: loaded.config.global.evaluation_interval.as_std(),
        ..EngineOptions::default()
    };
    let engine = Engine::new(node.source().clone(), options, clock.clone()).map_err(StartError::Engine)?;
    match node.workers() {
        Some((placement, channels)) => engine.over_workers(placement, channels).map_err(StartError::Engine),
        None => Ok(engine),
    }
}

/// Serves signals until one of them, a request or a broken log ends the node.
async fn until_stopped(app: &App, signals: &mut Signals) -> Result<(), StartError> {
    let mut documents = app.node.meta().documents();
    loop {
        app.follow_documents().await;
        app.follow_limits();
        tokio::select! {
            Ok(()) = documents.changed() => {}
            request = signals.next() => match request {
                Request::End => return Ok(()),
                // A failed reload has been logged; the old configuration stays.
                Request::Reload => { let _ = app.reload().await; }
            },
            () = app.stop.cancelled() => { warn!("Received termination request via web service, exiting gracefully..."); return Ok(()); }
            reason = app.node.log_failed() => return Err(StartError::Log(reason)),
            () = app.node.removed() => return Err(StartError::Removed),
        }
    }
}

/// Answers on without being ready, so that load balancers send clients elsewhere before nobody listens here any more.
async fn stay(until: Instant, signals: &mut Signals) {
    tokio::select! {
        () = tokio::time::sleep_until(until) => {}
        () = signals.end() => {}
    }
}

/// Stops scraping and hands over what this node leads; it is not ready any more, and still answers.
async fn leave(app: &App) {
    app.stop.cancel();
    info!("Stopping scrape manager...");
    drop(app.scraping.lock().await.take());
    app.node.leave().await;
}
