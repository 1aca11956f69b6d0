//! What goes wrong in a run: a pure function of the seed.

use std::time::Duration;

/// A host by its number, from 0 on.
pub(super) type Host = usize;

/// What goes wrong, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The machines lose power, and with it what was not synced.
    PowerLoss(Vec<Host>),
    /// The machine loses power in the middle of a write, so many operations from now.
    PowerLossSoon { host: Host, operations: u64 },
    /// The processes are killed; the machines go on.
    Kill(Vec<Host>),
    /// These hosts hear and reach none of the others.
    Split(Vec<Host>),
    /// Whoever leads most groups hears and reaches nobody.
    LeaderAlone,
    /// Nothing of what the host sends arrives.
    Mute(Host),
    /// Nothing of what is sent to the host arrives.
    Deaf(Host),
    /// Each host reaches its two neighbours only.
    Ring,
    /// What the two send each other takes so long.
    SlowLink(Host, Host, Duration),
    /// One message in so many is lost between the two, which breaks their connections.
    LossyLink(Host, Host, u32),
    /// What the two send each other is held back and comes at the end, all at once.
    HeldLink(Host, Host),
    /// The host's wall clock jumps.
    ClockJump(Host, i64),
    /// Every write with its sync takes so long at most.
    SlowDisk(Host, Duration),
    /// The disk has room for so many bytes more.
    FullDisk(Host, u64),
    /// Every write fails.
    BrokenDisk(Host),
    /// The next sync fails: the process has to end.
    FailedSync(Host),
    /// The process is killed, and finds some of what it had on disk damaged. Not while another disk's loss is being made up for, nor where
    /// two replicas are all there are.
    Damage(Host),
}

/// A change of the cluster that an operator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Join,
    Drain(Host),
    Undrain(Host),
    /// Drains the host, removes it, and tries to start it again.
    Remove(Host),
    /// The machine is lost; an empty one comes at its address.
    Replace(Host),
}

/// A fault, how long it lasts, and the pause after its begin before the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Timed {
    pub fault: Fault,
    pub lasts: Duration,
    pub pause: Duration,
}

/// A change and the faults that happen while it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Act {
    pub change: Option<Change>,
    pub faults: Vec<Timed>,
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Hosts that begin the cluster.
    pub hosts: usize,
    pub partitions: u16,
    /// Faults come while the cluster is being founded, too.
    pub rough_start: bool,
    pub acts: Vec<Act>,
}

/// Hosts at most, those that join later too.
const HOSTS_MAX: usize = 6;

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let hosts = random.usize(3..=5);
        let mut plan =
            Self { hosts, partitions: random.u16(3..=5), rough_start: random.u8(..4) == 0, acts: Vec::new() };
        let mut crowd = Crowd { hosts, present: (0..hosts).collect(), drained: Vec::new() };
        for _ in 0..random.usize(1..=3) {
            let change = (random.u8(..4) > 0).then(|| crowd.change(&mut random)).flatten();
            let mut faults: Vec<Timed> = (0..random.usize(1..=8)).map(|_| timed(&mut random, crowd.hosts)).collect();
            // Where two are left, or will be, what one of them lost may be lost altogether.
            if crowd.active() < 3 {
                faults.retain(|timed| !matches!(timed.fault, Fault::Damage(_)));
            }
            plan.acts.push(Act { change, faults });
        }
        plan
    }

    /// All machines lose power at once.
    pub(super) fn blackout() -> Self {
        let seconds = Duration::from_secs;
        let calm = Timed { fault: Fault::ClockJump(0, 0), lasts: seconds(1), pause: seconds(5) };
        let dark = Timed { fault: Fault::PowerLoss(vec![0, 1, 2]), lasts: seconds(1), pause: seconds(2) };
        let act = Act { change: None, faults: vec![calm, dark] };
        Self { hosts: 3, partitions: 3, rough_start: false, acts: vec![act] }
    }
}

/// Who is there as the plan goes on.
struct Crowd {
    hosts: usize,
    present: Vec<Host>,
    drained: Vec<Host>,
}

