//! The hosts of a run, and the network between them: starts them, breaks them, mends them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pharos_model::PartitionId;
use tokio::sync::watch;
use turmoil::Sim;

use super::checks::leaders::Seen;
use super::damage;
use super::faults::{Fault, Host};
use super::history::History;
use super::house::{Ended, House, HouseClock, Shared};
use super::network::PORT;
use crate::founding::Flags;
use crate::fs::sim::Sim as Disk;
use crate::node::{META_GROUP, group_of};

const TICK: Duration = Duration::from_millis(4);
const LATENCY_MIN: Duration = Duration::from_millis(1);
const LATENCY_MAX: Duration = Duration::from_millis(12);
/// Standings are looked at every so many ticks.
const LOOK_EVERY: u64 = 4;

pub(super) struct Town {
    sim: RefCell<Sim<'static>>,
    now_ms: Arc<AtomicU64>,
    shared: Shared,
    pub works: watch::Sender<bool>,
    pub houses: Vec<House>,
    /// Houses whose process does not run, and when it is started again; `None` for those that stay down.
    down: BTreeMap<Host, Option<Duration>>,
    /// Houses that left the cluster.
    pub gone: Vec<Host>,
    /// What was on some disk is lost, and may be on too few others yet.
    pub is_hurt: bool,
    /// What ends when.
    mends: Vec<(Duration, Fault)>,
    seen: Seen,
    random: fastrand::Rng,
    /// What happened, for people.
    pub events: Vec<String>,
    ticks: u64,
}

fn name(host: Host) -> String {
    format!("n{}", host + 1)
}

fn address(host: Host) -> String {
    format!("{}:{PORT}", name(host))
}

impl Town {
    pub(super) fn new(seed: u64, hosts: usize, partitions: u16) -> Self {
        let (works, working) = watch::channel(true);
        let sim = turmoil::Builder::new()
            .rng_seed(seed)
            .tick_duration(TICK)
            .min_message_latency(LATENCY_MIN)
            .max_message_latency(LATENCY_MAX)
            .tcp_capacity(1 << 16)
            .simulation_duration(Duration::from_secs(86_400))
            .enable_random_order()
            .build();
        let shared = Shared { seed, partitions, history: Arc::new(Mutex::new(History::default())), works: working };
        let mut town = Self {
            sim: RefCell::new(sim),
            now_ms: Arc::new(AtomicU64::new(0)),
            shared,
            works,
            houses: Vec::new(),
            down: BTreeMap::new(),
            gone: Vec::new(),
            is_hurt: false,
            mends: Vec::new(),
            seen: Seen::default(),
            random: fastrand::Rng::with_seed(!seed),
            events: Vec::new(),
            ticks: 0,
        };
        let list: Vec<String> = (0..hosts).map(address).collect();
        for host in 0..hosts {
            town.build(Flags { initial_nodes: list.clone(), ..flags(host) });
        }
        town
    }

    /// A house more, whose process starts at once.
    fn build(&mut self, flags: Flags) {
        let host = self.houses.len();
        let clock = Arc::new(HouseClock { now_ms: Arc::clone(&self.now_ms), ..HouseClock::default() });
        let house = House::new(name(host), flags, clock, self.shared.clone());
        self.houses.push(house.clone());
        let live = move || {
            let house = house.clone();
            async move {
                house.live().await;
                Ok(())
            }
        };
        self.sim.get_mut().host(name(host), live);
    }

    /// A node that comes later.
    pub(super) fn join(&mut self) -> Host {
        let host = self.houses.len();
        let through = (0..host).filter(|host| !self.gone.contains(host)).map(address).collect();
        self.build(Flags { join: through, ..flags(host) });
        self.tell(format!("{} comes", name(host)));
        host
    }

