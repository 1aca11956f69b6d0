//! Read points that callers share: a query asks once for each partition, and many queries run at once.
//!
//! Invariant: a caller takes part in a read point that begins after it came, never in one that is under way.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;

use crate::group::ReadError;

/// A read point and everybody who takes part in it. Goes on while one of them waits.
type Round = Shared<BoxFuture<'static, Result<(), ReadError>>>;

/// One read point at a time, and one round of callers that waits for the next.
#[derive(Debug, Default)]
pub(super) struct ReadRounds {
    waiting: Mutex<Option<Round>>,
    turn: tokio::sync::Mutex<()>,
}

impl ReadRounds {
    /// Returns what a read point says that begins after this was called: `read`, or that of a caller who came before.
    pub(super) async fn join<F>(self: &Arc<Self>, read: impl FnOnce() -> F + Send + 'static) -> Result<(), ReadError>
    where
        F: Future<Output = Result<(), ReadError>> + Send + 'static,
    {
        let begin = || {
            let rounds = Arc::clone(self);
            let round = async move {
                let _turn = rounds.turn.lock().await;
                // Whoever comes from here on needs a read point that begins later.
                rounds.waiting.lock().take();
                read().await
            };
            round.boxed().shared()
        };
        let round = self.waiting.lock().get_or_insert_with(begin).clone();
        round.await
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::{join, poll};
    use tokio::sync::Semaphore;

    use super::*;

    #[derive(Default)]
    struct Reads {
        begun: Arc<AtomicUsize>,
        rounds: Arc<ReadRounds>,
    }

    impl Reads {
        /// Joins with a read point that ends when the gate lets it.
        async fn join(&self, gate: &Arc<Semaphore>) {
            let (begun, gate) = (self.begun.clone(), gate.clone());
            let read = move || async move {
                begun.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.expect("the gate stays open").forget();
                Ok(())
            };
            self.rounds.join(read).await.unwrap();
        }

        fn begun(&self) -> usize {
            self.begun.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn all_who_come_during_a_read_point_share_the_next() {
        let (reads, gate) = (Reads::default(), Arc::new(Semaphore::new(0)));
        let mut first = pin!(reads.join(&gate));
        assert!(poll!(&mut first).is_pending());
        let (mut second, mut third) = (pin!(reads.join(&gate)), pin!(reads.join(&gate)));
        assert!(poll!(&mut second).is_pending() && poll!(&mut third).is_pending());
        assert_eq!(reads.begun(), 1);
        gate.add_permits(1);
        first.await;
        assert!(poll!(&mut second).is_pending() && poll!(&mut third).is_pending());
        assert_eq!(reads.begun(), 2);
        let mut late = pin!(reads.join(&gate));
        assert!(poll!(&mut late).is_pending());
        gate.add_permits(2);
        join!(second, third, late);
        assert_eq!(reads.begun(), 3, "who came during the second had to wait for a third");
    }

    #[tokio::test]
    async fn who_leaves_takes_no_read_point_along() {
        let (reads, gate) = (Reads::default(), Arc::new(Semaphore::new(0)));
        let mut stays = Box::pin(reads.join(&gate));
        let mut leads = Box::pin(reads.join(&gate));
        assert!(poll!(&mut leads).is_pending() && poll!(&mut stays).is_pending());
        drop(leads);
        gate.add_permits(1);
        stays.await;
        let mut given_up = Box::pin(reads.join(&gate));
        assert!(poll!(&mut given_up).is_pending());
        drop(given_up);
        gate.add_permits(1);
        reads.join(&gate).await;
    }
}