impl Crowd {
    fn active(&self) -> usize {
        self.present.len() - self.drained.len()
    }

    fn change(&mut self, random: &mut fastrand::Rng) -> Option<Change> {
        let host = self.present[random.usize(..self.present.len())];
        match random.u8(..5) {
            0 if self.hosts < HOSTS_MAX => {
                self.present.push(self.hosts);
                self.hosts += 1;
                Some(Change::Join)
            }
            1 if !self.drained.contains(&host) && self.active() > 2 => {
                self.drained.push(host);
                Some(Change::Drain(host))
            }
            2 => {
                let host = self.drained.pop()?;
                Some(Change::Undrain(host))
            }
            3 if self.present.len() > 3 => {
                self.present.retain(|present| *present != host);
                self.drained.retain(|drained| *drained != host);
                Some(Change::Remove(host))
            }
            // With two active nodes all voters are on both, and none can be lost.
            4 if self.active() >= 3 => {
                self.drained.retain(|drained| *drained != host);
                Some(Change::Replace(host))
            }
            _ => None,
        }
    }
}

fn timed(random: &mut fastrand::Rng, hosts: usize) -> Timed {
    let fault = fault(random, hosts);
    let lasts = Duration::from_millis(if random.bool() { random.u64(50..2000) } else { random.u64(1000..9000) });
    Timed { fault, lasts, pause: Duration::from_millis(random.u64(10..4000)) }
}

fn fault(random: &mut fastrand::Rng, hosts: usize) -> Fault {
    let host = random.usize(..hosts);
    let other = (host + random.usize(1..hosts)) % hosts;
    let ms = |random: &mut fastrand::Rng, most| Duration::from_millis(random.u64(20..most));
    match random.u8(..22) {
        0 | 1 => Fault::PowerLoss(vec![host]),
        2 => Fault::PowerLoss(some(random, hosts)),
        3 | 4 => Fault::PowerLossSoon { host, operations: random.u64(..60) },
        5 => Fault::Kill(vec![host]),
        6 => Fault::Kill(some(random, hosts)),
        7 | 8 => Fault::Split(some(random, hosts)),
        9 | 10 => Fault::LeaderAlone,
        11 => Fault::Mute(host),
        12 => Fault::Deaf(host),
        13 => Fault::Ring,
        14 => Fault::SlowLink(host, other, ms(random, 800)),
        15 => Fault::LossyLink(host, other, random.u32(5..200)),
        16 => Fault::HeldLink(host, other),
        17 => Fault::ClockJump(host, random.i64(-86_400_000..86_400_000)),
        18 => Fault::SlowDisk(host, ms(random, 3000)),
        19 | 20 => Fault::Damage(host),
        _ => match random.u8(..3) {
            0 => Fault::FullDisk(host, random.u64(..100_000)),
            1 => Fault::BrokenDisk(host),
            _ => Fault::FailedSync(host),
        },
    }
}

/// Some hosts, perhaps all.
fn some(random: &mut fastrand::Rng, hosts: usize) -> Vec<Host> {
    let mut all: Vec<Host> = (0..hosts).collect();
    random.shuffle(&mut all);
    all.truncate(random.usize(1..=hosts));
    all.sort_unstable();
    all
}

mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_function_of_its_seed() {
        assert_eq!(Plan::of(7), Plan::of(7));
        assert_ne!(Plan::of(7), Plan::of(8));
    }

    #[test]
    fn every_kind_of_change_comes_in_some_plan() {
        let changes: Vec<Change> = (0..200).flat_map(|seed| Plan::of(seed).acts).filter_map(|act| act.change).collect();
        let kinds: [fn(&Change) -> bool; 5] = [
            |change| matches!(change, Change::Join),
            |change| matches!(change, Change::Drain(_)),
            |change| matches!(change, Change::Undrain(_)),
            |change| matches!(change, Change::Remove(_)),
            |change| matches!(change, Change::Replace(_)),
        ];
        for (at, kind) in kinds.iter().enumerate() {
            assert!(changes.iter().any(kind), "kind {at}");
        }
    }
}
