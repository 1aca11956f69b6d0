//! What gossip counts.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use crate::metrics::{counter, counters};

/// Clones share the same counters.
#[derive(Clone, Debug)]
pub struct GossipMetrics {
    pub(super) sent_datagrams: IntCounter,
    pub(super) received_datagrams: IntCounter,
    pub(super) sent_bytes: IntCounter,
    pub(super) received_bytes: IntCounter,
    pub(super) not_sent: IntCounterVec,
    refused: IntCounterVec,
    pub(super) pauses: IntCounter,
    pub(super) nodes_heard: IntGauge,
    pub(super) restarts: IntCounter,
}

impl GossipMetrics {
    /// Fails when `registry` has metrics of these names already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let direction = &["direction"];
        let datagrams =
            counters(registry, "pharos_gossip_datagrams_total", "Datagrams of gossip, refused ones too.", direction)?;
        let bytes = counters(registry, "pharos_gossip_bytes_total", "Bytes of datagrams of gossip.", direction)?;
        let nodes_heard = IntGauge::new("pharos_gossip_nodes_heard", "Other members that gossip says are alive.")?;
        registry.register(Box::new(nodes_heard.clone()))?;
        Ok(Self {
            sent_datagrams: datagrams.with_label_values(&["sent"]),
            received_datagrams: datagrams.with_label_values(&["received"]),
            sent_bytes: bytes.with_label_values(&["sent"]),
            received_bytes: bytes.with_label_values(&["received"]),
            not_sent: counters(
                registry,
                "pharos_gossip_not_sent_total",
                "Datagrams of gossip that could not be sent, by reason.",
                &["reason"],
            )?,
            refused: counters(
                registry,
                "pharos_gossip_refused_total",
                "Datagrams that were not taken for gossip of this cluster, by reason.",
                &["reason"],
            )?,
            pauses: counter(
                registry,
                "pharos_gossip_pauses_total",
                "Times that reading datagrams paused, because more came than are read in a while.",
            )?,
            nodes_heard,
            restarts: counter(registry, "pharos_gossip_restarts_total", "Times that gossip failed and began anew.")?,
        })
    }

    pub(super) fn refused(&self, reason: &str) -> IntCounter {
        self.refused.with_label_values(&[reason])
    }
}
