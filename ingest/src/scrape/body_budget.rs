//! The memory that the bodies of all targets may take together.
//!
//! A body takes its share as it grows and gives it back when it is dropped. When nothing is left a scrape waits for another one
//! to end, at most until its own timeout. Bounds each body on its own too.

use std::io::{self, Write};
use std::ops::Deref;
use std::sync::Arc;

use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of bodies that a node holds at once.
pub const BODIES_BYTES_MAX: usize = 512 << 20;

/// What is left for bodies. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct BodyBudget {
    left: Arc<Semaphore>,
    bytes_max: usize,
    /// What is taken.
    taken: IntGauge,
}

impl BodyBudget {
    /// At most 4 GiB.
    pub(super) fn new(bytes_max: usize, taken: IntGauge) -> Self {
        let bytes_max = bytes_max.min(u32::MAX as usize);
        Self { left: Arc::new(Semaphore::new(bytes_max)), bytes_max, taken }
    }

    /// An empty body with room for `bytes_expected`, that refuses to reach `bytes_max`.
    pub(super) async fn body(&self, bytes_expected: usize, bytes_max: usize) -> HeldBody {
        let expected = bytes_expected.min(bytes_max);
        let share = self.take(expected).await;
        HeldBody { bytes: Vec::with_capacity(expected), bytes_max, share, budget: self.clone() }
    }

    /// Waits for a share. One body may be larger than the whole: it then waits for all of it.
    async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        let share = self.left.clone().acquire_many_owned(bytes.min(self.bytes_max) as u32).await;
        let share = share.expect("the semaphore is never closed");
        self.taken.add(share.num_permits() as i64);
        share
    }
}

/// A body and its share of the budget.
#[derive(Debug)]
pub(super) struct HeldBody {
    bytes: Vec<u8>,
    bytes_max: usize,
    share: OwnedSemaphorePermit,
    budget: BodyBudget,
}

impl HeldBody {
    /// Takes the share of what has been written. Call it after each small piece.
    pub(super) async fn settle(&mut self) {
        let due = self.bytes.len().min(self.budget.bytes_max).saturating_sub(self.share.num_permits());
        if due > 0 {
            let more = self.budget.take(due).await;
            self.share.merge(more);
        }
    }
}

impl Drop for HeldBody {
    fn drop(&mut self) {
        self.budget.taken.sub(self.share.num_permits() as i64);
    }
}

impl Deref for HeldBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Refuses to reach the limit, as Prometheus does: a body of exactly the limit is too long.
impl Write for HeldBody {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + piece.len() >= self.bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_body_waits_until_another_one_is_dropped() {
        let taken = IntGauge::new("taken", "Bytes.").unwrap();
        let budget = BodyBudget::new(10, taken.clone());
        let mut first = budget.body(4, 100).now_or_never().unwrap();
        first.write_all(b"12345678").unwrap();
        assert!(first.settle().now_or_never().is_some());
        let mut second = budget.body(0, 100).now_or_never().unwrap();
        second.write_all(b"123").unwrap();
        assert!(second.settle().now_or_never().is_none());
        assert!(budget.body(3, 100).now_or_never().is_none());
        assert_eq!(taken.get(), 8);
        drop(first);
        assert!(second.settle().now_or_never().is_some());
        assert_eq!(taken.get(), 3);
        drop(second);
        assert_eq!(taken.get(), 0);
    }

    #[test]
    fn a_body_larger_than_the_budget_takes_all_of_it() {
        let budget = BodyBudget::new(10, IntGauge::new("taken", "Bytes.").unwrap());
        let mut body = budget.body(0, 100).now_or_never().unwrap();
        body.write_all(&[b'#'; 50]).unwrap();
        assert!(body.settle().now_or_never().is_some());
        assert!(budget.body(1, 100).now_or_never().is_none());
        assert!(body.write_all(&[b'#'; 50]).is_err());
    }
}
