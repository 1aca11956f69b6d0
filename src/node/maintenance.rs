//! What keeps the stores in shape beside the traffic: sealing and retention, and chunks that found no room.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use pharos_cluster::node as cluster;
use pharos_cluster::router::{Repeat, Sending};
use pharos_model::{Clock, PartitionId, TenantId, TimestampMs};
use pharos_storage::head::SealRule;
use pharos_storage::manifest::{Owner, PointerError};
use pharos_storage::metrics::StorageMetrics;
use pharos_storage::seal::{HeadLog, LogError, Sealer};
use pharos_storage::select::PartitionReader;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::held::Held;
use super::{Retention, Router};

/// Looks for slices to seal come this many times in the width of a slice, within the bounds below.
const SEAL_LOOKS_PER_SLICE: u32 = 60;
const SEAL_LOOK_MIN: Duration = Duration::from_secs(1);
const SEAL_LOOK_MAX: Duration = Duration::from_secs(60);
/// Pause between tries to write chunks that wait in memory for room on disk.
const FLUSH_RETRY: Duration = Duration::from_secs(1);
/// Longest wait for a command of maintenance, a change of leader included.
const COMMAND_MAX: Duration = Duration::from_secs(30);

/// What maintenance needs of the node.
#[derive(Debug)]
pub struct Maintenance {
    pub held: Arc<Held>,
    pub metrics: StorageMetrics,
    pub router: Arc<Router>,
    pub clock: Arc<dyn Clock>,
    pub slice: Duration,
    pub retention: Retention,
    pub idle: Mutex<Idle>,
}

/// Since when the newest sample of each head has been the newest. A restart begins anew, which only delays a seal.
#[derive(Debug, Default)]
pub struct Idle(HashMap<(PartitionId, TenantId), (Option<TimestampMs>, Duration)>);

impl Idle {
    /// How long `max_ts` has not changed, as of the monotonic time `now`.
    fn unchanged_for(&mut self, head: (PartitionId, TenantId), max_ts: Option<TimestampMs>, now: Duration) -> Duration {
        let (seen, since) = self.0.entry(head).or_insert((max_ts, now));
        if *seen != max_ts {
            (*seen, *since) = (max_ts, now);
        }
        now.saturating_sub(*since)
    }
}

/// The running tasks. They stop when told to, between two steps.
#[derive(Debug)]
pub struct Tasks {
    stop: CancellationToken,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Tasks {
    pub fn start(maintenance: Maintenance) -> Self {
        let stop = CancellationToken::new();
        let maintenance = Arc::new(maintenance);
        let running = vec![
            tokio::spawn(seal_loop(maintenance.clone(), stop.clone())),
            tokio::spawn(flush_loop(maintenance, stop.clone())),
        ];
        Self { stop, running: Mutex::new(running) }
    }

    /// Waits for the step under way; every step can be repeated, so nothing is left half done for good.
    pub async fn stop(&self) {
        self.stop.cancel();
        let running = std::mem::take(&mut *self.running.lock());
        for task in running {
            if let Err(error) = task.await {
                warn!(%error, "a maintenance task ended with");
            }
        }
    }
}

async fn seal_loop(maintenance: Arc<Maintenance>, stop: CancellationToken) {
    let pause = (maintenance.slice / SEAL_LOOKS_PER_SLICE).clamp(SEAL_LOOK_MIN, SEAL_LOOK_MAX);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        for (reader, owner) in maintenance.held.led() {
            if stop.is_cancelled() {
                return;
            }
            maintenance.seal(&reader, owner).await;
        }
    }
}

async fn flush_loop(maintenance: Arc<Maintenance>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(FLUSH_RETRY) => {}
        }
        let stores = maintenance.held.stores.all();
        for (_, partition) in stores.into_iter().filter(|(_, partition)| partition.writable().is_err()) {
            match tokio::task::spawn_blocking(move || partition.flush()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, "chunks still wait for room on disk"),
                Err(error) => warn!(%error, "writing waiting chunks ended with"),
            }
        }
    }
}

impl Maintenance {
    /// Seals what is ready in a partition that this node leads. A failure is logged and tried again with the next look.
    async fn seal(&self, reader: &PartitionReader, owner: Owner) {
        let mut sealer = Sealer {
            partition: reader.partition().clone(),
            catalog: reader.catalog().clone(),
            cache: self.held.cache.clone(),
            log: Arc::new(GroupLog(self.held.cluster.clone())),
            metrics: self.metrics.clone(),
            rule: SealRule {
                slice_ms: self.slice.as_millis() as i64,
                out_of_order_window_ms: self.router.out_of_order_window_ms(),
                ..SealRule::default()
            },
            retention: self.retention.rule(),
        };
        let tenants = match tenants(reader).await {
            Ok(tenants) => tenants,
            Err(error) => return warn!(%error, partition = %reader.catalog().partition(), "sealing has to wait"),
        };
        let partition = reader.catalog().partition();
        for tenant in tenants {
            let max_ts = reader.partition().extent(&tenant).and_then(|extent| extent.max_ts);
            let quiet = self.idle.lock().unchanged_for((partition, tenant.clone()), max_ts, self.clock.monotonic());
            sealer.rule.idle = quiet.as_millis() as i64 >= sealer.rule.idle_patience_ms();
            if let Err(error) = sealer.run(&tenant, owner, self.clock.now_ms()).await {
                let error = &error as &dyn std::error::Error;
                warn!(error, %tenant, %partition, "sealing failed, it will be tried again");
            }
        }
    }
}

/// Tenants with a head, and those that have only data files left.
pub(super) async fn tenants(reader: &PartitionReader) -> Result<Vec<TenantId>, PointerError> {
    let mut tenants = reader.partition().tenants();
    tenants.extend(reader.catalog().tenants().await?);
    tenants.sort_unstable();
    tenants.dedup();
    Ok(tenants)
}

/// The groups as the sealer's way to the heads.
#[derive(Debug)]
pub struct GroupLog(pub Arc<cluster::Node>);

#[async_trait]
impl HeadLog for GroupLog {
    async fn propose(&self, partition: PartitionId, command: Bytes) -> Result<(), LogError> {
        let sending = Sending { linger: Duration::ZERO, patience: COMMAND_MAX, repeat: Repeat::Harmless };
        let proposed = self.0.propose(partition, command, sending).await;
        proposed.map(drop).map_err(|error| LogError(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_idle_from_its_last_change_on() {
        let mut idle = Idle::default();
        let mut at = |max_ts, secs| {
            idle.unchanged_for((PartitionId(0), TenantId::anonymous()), Some(max_ts), Duration::from_secs(secs))
                .as_secs()
        };
        assert_eq!((at(1, 10), at(1, 15), at(2, 20), at(2, 90)), (0, 5, 0, 70));
    }
}
