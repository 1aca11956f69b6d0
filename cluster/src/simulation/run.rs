//! One run: founds a cluster, lets things go wrong, waits until it is at rest, and looks at what is left.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pharos_model::PartitionId;

use super::checks;
use super::faults::{Act, Change, Host, Plan};
use super::house::{Ended, House};
use super::random::Running;
use super::rest::unrest;
use super::town::Town;
use crate::member::Member;
use crate::meta::{MemberChange, MemberState, Topology};
use crate::peers::NodeId;

/// Simulated time within which a cluster comes to rest once nothing goes wrong any more.
const REST_MAX: Duration = Duration::from_secs(240);
/// Simulated time within which a change that an operator asks for is made.
const CHANGE_MAX: Duration = Duration::from_secs(120);
/// An order that did not take effect is given again.
const ORDER_EVERY: Duration = Duration::from_secs(6);

/// What a run came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// What must not be; empty in a good run.
    pub violations: Vec<String>,
    /// What happened, in order.
    pub events: Vec<String>,
    pub answered: usize,
    pub reads: u64,
    pub terms: usize,
    /// Simulated.
    pub lasted: Duration,
    /// All that clients saw and replicas have, as a number.
    pub digest: u64,
}

/// A fault that has to be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    /// What disks say is synced of the log goes with the power, once the cluster has come to rest for the first time.
    LyingDisks,
}

/// Runs a plan; what it leaves open follows from the seed.
pub(super) fn run(seed: u64, plan: &Plan, planted: Planted) -> Outcome {
    let _running = Running::with_seed(seed);
    let town = Town::new(seed, plan.hosts, plan.partitions);
    let mut run = Run { town, ordered_at: None };
    run.play(plan, planted);
    run.outcome()
}

struct Run {
    town: Town,
    /// When an order was given last.
    ordered_at: Option<Duration>,
}

impl Run {
    fn play(&mut self, plan: &Plan, planted: Planted) {
        if !plan.rough_start {
            self.rest();
        }
        if planted == Planted::LyingDisks {
            self.town.houses.iter().for_each(|house| house.disk().lie_about_syncs_in(Path::new("/node/log")));
        }
        for act in &plan.acts {
            self.act(act);
            if self.failed() {
                return;
            }
        }
        self.town.mend_all();
        self.rest();
        self.town.works.send_replace(false);
        self.town.tell("clients have ended".to_owned());
        self.run_for(Duration::from_secs(6));
        self.rest();
        self.check_removed();
        self.check_elements();
        self.check_registers();
    }

    fn failed(&self) -> bool {
        !self.town.history().violations.is_empty()
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.town.now() + time;
        while self.town.now() < until {
            self.town.step();
        }
    }

    /// Runs until it is so; `false` when it is not in time.
    fn run_until(&mut self, most: Duration, mut is_so: impl FnMut(&mut Self) -> bool) -> bool {
        let until = self.town.now() + most;
        while !is_so(self) {
            if self.town.now() >= until || self.failed() {
                return false;
            }
            self.run_for(Duration::from_millis(100));
        }
        true
    }

    fn rest(&mut self) {
        if !self.run_until(REST_MAX, |run| unrest(&run.town.present()).is_none()) && !self.failed() {
            let why = unrest(&self.town.present()).unwrap_or_default();
            self.town.history().violated(format!("it does not come to rest within {REST_MAX:?}: {why}"));
        }
        self.town.is_hurt = false;
        self.town.tell("at rest".to_owned());
    }

    fn act(&mut self, act: &Act) {
        if let Some(change) = act.change {
            self.begin_change(change);
        }
        for timed in &act.faults {
            if self.failed() {
                return;
            }
            self.town.begin(&timed.fault, timed.lasts);
            self.run_for(timed.pause);
        }
        if let Some(change) = act.change {
            self.finish_change(change);
        }
    }

    /// An operator loses or gives up a machine only while the others have everything.
    fn begin_change(&mut self, change: Change) {
        self.town.tell(format!("{change:?}"));
        match change {
            Change::Join => drop(self.town.join()),
            Change::Drain(host) | Change::Remove(host) => {
                if !self.town.is_hurt && self.spares(host) {
                    self.order_of(host, MemberChange::Drain);
                }
            }
            Change::Undrain(host) => self.order_of(host, MemberChange::Undrain),
            Change::Replace(host) => {
                self.town.mend_all();
                self.rest();
                // It may have taken the cluster longer than the plan knew to have three of all again.
                if !self.failed() && self.town.has_three_of_all() {
                    self.town.replace(host);
                }
            }
        }
    }

