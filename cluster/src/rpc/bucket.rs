//! A token bucket: so many bytes a second, and no more than a moment's worth at once.

use std::num::NonZeroU64;
use std::time::Duration;

use parking_lot::Mutex;

/// How much may be sent at once after a pause.
const BURST: Duration = Duration::from_millis(100);

/// Shared by all who send; whoever takes more than there is goes into debt, and waits until it is paid.
#[derive(Debug)]
pub(super) struct Bucket {
    bytes_per_second: NonZeroU64,
    /// When everything that was taken so far will have been paid, on the clock that `take` is given.
    paid_at: Mutex<Duration>,
}

impl Bucket {
    pub(super) fn new(bytes_per_second: NonZeroU64) -> Self {
        Self { bytes_per_second, paid_at: Mutex::new(Duration::ZERO) }
    }

    /// Takes `bytes` at the time `now` and says how long to wait before they are sent.
    pub(super) fn take(&self, bytes: usize, now: Duration) -> Duration {
        let price = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second.get() as f64);
        let mut paid_at = self.paid_at.lock();
        let from = (*paid_at).max(now.saturating_sub(BURST));
        *paid_at = from + price;
        from.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_over_time_whatever_the_pieces() {
        for piece in [1_000, 64_000, 900_000] {
            let bucket = Bucket::new(NonZeroU64::new(1_000_000).expect("not 0"));
            let (mut now, mut sent) = (Duration::from_secs(5), 0);
            while sent < 20_000_000 {
                now += bucket.take(piece, now);
                sent += piece;
            }
            let seconds = (now - Duration::from_secs(5)).as_secs_f64();
            assert!((18.9..=20.1).contains(&seconds), "{piece}: {seconds}");
        }
    }

    #[test]
    fn a_pause_is_worth_a_moment_only() {
        let bucket = Bucket::new(NonZeroU64::new(1_000_000).expect("not 0"));
        let now = Duration::from_secs(1_000);
        assert_eq!(bucket.take(100_000, now), Duration::ZERO);
        assert_eq!(bucket.take(100_000, now), Duration::ZERO, "paid from the moment's worth");
        assert_eq!(bucket.take(100_000, now), Duration::from_millis(100));
    }
}
