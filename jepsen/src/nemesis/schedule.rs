//! The order of faults, drawn from the seed. Pure: the same seed and setting give the same steps.

use std::time::Duration;

use super::partition::Shape;
use super::{Fault, Reach};
use crate::env::node::Clock;

/// Clocks jump by one of these. None farther ahead: a head that has scraped tomorrow takes nothing of today, as Prometheus' does, and
/// the rest of the run would be refused.
const CLOCK_JUMPS_S: [i64; 5] = [1800, -3600, -100 * 86_400, 30, -30];
/// Or they run at one of these rates.
const CLOCK_RATES: [f64; 2] = [1.1, 0.9];
const SLOW_BYTES_PER_SECOND: std::ops::Range<u64> = 256 << 10..1 << 20;
const SLOW_LINK_KILOBYTES: std::ops::Range<u32> = 64..512;
const LOSS_PERCENT: std::ops::Range<u8> = 5..40;

/// One fault from beginning to end.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Nothing goes wrong for so long before.
    pub quiet: Duration,
    pub fault: Fault,
    /// Indexes of all nodes, those first that are struck. Where two are struck, the first loses its power; where links are cut, the
    /// first ones are in the minority.
    pub order: Vec<usize>,
    pub hold: Duration,
    pub detail: Detail,
}

/// What else was drawn for a fault.
#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    None,
    Cut(Shape),
    LossPercent(u8),
    LinkKilobytes(u32),
    BytesPerSecond(u64),
    Clock(Clock),
    /// How a node leaves, and whether another one is killed meanwhile.
    Leave {
        dead: bool,
        disturbed: bool,
    },
}

impl Step {
    pub fn victims(&self) -> &[usize] {
        let nodes = self.order.len();
        let count = match self.fault.reach() {
            Reach::One => 1,
            Reach::Two => 2,
            Reach::Majority => nodes / 2 + 1,
            Reach::All | Reach::Across => nodes,
        };
        &self.order[..count]
    }

    /// The same with this node struck first.
    pub fn aimed_at(mut self, node: usize) -> Self {
        self.order.retain(|&other| other != node);
        self.order.insert(0, node);
        self
    }
}

/// Steps without end.
#[derive(Debug)]
pub struct Schedule {
    rng: fastrand::Rng,
    faults: Vec<Fault>,
    quiet: Duration,
    /// Drawn from until empty, so that a short run has every fault too.
    left: Vec<Fault>,
}

impl Schedule {
    /// `quiet` is the mean time between faults.
    pub fn new(rng: fastrand::Rng, faults: Vec<Fault>, quiet: Duration) -> Self {
        Self { rng, faults, quiet, left: Vec::new() }
    }

    /// The next step among so many nodes; `None` without faults.
    pub fn next(&mut self, nodes: usize) -> Option<Step> {
        if self.left.is_empty() {
            self.left = self.faults.clone();
            self.rng.shuffle(&mut self.left);
        }
        let fault = self.left.pop()?;
        let quiet = self.quiet.mul_f64(0.5 + self.rng.f64());
        let hold = Duration::from_millis(self.rng.u64(fault.hold_ms()));
        let mut order: Vec<usize> = (0..nodes).collect();
        self.rng.shuffle(&mut order);
        Some(Step { quiet, fault, order, hold, detail: self.detail(fault) })
    }

    fn detail(&mut self, fault: Fault) -> Detail {
        match fault {
            Fault::Partition => Detail::Cut(Shape::ALL[self.rng.usize(..Shape::ALL.len())]),
            Fault::LeaderAlone => Detail::Cut(Shape::Alone),
            Fault::Loss(_) => Detail::LossPercent(self.rng.u8(LOSS_PERCENT)),
            Fault::SlowLink(_) => Detail::LinkKilobytes(self.rng.u32(SLOW_LINK_KILOBYTES)),
            Fault::SlowDisk => Detail::BytesPerSecond(self.rng.u64(SLOW_BYTES_PER_SECOND)),
            Fault::Clock => Detail::Clock(match self.rng.usize(..CLOCK_JUMPS_S.len() + CLOCK_RATES.len()) {
                jump if jump < CLOCK_JUMPS_S.len() => Clock::Off(CLOCK_JUMPS_S[jump]),
                rate => Clock::Rate(CLOCK_RATES[rate - CLOCK_JUMPS_S.len()]),
            }),
            Fault::Replace => Detail::Leave { dead: true, disturbed: self.rng.bool() },
            Fault::Resize => Detail::Leave { dead: self.rng.bool(), disturbed: self.rng.bool() },
            _ => Detail::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nemesis::Extent;

    fn steps(seed: u64, nodes: usize) -> Vec<Step> {
        let mut schedule = Schedule::new(fastrand::Rng::with_seed(seed), Fault::ALL.to_vec(), Duration::from_secs(2));
        (0..2 * Fault::ALL.len()).filter_map(|_| schedule.next(nodes)).collect()
    }

    #[test]
    fn a_seed_gives_the_same_steps() {
        assert_eq!(steps(7, 3), steps(7, 3));
        assert_ne!(steps(7, 3), steps(8, 3));
    }

    #[test]
    fn every_fault_has_its_turn_and_its_victims() {
        let steps = steps(7, 5);
        let mut faults: Vec<Fault> = steps[..Fault::ALL.len()].iter().map(|step| step.fault).collect();
        faults.sort_unstable();
        assert_eq!(faults, Fault::ALL);
        for step in &steps {
            let expected = match step.fault.reach() {
                Reach::One => 1,
                Reach::Two => 2,
                Reach::Majority => 3,
                Reach::All | Reach::Across => 5,
            };
            assert_eq!(step.victims().len(), expected, "{step:?}");
            assert!((1.0..=3.0).contains(&step.quiet.as_secs_f64()), "{step:?}");
        }
    }

    #[test]
    fn a_step_can_be_aimed() {
        let step =
            Schedule::new(fastrand::Rng::with_seed(1), vec![Fault::Kill(Extent::Leader)], Duration::ZERO).next(3);
        let step = step.unwrap().aimed_at(2);
        assert_eq!(step.victims(), [2]);
        assert_eq!(step.order.len(), 3);
    }
}
