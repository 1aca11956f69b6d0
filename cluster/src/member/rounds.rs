//! The controller at work: rounds on whoever leads the metadata group. A round begins its steps and does not wait for them: one node that is
//! slow would hold up what is for others.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use super::gather::Gatherer;
use super::messages::{self, Task};
use super::steps;
use crate::controller::{self, Limits, Step};
use crate::meta::PlaceChange;
use crate::metrics::ControllerMetrics;
use crate::peers::{NodeId, method};

/// Steps that are carried out at once; the others come in later rounds.
const STEPS_AT_ONCE: usize = 64;
/// Of these most that one node carries out: it may be the one that is slow.
const STEPS_OF_A_NODE: usize = 16;
/// After a step the pause is this part of what it else is.
const STEPPED_PAUSE_PART: u32 = 10;
/// Longer than a change of members or a transfer takes at most.
const STEP_MAX: Duration = Duration::from_secs(15);

pub(super) struct Rounds {
    pub(super) gatherer: Arc<Gatherer>,
    pub(super) limits: Limits,
    pub(super) metrics: ControllerMetrics,
    pub(super) lead_silence: Duration,
}

/// Steps that are being carried out.
#[derive(Default)]
struct UnderWay<'a> {
    begun: u64,
    steps: BTreeMap<u64, Step>,
    /// Ends with its number, and whether it was done.
    running: FuturesUnordered<BoxFuture<'a, (u64, bool)>>,
}

impl<'a> UnderWay<'a> {
    fn begin(&mut self, step: Step, carry_out: impl Future<Output = bool> + Send + 'a) {
        self.begun += 1;
        let number = self.begun;
        self.steps.insert(number, step);
        self.running.push(Box::pin(async move { (number, carry_out.await) }));
    }

    /// Returns whether a step was done when one has ended.
    async fn next(&mut self) -> bool {
        match self.running.next().await {
            Some((number, done)) => {
                self.steps.remove(&number);
                done
            }
            None => std::future::pending().await,
        }
    }

    /// Lets steps go on while something else is done. Also tells whether one of them was done.
    async fn during<T>(&mut self, other: impl Future<Output = T>) -> (T, bool) {
        let mut other = pin!(other);
        let mut stepped = false;
        loop {
            tokio::select! {
                biased;
                outcome = &mut other => return (outcome, stepped),
                done = self.next() => stepped |= done,
            }
        }
    }

    /// Lets steps go on until the next round: soon after a step, for then the next one is likely to be there.
    async fn pause(&mut self, pause: Duration, stepped: bool) {
        let part = pause / STEPPED_PAUSE_PART;
        let mut until = Instant::now() + if stepped { part } else { pause };
        loop {
            tokio::select! {
                biased;
                () = sleep_until(until) => return,
                done = self.next() => if done {
                    until = until.min(Instant::now() + part);
                },
            }
        }
    }
}

/// Those steps that begin now, so that no more than allowed are under way.
fn admitted(steps: Vec<Step>, under_way: impl Iterator<Item = Step>) -> Vec<Step> {
    let node = |step: &Step| Task::of(step).map(|(node, _)| node);
    let mut by_node: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut all = 0;
    for step in under_way {
        all += 1;
        if let Some(node) = node(&step) {
            *by_node.entry(node).or_default() += 1;
        }
    }
    let mut has_room = |step: &Step| {
        let of_node = node(step).map(|node| by_node.entry(node).or_default());
        if all >= STEPS_AT_ONCE || of_node.as_ref().is_some_and(|count| **count >= STEPS_OF_A_NODE) {
            return false;
        }
        all += 1;
        if let Some(count) = of_node {
            *count += 1;
        }
        true
    };
    steps.into_iter().filter(|step| has_room(step)).collect()
}

impl Rounds {
    pub(super) async fn run(self, pause: Duration) {
        let mut under_way = UnderWay::default();
        let mut stepped = false;
        loop {
            under_way.pause(pause, stepped).await;
            stepped = false;
            if self.gatherer.node().meta_group().standing().leads {
                let (steps, done) = self.round(&mut under_way).await;
                stepped = done;
                for step in steps {
                    let carry_out = self.carry_out(step.clone());
                    under_way.begin(step, carry_out);
                }
            }
        }
    }

    /// The steps to begin, and whether one of those under way was done meanwhile.
    async fn round(&self, under_way: &mut UnderWay<'_>) -> (Vec<Step>, bool) {
        let observe = async {
            let topology = self.gatherer.node().meta().read_topology().await?;
            let observed = self.gatherer.gather(&topology).await;
            Ok::<_, crate::meta::MetaError>((topology, observed))
        };
        // Those that end while others report count as under way: what was reported may be from before.
        let before: Vec<Step> = under_way.steps.values().cloned().collect();
        let (observed, stepped) = under_way.during(observe).await;
        let (topology, observed) = match observed {
            Ok(observed) => observed,
            // Somebody else leads by now, or nobody can.
            Err(error) => {
                debug!(%error, "no round of the controller");
                return (Vec::new(), stepped);
            }
        };
        let steps = controller::next(&topology, &observed, &self.limits, &before);
        self.metrics.rounds.inc();
        let decided = steps.len();
        let steps = admitted(steps, under_way.steps.values().cloned());
        self.metrics.steps_put_off.inc_by((decided - steps.len()) as u64);
        (steps, stepped)
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

#[cfg(test)]
mod tests {
    use pharos_model::PartitionId;

    use super::*;

    fn drop_at(node: NodeId, partition: u16) -> Step {
        Step::DropReplica { partition: PartitionId(partition), node, epoch: 1, config: 1 }
    }

    #[test]
    fn a_node_that_is_slow_leaves_room_for_steps_of_others() {
        let slow: Vec<Step> = (0..100).map(|partition| drop_at(1, partition)).collect();
        let begun = admitted(slow.clone(), std::iter::empty());
        assert_eq!(begun.len(), STEPS_OF_A_NODE);
        let both: Vec<Step> = slow.into_iter().chain([drop_at(2, 0)]).collect();
        assert_eq!(admitted(both, begun.into_iter()), [drop_at(2, 0)]);
    }

    #[test]
    fn steps_under_way_are_bounded() {
        let steps: Vec<Step> = (0..200).map(|at| drop_at(u64::from(at), at)).collect();
        let begun = admitted(steps.clone(), std::iter::empty());
        assert_eq!(begun.len(), STEPS_AT_ONCE);
        assert_eq!(admitted(steps, begun.into_iter()), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_hangs_holds_up_no_round() {
        let mut under_way = UnderWay::default();
        under_way.begin(drop_at(1, 0), std::future::pending());
        under_way.begin(drop_at(2, 1), async { true });
        let began = Instant::now();
        under_way.pause(Duration::from_secs(1), false).await;
        assert_eq!(began.elapsed(), Duration::from_millis(100), "soon after the step that was done");
        assert_eq!(under_way.steps.into_values().collect::<Vec<_>>(), [drop_at(1, 0)]);
    }
}
