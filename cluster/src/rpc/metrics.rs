//! What the network counts. Per-node metrics are labelled with the node's id and go with the node.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::metrics::{counter, counters};
use crate::peers::{CallError, Method, NodeId};

/// Metrics of all connections of a node. Clones share the same counters.
#[derive(Clone, Debug)]
pub struct RpcMetrics {
    /// By direction and by what the calls are about.
    pub(super) sent_calls: Classes,
    pub(super) served_calls: Classes,
    pub(super) failures: Failures,
    pub(super) refused: IntCounterVec,
    pub(super) dropped: IntCounterVec,
    pub(super) connections_out: IntGauge,
    pub(super) connections_in: IntGauge,
    pub(super) strangers: IntGauge,
    pub(super) connects: IntCounter,
    pub(super) connects_failed: IntCounter,
    pub(super) transfers_out: IntGauge,
    pub(super) transfers_in: IntGauge,
    pub(super) throttled_seconds: prometheus::Counter,
    sent_bytes: IntCounterVec,
    received_bytes: IntCounterVec,
    queue_calls: IntGaugeVec,
    queue_bytes: IntGaugeVec,
    unanswered: IntGaugeVec,
    serving_calls: IntGaugeVec,
    serving_bytes: IntGaugeVec,
}

/// Calls of groups and calls of the application.
#[derive(Clone, Debug)]
pub(super) struct Classes {
    groups: IntCounter,
    application: IntCounter,
}

impl Classes {
    pub(super) fn count(&self, method: Method) {
        if method < Method::APPLICATION { self.groups.inc() } else { self.application.inc() }
    }
}

/// Calls, uploads and downloads that this node made in vain.
#[derive(Clone, Debug)]
pub(super) struct Failures {
    pub(super) unreachable: IntCounter,
    pub(super) queue_full: IntCounter,
    pub(super) lost: IntCounter,
    pub(super) timed_out: IntCounter,
    pub(super) refused: IntCounter,
    pub(super) given_up: IntCounter,
}

impl Failures {
    /// By what the caller was told; a full queue and a timeout are counted where they are found.
    pub(super) fn count(&self, error: &CallError) {
        match error {
            CallError::Unreachable { .. } => self.unreachable.inc(),
            CallError::Lost { .. } => self.lost.inc(),
            CallError::Refused { .. } => self.refused.inc(),
        }
    }
}

/// One node's counters.
#[derive(Clone, Debug)]
pub(super) struct PeerMetrics {
    pub(super) sent_bytes: IntCounter,
    pub(super) received_bytes: IntCounter,
    pub(super) queue_calls: IntGauge,
    pub(super) queue_bytes: IntGauge,
    pub(super) unanswered: IntGauge,
    pub(super) serving_calls: IntGauge,
    pub(super) serving_bytes: IntGauge,
}

/// One more in a gauge, until it is dropped.
#[derive(Debug)]
pub(super) struct OneOf(IntGauge);

