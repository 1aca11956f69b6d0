//! What the crate counts. Names that Prometheus uses for its write-ahead log are kept where the meaning is the same.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::controller::Step;

/// All metrics of a node's groups and log. Clones share the same counters.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub log: LogMetrics,
    pub raft: RaftMetrics,
    pub meta: MetaMetrics,
}

impl Metrics {
    /// Fails when `registry` has metrics of these names already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            log: LogMetrics::register(registry)?,
            raft: RaftMetrics::register(registry)?,
            meta: MetaMetrics::register(registry)?,
        })
    }
}

/// The log store's part.
#[derive(Clone, Debug)]
pub struct LogMetrics {
    pub sync_seconds: Histogram,
    pub corruptions: IntCounter,
    pub writes_failed: IntCounter,
    pub current_segment: IntGauge,
    pub live_bytes: IntGauge,
    pub spare_segments: IntGauge,
    pub written_bytes: IntCounter,
    pub batches: IntCounter,
    pub records: IntCounter,
    pub queued_requests: IntGauge,
    pub reserved_bytes: IntGauge,
    pub stalled: IntGauge,
    pub cached_bytes: IntGauge,
    pub quarantined_segments: IntCounter,
    pub damaged_groups: IntGauge,
    pub lost_entries: IntCounter,
}

impl LogMetrics {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let sync =
            HistogramOpts::new("prometheus_tsdb_wal_fsync_duration_seconds", "Duration of write-ahead log fsync.")
                .buckets(prometheus::exponential_buckets(0.0001, 2.0, 16)?);
        let sync_seconds = Histogram::with_opts(sync)?;
        registry.register(Box::new(sync_seconds.clone()))?;
        Ok(Self {
            sync_seconds,
            corruptions: counter(
                registry,
                "prometheus_tsdb_wal_corruptions_total",
                "Total number of damaged places found in the write-ahead log.",
            )?,
            writes_failed: counter(
                registry,
                "prometheus_tsdb_wal_writes_failed_total",
                "Total number of write-ahead log writes and syncs that failed.",
            )?,
            current_segment: gauge(
                registry,
                "prometheus_tsdb_wal_segment_current",
                "Write-ahead log segment that is being written to.",
            )?,
            live_bytes: gauge(
                registry,
                "prometheus_tsdb_wal_storage_size_bytes",
                "Size of the write-ahead log segments in use, spare ones not counted.",
            )?,
            spare_segments: gauge(registry, "pharos_log_spare_segments", "Pre-written segments that wait to be used.")?,
            written_bytes: counter(registry, "pharos_log_written_bytes_total", "Bytes of records written.")?,
            batches: counter(registry, "pharos_log_batches_total", "Writes with one sync for all waiting records.")?,
            records: counter(registry, "pharos_log_records_total", "Records written.")?,
            queued_requests: gauge(
                registry,
                "pharos_log_queue_requests",
                "Requests that wait for the writer; each group has one at most.",
            )?,
            reserved_bytes: gauge(
                registry,
                "pharos_log_reserved_bytes",
                "Room in segments set aside for proposals in flight.",
            )?,
            stalled: gauge(registry, "pharos_log_stalled", "1 while the log cannot write and refuses proposals.")?,
            cached_bytes: gauge(registry, "pharos_log_cached_bytes", "Entries kept in memory until they are applied.")?,
            quarantined_segments: counter(
                registry,
                "pharos_log_quarantined_segments_total",
                "Damaged segments copied aside.",
            )?,
            damaged_groups: gauge(
                registry,
                "pharos_log_damaged_groups",
                "Groups of this node that lost something to damage and wait to be made anew.",
            )?,
            lost_entries: counter(
                registry,
                "pharos_log_lost_entries_total",
                "Entries given up because of damage before them.",
            )?,
        })
    }
}

/// The groups' part; sums over all groups of the node.
#[derive(Clone, Debug)]
pub struct RaftMetrics {
    pub groups: IntGauge,
    pub proposals: IntCounter,
    pub proposals_refused: IntCounter,
    pub proposals_unknown: IntCounter,
    pub entries: IntCounter,
    pub queued_proposals: IntGauge,
    pub queued_bytes: IntGauge,
    pub proposal_seconds: Histogram,
    pub apply_seconds: Histogram,
    pub replayed_entries: IntCounter,
    pub checkpoints: IntCounter,
    pub checkpoints_failed: IntCounter,
    pub checkpoint_seconds: Histogram,
    pub snapshots_sent: IntCounter,
    pub snapshots_received: IntCounter,
    pub snapshots_failed: IntCounter,
    pub transfers: IntCounter,
    pub damaged_dropped: IntCounter,
    pub gates_shut: IntGauge,
    pub proposals_forwarded: IntCounter,
    pub read_points: IntCounter,
    pub read_points_unconfirmed: IntCounter,
    pub confirm_calls: IntCounter,
}

