//! The order of faults, drawn from the seed. Pure: the same seed and setting give the same steps.

use std::time::Duration;

use super::partition::{Grudges, Shape, grudges};
use super::{Fault, Reach};

/// Clocks jump by one of these. None farther ahead: a head that has scraped tomorrow takes nothing of today, as Prometheus' does, and
/// the rest of the run would be refused.
const CLOCK_JUMPS_S: [i64; 5] = [1800, -3600, -100 * 86_400, 30, -30];
const SLOW_BYTES_PER_SECOND: std::ops::Range<u64> = 256 << 10..1 << 20;
const LOSS_PERCENT: std::ops::Range<u8> = 5..40;

/// One fault from beginning to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Nothing goes wrong for so long before.
    pub quiet: Duration,
    pub fault: Fault,
    /// Indexes of nodes. Where two are struck, the first loses its power.
    pub victims: Vec<usize>,
    pub hold: Duration,
    pub detail: Detail,
}

/// What else was drawn for a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    None,
    Cut { shape: Shape, grudges: Grudges },
    LossPercent(u8),
    BytesPerSecond(u64),
    ClockSeconds(i64),
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
        if fault.is_final() {
            self.faults.retain(|&other| other != fault);
        }
        let quiet = self.quiet.mul_f64(0.5 + self.rng.f64());
        let hold = Duration::from_millis(self.rng.u64(fault.hold_ms()));
        let mut order: Vec<usize> = (0..nodes).collect();
        self.rng.shuffle(&mut order);
        let detail = self.detail(fault, &order);
        match fault.reach() {
            Reach::One => order.truncate(1),
            Reach::Two => order.truncate(2),
            Reach::All | Reach::Links => order.sort_unstable(),
        }
        Some(Step { quiet, fault, victims: order, hold, detail })
    }

    fn detail(&mut self, fault: Fault, order: &[usize]) -> Detail {
        match fault {
            Fault::Partition => {
                let shape = Shape::ALL[self.rng.usize(..Shape::ALL.len())];
                Detail::Cut { shape, grudges: grudges(shape, order) }
            }
            Fault::Loss => Detail::LossPercent(self.rng.u8(LOSS_PERCENT)),
            Fault::SlowDisk => Detail::BytesPerSecond(self.rng.u64(SLOW_BYTES_PER_SECOND)),
            Fault::Clock => Detail::ClockSeconds(CLOCK_JUMPS_S[self.rng.usize(..CLOCK_JUMPS_S.len())]),
            _ => Detail::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let (first, later) = steps.split_at(Fault::ALL.len());
        let mut faults: Vec<Fault> = first.iter().map(|step| step.fault).collect();
        faults.sort_unstable();
        assert_eq!(faults, Fault::ALL);
        assert!(!later.iter().any(|step| step.fault.is_final()), "what cannot be undone comes once: {later:?}");
        for step in &steps {
            let expected = match step.fault.reach() {
                Reach::One => 1,
                Reach::Two => 2,
                Reach::All | Reach::Links => 5,
            };
            assert_eq!(step.victims.len(), expected, "{step:?}");
            assert!((1.0..=3.0).contains(&step.quiet.as_secs_f64()), "{step:?}");
        }
    }
}