    fn finish_change(&mut self, change: Change) {
        let Change::Remove(host) = change else { return };
        self.town.mend_all();
        self.rest();
        let Some(id) = self.town.houses[host].id().filter(|_| self.spares(host)) else { return };
        let removed = self.run_until(CHANGE_MAX, |run| match run.state(id) {
            Some(MemberState::Removed) => true,
            state => {
                let drained = state != Some(MemberState::Active);
                let remove = MemberChange::Remove { node: id, force: false };
                run.order(id, if drained { remove } else { MemberChange::Drain(id) });
                false
            }
        });
        if removed {
            self.town.leave(host);
        } else if !self.failed() {
            self.town.history().violated(format!("node {id:x} was not removed within {CHANGE_MAX:?}"));
        }
    }

    /// Whether two active members stay without the host: an order from before may not have been carried out.
    fn spares(&self, host: Host) -> bool {
        let Some(id) = self.town.houses[host].id() else { return false };
        let topology = self.topology();
        topology.is_some_and(|topology| topology.active().filter(|member| member.spec.id != id).count() >= 2)
    }

    fn order_of(&mut self, host: Host, change: fn(NodeId) -> MemberChange) {
        if let Some(id) = self.town.houses[host].id() {
            self.ordered_at = None;
            self.order(id, change(id));
        }
    }

    /// Has some other member ask for a change of this one, from time to time.
    fn order(&mut self, id: NodeId, change: MemberChange) {
        if self.ordered_at.is_some_and(|at| self.town.now() < at + ORDER_EVERY) {
            return;
        }
        let other = self.town.present().into_iter().find(|house| house.id().is_some_and(|other| other != id));
        if let Some(house) = other {
            self.ordered_at = Some(self.town.now());
            house.0.state.lock().orders.push_back(change);
        }
    }

    fn state(&self, id: NodeId) -> Option<MemberState> {
        self.topology()?.state(id)
    }

    /// The newest metadata that any member has.
    fn topology(&self) -> Option<Arc<Topology>> {
        let members = self.members();
        let topologies = members.iter().map(|member| Arc::clone(&member.node().meta().topology().borrow()));
        topologies.max_by_key(|topology| topology.revision)
    }

    fn members(&self) -> Vec<Arc<Member>> {
        self.town.present().iter().filter_map(House::member).collect()
    }

    /// Who left is told so when it comes again, or later if nobody was there who knew.
    fn check_removed(&mut self) {
        for host in self.town.gone.clone() {
            let house = self.town.houses[host].clone();
            let told = |_: &mut Self| matches!(house.0.state.lock().ended, Some(Ended::Refused(_) | Ended::Removed));
            if !self.run_until(CHANGE_MAX, told) && !self.failed() {
                self.town.history().violated(format!("{} left, and does not know", house.0.name));
            }
        }
    }

    fn check_elements(&mut self) {
        if self.failed() {
            return;
        }
        let elements = self.town.history().elements.clone();
        for (partition, elements) in &elements {
            let replicas: Vec<_> = self.replicas(PartitionId(*partition));
            for wrong in checks::elements::check(*partition, elements, &replicas) {
                self.town.history().violated(wrong);
            }
        }
    }

    fn replicas(&self, partition: PartitionId) -> Vec<(NodeId, Vec<u64>)> {
        let kept = self.town.present().into_iter().filter_map(|house| {
            let member = house.member()?;
            member.node().replica(partition)?;
            let stores = house.0.state.lock().stores.clone();
            let store = stores.lock().get(&partition)?.elements();
            Some((member.node().node_id(), store))
        });
        kept.collect()
    }

    fn check_registers(&mut self) {
        let registers = std::mem::take(&mut self.town.history().registers);
        for (document, accesses) in &registers {
            for wrong in checks::registers::check(document, accesses) {
                self.town.history().violated(wrong);
            }
        }
        self.town.history().registers = registers;
    }

    fn outcome(self) -> Outcome {
        let partitions: Vec<u16> = self.town.history().elements.keys().copied().collect();
        let kept: Vec<_> = partitions.into_iter().map(|partition| self.replicas(PartitionId(partition))).collect();
        let history = self.town.history();
        let digest = digest(&(&kept, &history.elements, &history.registers, &self.town.events));
        Outcome {
            violations: history.violations.clone(),
            events: self.town.events.clone(),
            answered: history.elements.values().map(|elements| elements.answered.len()).sum(),
            reads: history.reads,
            terms: self.town.terms(),
            lasted: self.town.now(),
            digest,
        }
    }
}

fn digest(of: &impl std::fmt::Debug) -> u64 {
    u64::from(crc32fast::hash(format!("{of:?}").as_bytes()))
}
