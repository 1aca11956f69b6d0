//! Opens the replicas that the placement gives this node. Dropping is the controller's to say: see [`super::steps`].

use std::sync::Arc;
use std::time::Duration;

use pharos_model::PartitionId;
use tracing::warn;

use crate::node::Node;

/// Looks at every change of the placement, and every now and then: opening may have failed, and a replica may be dropped by a step that
/// was right just before the placement named this node again.
pub(super) async fn keep(node: Arc<Node>, every: Duration) {
    let mut topology = node.meta().topology();
    loop {
        let now = Arc::clone(&topology.borrow_and_update());
        let placed = (0..).map(PartitionId).zip(&now.placement);
        let own = placed.filter(|(_, placed)| placed.names(node.node_id())).map(|(partition, _)| partition);
        if now.present().count() > 1
            && let Err(error) = node.note_others()
        {
            warn!(
                error = &error as &dyn std::error::Error,
                "that there are other members cannot be noted, it is tried again"
            );
        }
        let damaged = node.damaged_replicas();
        for partition in own.filter(|partition| node.replica(*partition).is_none() && !damaged.contains(partition)) {
            if let Err(error) = node.open_replica(partition).await {
                warn!(%partition, error = &error as &dyn std::error::Error, "a replica cannot be opened, it is tried again");
            }
        }
        // An end of the metadata is the end of the node.
        if let Ok(Err(_)) = tokio::time::timeout(every, topology.changed()).await {
            return;
        }
    }
}