    pub(super) fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms.load(Ordering::SeqCst))
    }

    pub(super) fn tell(&mut self, event: String) {
        let now = self.now();
        self.events.push(format!("{:>8.3} {event}", now.as_secs_f64()));
    }

    pub(super) fn history(&self) -> parking_lot::MutexGuard<'_, History> {
        self.shared.history.lock()
    }

    /// Houses that are to be in the cluster.
    pub(super) fn present(&self) -> Vec<House> {
        let present = self.houses.iter().enumerate().filter(|(host, _)| !self.gone.contains(host));
        present.map(|(_, house)| house.clone()).collect()
    }

    /// Terms of groups that had a leader.
    pub(super) fn terms(&self) -> usize {
        self.seen.terms()
    }

    /// One tick of the clock.
    pub(super) fn step(&mut self) {
        self.now_ms.fetch_add(TICK.as_millis() as u64, Ordering::SeqCst);
        self.ticks += 1;
        if let Err(error) = self.sim.get_mut().step() {
            self.history().violated(format!("a host failed: {error}"));
        }
        let now = self.now();
        for host in 0..self.houses.len() {
            self.attend(host);
        }
        let due: Vec<Host> =
            self.down.iter().filter(|(_, at)| at.is_some_and(|at| at <= now)).map(|(host, _)| *host).collect();
        for host in due {
            self.start(host);
        }
        let mut ended = Vec::new();
        self.mends.retain(|(at, fault)| {
            let over = *at <= now;
            if over {
                ended.push(fault.clone());
            }
            !over
        });
        for fault in ended {
            self.mend(&fault);
        }
        if self.ticks.is_multiple_of(LOOK_EVERY) {
            self.look();
        }
    }

    /// Looks after a process that ended by itself, or whose machine lost power.
    fn attend(&mut self, host: Host) {
        if self.down.contains_key(&host) {
            return;
        }
        let house = self.houses[host].clone();
        let ended = house.0.state.lock().ended.clone();
        let pause = Duration::from_millis(self.random.u64(20..3000));
        match ended {
            Some(Ended::Refused(_)) if self.gone.contains(&host) => {}
            // Whoever had it removed takes note of it soon.
            Some(Ended::Removed) => {}
            Some(Ended::Refused(reason)) => {
                self.history().violated(format!("{} is refused: {reason}", name(host)));
                self.stop(host, house.disk().kill(), None);
            }
            Some(Ended::Failed(reason)) => {
                self.tell(format!("{} ended: {reason}", name(host)));
                let seed = self.random.u64(..);
                let disk = if house.disk().is_dark() { house.disk().reboot(seed) } else { house.disk().kill() };
                self.stop(host, disk, Some(pause));
            }
            None if house.disk().is_dark() => {
                self.tell(format!("{} is dark", name(host)));
                self.stop(host, house.disk().reboot(0), Some(pause));
            }
            None => {}
        }
    }

    /// Ends the process of a host at once. `disk` is what it finds at the next start.
    pub(super) fn stop(&mut self, host: Host, disk: Disk, again_after: Option<Duration>) {
        let house = self.houses[host].clone();
        let member = {
            let mut state = house.0.state.lock();
            (state.disk, state.ended) = (Some(disk), None);
            state.orders.clear();
            state.member.take()
        };
        drop(member);
        self.sim.get_mut().crash(name(host));
        house.0.state.lock().stores = super::house::Stores::default();
        self.down.insert(host, again_after.map(|pause| self.now() + pause));
    }

    pub(super) fn start(&mut self, host: Host) {
        self.tell(format!("{} starts", name(host)));
        self.down.remove(&host);
        self.sim.get_mut().bounce(name(host));
    }

    /// The machine is lost; an empty one comes at its address.
    pub(super) fn replace(&mut self, host: Host) {
        self.tell(format!("{} is replaced", name(host)));
        self.is_hurt = true;
        self.stop(host, Disk::new(), Some(Duration::from_millis(500)));
    }

    /// The host has left: its process ends, and is started once more.
    pub(super) fn leave(&mut self, host: Host) {
        self.tell(format!("{} has left", name(host)));
        self.gone.push(host);
        let disk = self.houses[host].disk().kill();
        self.stop(host, disk, Some(Duration::from_secs(1)));
    }

    fn look(&mut self) {
        let members: Vec<_> = self.houses.iter().filter_map(House::member).collect();
        for member in members {
            let node = member.node().node_id();
            for group in member.node().groups() {
                let applied = *group.applied().borrow();
                if let Some(wrong) = self.seen.note(node, group.id(), &group.standing(), applied) {
                    self.history().violated(wrong);
                }
            }
        }
    }

    /// Whether every group has three voters at least, none on its way in or out.
    pub(super) fn has_three_of_all(&self) -> bool {
        let members: Vec<_> = self.present().iter().filter_map(House::member).collect();
        let newest = members.iter().map(|member| Arc::clone(&member.node().meta().topology().borrow()));
        let Some(topology) = newest.max_by_key(|topology| topology.revision) else { return false };
        let has_three = |group| {
            let open = members.iter().flat_map(|member| member.node().groups()).filter(|open| open.id() == group);
            let newest = open.filter_map(|group| group.report()).max_by_key(|report| report.term);
            newest.is_some_and(|report| report.settled && report.voters.len() >= 3)
        };
        let placed = (0..).map(PartitionId).zip(&topology.placement);
        let mut partitions = placed.map(|(at, placed)| placed.moving.is_none() && has_three(group_of(at)));
        !topology.placement.is_empty() && has_three(META_GROUP) && partitions.all(|has_three| has_three)
    }

    pub(super) fn begin(&mut self, fault: &Fault, lasts: Duration) {
        let up = |hosts: &[Host]| -> Vec<Host> {
            hosts.iter().copied().filter(|host| !self.down.contains_key(host) && !self.gone.contains(host)).collect()
        };
        self.events.push(format!("{:>8.3} {fault:?} for {lasts:?}", self.now().as_secs_f64()));
        match fault {
            Fault::PowerLoss(hosts) => {
                for host in up(hosts) {
                    let disk = self.houses[host].disk().reboot(self.random.u64(..));
                    self.stop(host, disk, Some(lasts));
                }
            }
            Fault::Kill(hosts) => {
                for host in up(hosts) {
                    let disk = self.houses[host].disk().kill();
                    self.stop(host, disk, Some(lasts));
                }
            }
            Fault::PowerLossSoon { host, operations } => {
                let seed = self.random.u64(..);
                self.houses[*host].disk().lose_power_after(*operations, seed);
            }
            Fault::Split(side) => self.cut(|a, b| side.contains(&a) != side.contains(&b)),
            Fault::LeaderAlone => {
                let leads = |house: &House| {
                    let member = house.member()?;
                    Some(member.node().groups().iter().filter(|group| group.standing().leads).count())
                };
                let leader = (0..self.houses.len()).max_by_key(|host| leads(&self.houses[*host])).unwrap_or(0);
                self.cut(|a, b| a == leader || b == leader);
            }
            Fault::Mute(host) => self.cut(|from, _| from == *host),
            Fault::Deaf(host) => self.cut(|_, to| to == *host),
            Fault::Ring => {
                let hosts = self.houses.len();
                self.cut(|a, b| (a + 1) % hosts != b && (b + 1) % hosts != a);
            }
            Fault::SlowLink(a, b, latency) => self.sim.borrow().set_link_latency(name(*a), name(*b), *latency),
            Fault::LossyLink(a, b, one_in) => {
                self.sim.get_mut().set_link_fail_rate(name(*a), name(*b), 1.0 / f64::from(*one_in));
            }
            Fault::HeldLink(a, b) => self.sim.borrow().hold(name(*a), name(*b)),
            Fault::ClockJump(host, by) => drop(self.houses[*host].0.clock.off_ms.fetch_add(*by, Ordering::SeqCst)),
            Fault::SlowDisk(host, most) => {
                let seed = self.random.u64(..);
                self.houses[*host].disk().set_latency(Duration::from_millis(1), *most, seed);
            }
            Fault::FullDisk(host, bytes) => self.houses[*host].disk().set_space_left(Some(*bytes)),
            Fault::BrokenDisk(host) => self.houses[*host].disk().set_write_error(Some(std::io::ErrorKind::Other)),
            Fault::FailedSync(host) => self.houses[*host].disk().fail_next_sync(),
            Fault::Damage(host) => {
                // One that was never open yet may come back without a log: it does not know whether it had one.
                let runs = !up(&[*host]).is_empty() && self.houses[*host].member().is_some();
                if !runs || self.is_hurt || !self.has_three_of_all() {
                    return;
                }
                let disk = self.houses[*host].disk().kill();
                if let Some(harm) = damage::harm(&disk, &mut self.random) {
                    self.tell(format!("on {} {harm}", name(*host)));
                    self.is_hurt = true;
                }
                self.stop(*host, disk, Some(lasts));
            }
        }
        self.mends.push((self.now() + lasts, fault.clone()));
    }

    /// Cuts what goes from one host to another where `is_cut` says so.
    fn cut(&self, is_cut: impl Fn(Host, Host) -> bool) {
        for (from, to) in self.pairs().filter(|(from, to)| is_cut(*from, *to)) {
            self.sim.borrow().partition_oneway(name(from), name(to));
        }
    }

    /// All ordered pairs.
    fn pairs(&self) -> impl Iterator<Item = (Host, Host)> + use<> {
        let hosts = self.houses.len();
        (0..hosts).flat_map(move |from| (0..hosts).filter(move |to| *to != from).map(move |to| (from, to)))
    }

    fn mend(&mut self, fault: &Fault) {
        match fault {
            Fault::Split(_) | Fault::LeaderAlone | Fault::Mute(_) | Fault::Deaf(_) | Fault::Ring => self.reconnect(),
            Fault::HeldLink(a, b) => self.sim.borrow().release(name(*a), name(*b)),
            Fault::SlowLink(a, b, _) => self.sim.borrow().set_link_latency(name(*a), name(*b), LATENCY_MAX / 2),
            Fault::LossyLink(a, b, _) => self.sim.get_mut().set_link_fail_rate(name(*a), name(*b), 0.0),
            Fault::SlowDisk(host, _) => {
                let seed = self.random.u64(..);
                self.houses[*host].disk().set_latency(Duration::from_micros(100), Duration::from_millis(4), seed);
            }
            Fault::FullDisk(host, _) => self.houses[*host].disk().set_space_left(None),
            Fault::BrokenDisk(host) => self.houses[*host].disk().set_write_error(None),
            // They end by themselves, or stay.
            Fault::PowerLoss(_) | Fault::PowerLossSoon { .. } | Fault::Kill(_) => {}
            Fault::ClockJump(..) | Fault::FailedSync(_) | Fault::Damage(_) => {}
        }
    }

    fn reconnect(&self) {
        for (from, to) in self.pairs() {
            self.sim.borrow().repair_oneway(name(from), name(to));
        }
    }

    /// Nothing goes wrong any more.
    pub(super) fn mend_all(&mut self) {
        self.tell("all is mended".to_owned());
        for (_, fault) in std::mem::take(&mut self.mends) {
            self.mend(&fault);
        }
        self.reconnect();
        for (host, house) in self.houses.iter().enumerate() {
            house.0.state.lock().disk.as_ref().expect("a house has a disk").spare_power();
            if let Some(Some(at)) = self.down.get_mut(&host) {
                *at = Duration::ZERO;
            }
        }
    }
}

fn flags(host: Host) -> Flags {
    Flags { name: "main".to_owned(), address: address(host), ..Flags::default() }
}
