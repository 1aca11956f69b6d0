//! How long to wait before the next try: doubling, with jitter, so that nodes do not come back in step.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self { min, max, next: min, random: fastrand::Rng::with_seed(seed) }
    }

    /// Between half of the step and all of it; the next step is twice as long.
    pub(super) fn wait(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.max);
        step.mul_f64(0.5 + self.random.f64() / 2.0)
    }

    pub(super) fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(seed: u64) -> Vec<Duration> {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1), seed);
        (0..8).map(|_| backoff.wait()).collect()
    }

    #[test]
    fn waits_double_up_to_the_longest_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1), 7);
        for step in [50, 100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.wait();
            assert!(wait >= Duration::from_millis(step / 2) && wait <= Duration::from_millis(step), "{step}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_millis(50));
    }

    #[test]
    fn the_seed_decides_the_jitter() {
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
