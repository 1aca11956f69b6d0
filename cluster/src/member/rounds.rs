//! The controller at work: rounds on whoever leads the metadata group, each ended before the next begins.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use tracing::{debug, info};

use super::gather::Gatherer;
use super::messages::{self, Task};
use super::steps;
use crate::controller::{self, Limits, Step};
use crate::meta::PlaceChange;
use crate::metrics::ControllerMetrics;
use crate::peers::{NodeId, method};

/// Steps of a round at most; the others come in the next.
const STEPS_MAX: usize = 256;
/// Steps that are carried out at once.
const STEPS_AT_ONCE: usize = 16;
/// After a round with steps the pause is this part of what it else is.
const STEPPED_PAUSE_PART: u32 = 10;
/// Longer than a change of members or a transfer takes at most.
const STEP_MAX: Duration = Duration::from_secs(15);

pub(super) struct Rounds {
    pub(super) gatherer: Arc<Gatherer>,
    pub(super) limits: Limits,
    pub(super) metrics: ControllerMetrics,
    pub(super) lead_silence: Duration,
}

impl Rounds {
    pub(super) async fn run(self, pause: Duration) {
        let mut stepped = false;
        loop {
            // After a step the next is likely to be there soon.
            tokio::time::sleep(if stepped { pause / STEPPED_PAUSE_PART } else { pause }).await;
            stepped = self.gatherer.node().meta_group().standing().leads && self.round().await;
        }
    }

    /// Whether any step was carried out.
    async fn round(&self) -> bool {
        let topology = match self.gatherer.node().meta().read_topology().await {
            Ok(topology) => topology,
            // Somebody else leads by now, or nobody can.
            Err(error) => {
                debug!(%error, "no round of the controller");
                return false;
            }
        };
        let observed = self.gatherer.gather(&topology).await;
        let steps = controller::next(&topology, &observed, &self.limits);
        self.metrics.rounds.inc();
        self.metrics.steps_put_off.inc_by(steps.len().saturating_sub(STEPS_MAX) as u64);
        let carried_out = stream::iter(steps.into_iter().take(STEPS_MAX).map(|step| self.carry_out(step)));
        carried_out.buffer_unordered(STEPS_AT_ONCE).fold(false, |any, done| async move { any | done }).await
    }

    /// Whether it was done.
    async fn carry_out(&self, step: Step) -> bool {
        let outcome = match Task::of(&step) {
            Some((node, task)) => self.hand(node, task).await,
            None => self.place(&step).await,
        };
        match &outcome {
            Ok(()) => info!(?step, "step of the controller done"),
            Err(reason) => info!(?step, reason, "step of the controller not done, it is decided anew"),
        }
        self.metrics.count(&step, outcome.is_ok());
        outcome.is_ok()
    }

    async fn hand(&self, node: NodeId, task: Task) -> Result<(), String> {
        if node == self.gatherer.node().node_id() {
            return steps::carry_out(self.gatherer.node(), task, self.lead_silence).await;
        }
        let called = self.gatherer.peers.call(node, method::STEP, messages::encode(&task), STEP_MAX).await;
        called.map(drop).map_err(|error| error.to_string())
    }

    /// Changes the placement in the metadata.
    async fn place(&self, step: &Step) -> Result<(), String> {
        let (partition, epoch, change) = match step {
            Step::BeginMove { partition, epoch, moving } => (partition, epoch, PlaceChange::Begin(*moving)),
            Step::FinishMove { partition, epoch, moving } => (partition, epoch, PlaceChange::Finish(*moving)),
            Step::CancelMove { partition, epoch, moving } => (partition, epoch, PlaceChange::Cancel(*moving)),
            Step::PreferLeader { partition, epoch, leader } => (partition, epoch, PlaceChange::Prefer(*leader)),
            _ => return Err("it is no change of the placement".to_owned()),
        };
        let placed = self.gatherer.node().meta().place(*partition, *epoch, change).await;
        placed.map(drop).map_err(|error| error.to_string())
    }
}