impl RaftMetrics {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            groups: gauge(registry, "pharos_raft_groups", "Groups that this node is a member of.")?,
            proposals: counter(registry, "pharos_raft_proposals_total", "Commands accepted for proposal.")?,
            proposals_refused: counter(
                registry,
                "pharos_raft_proposals_refused_total",
                "Commands that were certainly not written: overload, full disk, timeout in the queue.",
            )?,
            proposals_unknown: counter(
                registry,
                "pharos_raft_proposals_unknown_total",
                "Commands whose outcome was unknown when the caller was answered.",
            )?,
            entries: counter(registry, "pharos_raft_entries_total", "Entries proposed, each of one or more commands.")?,
            queued_proposals: gauge(
                registry,
                "pharos_raft_proposal_queue_length",
                "Commands that wait to join an entry.",
            )?,
            queued_bytes: gauge(registry, "pharos_raft_proposal_queue_bytes", "Bytes of waiting commands.")?,
            proposal_seconds: histogram(
                registry,
                "pharos_raft_entry_duration_seconds",
                "From an entry's proposal to its answers.",
            )?,
            apply_seconds: histogram(
                registry,
                "pharos_raft_apply_duration_seconds",
                "Applying the entries committed together.",
            )?,
            replayed_entries: counter(
                registry,
                "pharos_raft_replayed_entries_total",
                "Entries applied again when the node started.",
            )?,
            checkpoints: counter(registry, "pharos_raft_checkpoints_total", "Checkpoints of state machines.")?,
            checkpoints_failed: counter(
                registry,
                "pharos_raft_checkpoints_failed_total",
                "Checkpoints that failed; the log is kept.",
            )?,
            checkpoint_seconds: histogram(
                registry,
                "pharos_raft_checkpoint_duration_seconds",
                "Duration of checkpoints.",
            )?,
            snapshots_sent: counter(
                registry,
                "pharos_raft_snapshots_sent_total",
                "Copies of stores that other nodes took in.",
            )?,
            snapshots_received: counter(
                registry,
                "pharos_raft_snapshots_received_total",
                "Copies of stores taken in from other nodes.",
            )?,
            snapshots_failed: counter(
                registry,
                "pharos_raft_snapshots_failed_total",
                "Copies of stores that did not reach another node.",
            )?,
            transfers: counter(registry, "pharos_raft_leader_transfers_total", "Leads handed over to another voter.")?,
            damaged_dropped: counter(
                registry,
                "pharos_raft_damaged_replicas_dropped_total",
                "Replicas that were damaged and are dropped, to be made anew from the others.",
            )?,
            gates_shut: gauge(
                registry,
                "pharos_raft_elections_barred",
                "Groups that may not elect here, because no majority of their voters is heard.",
            )?,
            proposals_forwarded: counter(
                registry,
                "pharos_raft_proposals_forwarded_total",
                "Commands sent to leaders on other nodes.",
            )?,
            read_points: counter(
                registry,
                "pharos_raft_read_points_total",
                "Read points asked of this node as a leader.",
            )?,
            read_points_unconfirmed: counter(
                registry,
                "pharos_raft_read_points_unconfirmed_total",
                "Read points that no majority of voters confirmed.",
            )?,
            confirm_calls: counter(
                registry,
                "pharos_raft_confirm_calls_total",
                "Calls to voters that confirm read points, each for all groups that wait.",
            )?,
        })
    }
}

/// The metadata's part, as far as this node has applied it.
#[derive(Clone, Debug)]
pub struct MetaMetrics {
    pub members: IntGauge,
    pub tombstones: IntGauge,
    pub moves: IntGauge,
    pub documents: IntGauge,
    pub document_bytes: IntGauge,
    pub commands: IntCounter,
    pub commands_refused: IntCounter,
}

impl MetaMetrics {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            members: gauge(registry, "pharos_meta_members", "Members of the cluster that are not removed.")?,
            tombstones: gauge(registry, "pharos_meta_tombstones", "Members of the cluster that were removed.")?,
            moves: gauge(registry, "pharos_meta_moves", "Partitions of which a replica is on its way.")?,
            documents: gauge(registry, "pharos_meta_documents", "Documents in the metadata.")?,
            document_bytes: gauge(registry, "pharos_meta_document_bytes", "Bytes of all kept versions of documents.")?,
            commands: counter(registry, "pharos_meta_commands_total", "Commands applied to the metadata.")?,
            commands_refused: counter(
                registry,
                "pharos_meta_commands_refused_total",
                "Commands that changed nothing: not allowed, over a limit, or at another version.",
            )?,
        })
    }
}

/// The controller's part, on whichever node it runs.
#[derive(Clone, Debug)]
pub struct ControllerMetrics {
    pub rounds: IntCounter,
    pub steps_put_off: IntCounter,
    steps: IntCounterVec,
}

impl ControllerMetrics {
    /// Fails when `registry` has metrics of these names already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let steps = Opts::new("pharos_controller_steps_total", "Steps of the controller, by kind and outcome.");
        let steps = IntCounterVec::new(steps, &["kind", "outcome"])?;
        registry.register(Box::new(steps.clone()))?;
        Ok(Self {
            rounds: counter(
                registry,
                "pharos_controller_rounds_total",
                "Rounds in which this node was the controller.",
            )?,
            steps_put_off: counter(
                registry,
                "pharos_controller_steps_put_off_total",
                "Steps left to later rounds, because there were too many.",
            )?,
            steps,
        })
    }

    /// One step, done or not.
    pub fn count(&self, step: &Step, done: bool) {
        let outcome = if done { "done" } else { "not_done" };
        self.steps.with_label_values(&[step.kind(), outcome]).inc();
    }
}

pub(crate) fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

pub(crate) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntCounterVec> {
    let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn histogram(registry: &Registry, name: &str, help: &str) -> prometheus::Result<Histogram> {
    let buckets = prometheus::exponential_buckets(0.0001, 4.0, 10)?;
    let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}
