//! Which targets this node scrapes: those of the partitions that it leads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pharos_cluster::node as cluster;
use pharos_ingest::scrape::Ownership;
use pharos_model::{LabelSet, PartitionId, TenantId, partition};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// How often it is looked whether the others of a partition are still heard; changes of who leads are seen at once.
const LOOK: Duration = Duration::from_millis(500);

/// The node's part of all targets, kept up to date as long as this lives.
#[derive(Debug)]
pub struct LedTargets {
    tenant: TenantId,
    partitions: u16,
    led: Arc<ArcSwap<BTreeSet<PartitionId>>>,
    changes: watch::Receiver<u64>,
    _watching: AbortOnDropHandle<()>,
}

impl LedTargets {
    pub fn watch(cluster: &Arc<cluster::Node>, tenant: TenantId) -> Self {
        let led = Arc::new(ArcSwap::from_pointee(cluster.leading()));
        let (sender, changes) = watch::channel(0);
        let watching = tokio::spawn(keep(Arc::clone(cluster), Arc::clone(&led), sender));
        let partitions = cluster.cluster().partitions;
        Self { tenant, partitions, led, changes, _watching: AbortOnDropHandle::new(watching) }
    }
}

async fn keep(cluster: Arc<cluster::Node>, led: Arc<ArcSwap<BTreeSet<PartitionId>>>, changes: watch::Sender<u64>) {
    let mut standings = cluster.standings();
    loop {
        // An end of the standings is the end of the node.
        if let Ok(Err(_)) = tokio::time::timeout(LOOK, standings.changed()).await {
            return;
        }
        let now = cluster.leading();
        if now != **led.load() {
            led.store(Arc::new(now));
            changes.send_modify(|change| *change += 1);
        }
    }
}

impl Ownership for LedTargets {
    fn owns(&self, labels: &LabelSet) -> bool {
        self.led.load().contains(&partition::of_series(&self.tenant, labels, self.partitions))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}