impl OneOf {
    pub(super) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for OneOf {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl RpcMetrics {
    /// Fails when `registry` has metrics of these names already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let calls = counters(
            registry,
            "pharos_rpc_calls_total",
            "Calls between nodes, sent to others and served for others.",
            &["direction", "class"],
        )?;
        let failures = counters(
            registry,
            "pharos_rpc_failures_total",
            "Calls, uploads and downloads to other nodes without an answer, by reason.",
            &["reason"],
        )?;
        let connections =
            gauges(registry, "pharos_rpc_connections", "Open connections between nodes.", &["direction"])?;
        let transfers = gauges(
            registry,
            "pharos_rpc_transfers",
            "Uploads and downloads under way, begun by this node or by others.",
            &["direction"],
        )?;
        let peer = &["node"];
        let throttled = prometheus::Counter::new(
            "pharos_rpc_upload_throttled_seconds_total",
            "Time that uploads waited because of their rate limit.",
        )?;
        registry.register(Box::new(throttled.clone()))?;
        let class = |direction: &str| Classes {
            groups: calls.with_label_values(&[direction, "groups"]),
            application: calls.with_label_values(&[direction, "application"]),
        };
        let failure = |reason: &str| failures.with_label_values(&[reason]);
        Ok(Self {
            sent_calls: class("sent"),
            served_calls: class("served"),
            failures: Failures {
                unreachable: failure("unreachable"),
                queue_full: failure("queue_full"),
                lost: failure("lost"),
                timed_out: failure("timed_out"),
                refused: failure("refused"),
                given_up: failure("given_up"),
            },
            refused: counters(
                registry,
                "pharos_rpc_refused_total",
                "Requests of other nodes that were refused before they were read, by reason.",
                &["reason"],
            )?,
            dropped: counters(
                registry,
                "pharos_rpc_connections_dropped_total",
                "Accepted connections that were closed before a node said on them who it is, by reason.",
                &["reason"],
            )?,
            connections_out: connections.with_label_values(&["out"]),
            connections_in: connections.with_label_values(&["in"]),
            strangers: {
                let gauge = IntGauge::new(
                    "pharos_rpc_strangers",
                    "Accepted connections on which no node has said yet who it is.",
                )?;
                registry.register(Box::new(gauge.clone()))?;
                gauge
            },
            connects: counter(registry, "pharos_rpc_connects_total", "Connections made to other nodes.")?,
            connects_failed: counter(
                registry,
                "pharos_rpc_connects_failed_total",
                "Tries to connect to another node that failed.",
            )?,
            transfers_out: transfers.with_label_values(&["out"]),
            transfers_in: transfers.with_label_values(&["in"]),
            throttled_seconds: throttled,
            sent_bytes: counters(registry, "pharos_rpc_sent_bytes_total", "Bytes sent to a node.", peer)?,
            received_bytes: counters(registry, "pharos_rpc_received_bytes_total", "Bytes received from a node.", peer)?,
            queue_calls: gauges(registry, "pharos_rpc_queue_calls", "Calls that wait to be sent to a node.", peer)?,
            queue_bytes: gauges(registry, "pharos_rpc_queue_bytes", "Bytes of calls that wait to be sent.", peer)?,
            unanswered: gauges(
                registry,
                "pharos_rpc_unanswered_calls",
                "Calls to a node without an answer yet, those that wait to be sent among them.",
                peer,
            )?,
            serving_calls: gauges(registry, "pharos_rpc_serving_calls", "Calls of a node that are worked on.", peer)?,
            serving_bytes: gauges(
                registry,
                "pharos_rpc_serving_bytes",
                "Bytes of calls of a node and of answers that wait to be sent to it.",
                peer,
            )?,
        })
    }

    pub(super) fn peer(&self, node: NodeId) -> PeerMetrics {
        let node = &[format!("{node:016x}")];
        PeerMetrics {
            sent_bytes: self.sent_bytes.with_label_values(node),
            received_bytes: self.received_bytes.with_label_values(node),
            queue_calls: self.queue_calls.with_label_values(node),
            queue_bytes: self.queue_bytes.with_label_values(node),
            unanswered: self.unanswered.with_label_values(node),
            serving_calls: self.serving_calls.with_label_values(node),
            serving_bytes: self.serving_bytes.with_label_values(node),
        }
    }

    /// Takes the node's metrics out; a node that was never seen has none.
    pub(super) fn forget(&self, node: NodeId) {
        let node = &[format!("{node:016x}")];
        for counters in [&self.sent_bytes, &self.received_bytes] {
            let _ = counters.remove_label_values(node);
        }
        let gauges = [&self.queue_calls, &self.queue_bytes, &self.unanswered, &self.serving_calls, &self.serving_bytes];
        for gauges in gauges {
            let _ = gauges.remove_label_values(node);
        }
    }
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(gauges.clone()))?;
    Ok(gauges)
}
