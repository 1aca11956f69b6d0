//! Questions that callers share: what waits for one party while a call to it is under way goes there in the next, once each.
//!
//! Invariant: a caller gets the answer of a call that began after it came, never of one that was under way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;

type Answers<Q, A, E> = Result<Arc<BTreeMap<Q, A>>, E>;
/// A call and everybody who takes part in it. Goes on while one of them waits.
type Round<Q, A, E> = Shared<BoxFuture<'static, Answers<Q, A, E>>>;

/// One call at a time, and one round of callers that waits for the next.
pub(crate) struct Rounds<Q, A, E> {
    waiting: Mutex<Option<Waiting<Q, A, E>>>,
    turn: tokio::sync::Mutex<()>,
}

struct Waiting<Q, A, E> {
    questions: BTreeSet<Q>,
    round: Round<Q, A, E>,
}

impl<Q, A, E> Default for Rounds<Q, A, E> {
    fn default() -> Self {
        Self { waiting: Mutex::new(None), turn: tokio::sync::Mutex::new(()) }
    }
}

impl<Q, A, E> Rounds<Q, A, E>
where
    Q: Clone + Ord + Send + Sync + 'static,
    A: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    /// The answer to `question` of a call that begins after this was called: `call`, or that of a caller who came before. `None`
    /// when the call has fewer answers than questions.
    pub(crate) async fn join<F>(
        self: &Arc<Self>,
        question: Q,
        call: impl FnOnce(Vec<Q>) -> F + Send + 'static,
    ) -> Result<Option<A>, E>
    where
        F: Future<Output = Result<Vec<A>, E>> + Send + 'static,
    {
        let begin = || {
            let rounds = Arc::clone(self);
            let round = async move {
                let _turn = rounds.turn.lock().await;
                // Whoever comes from here on needs a call that begins later.
                let waiting = rounds.waiting.lock().take();
                let questions: Vec<Q> = waiting.into_iter().flat_map(|waiting| waiting.questions).collect();
                let answers = call(questions.clone()).await?;
                Ok(Arc::new(questions.into_iter().zip(answers).collect()))
            };
            Waiting { questions: BTreeSet::new(), round: round.boxed().shared() }
        };
        let round = {
            let mut waiting = self.waiting.lock();
            let waiting = waiting.get_or_insert_with(begin);
            waiting.questions.insert(question.clone());
            waiting.round.clone()
        };
        // Whoever asks along with the first takes part too.
        tokio::task::yield_now().await;
        Ok(round.await?.get(&question).cloned())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::{join, poll};
    use tokio::sync::Semaphore;

    use super::*;

    #[derive(Default)]
    struct Calls {
        begun: Arc<Mutex<Vec<Vec<u32>>>>,
        rounds: Arc<Rounds<u32, u32, ()>>,
    }

    impl Calls {
        /// Asks, in a call that ends when the gate lets it and answers with ten times the question.
        async fn ask(&self, question: u32, gate: &Arc<Semaphore>) {
            let (begun, gate) = (self.begun.clone(), gate.clone());
            let call = move |questions: Vec<u32>| async move {
                begun.lock().push(questions.clone());
                gate.acquire().await.expect("the gate stays open").forget();
                Ok(questions.into_iter().map(|question| question * 10).collect())
            };
            assert_eq!(self.rounds.join(question, call).await, Ok(Some(question * 10)));
        }
    }

    #[tokio::test]
    async fn all_who_come_during_a_call_share_the_next() {
        let (calls, gate) = (Calls::default(), Arc::new(Semaphore::new(0)));
        let (mut first, mut along) = (pin!(calls.ask(1, &gate)), pin!(calls.ask(2, &gate)));
        assert!(poll!(&mut first).is_pending() && poll!(&mut along).is_pending());
        assert!(poll!(&mut first).is_pending());
        let (mut second, mut third) = (pin!(calls.ask(1, &gate)), pin!(calls.ask(3, &gate)));
        let mut same = pin!(calls.ask(3, &gate));
        assert!(poll!(&mut second).is_pending() && poll!(&mut third).is_pending() && poll!(&mut same).is_pending());
        assert_eq!(*calls.begun.lock(), [vec![1, 2]]);
        gate.add_permits(1);
        join!(first, along);
        assert!(poll!(&mut second).is_pending());
        assert!(poll!(&mut second).is_pending());
        let mut late = pin!(calls.ask(1, &gate));
        assert!(poll!(&mut late).is_pending());
        assert_eq!(*calls.begun.lock(), [vec![1, 2], vec![1, 3]]);
        gate.add_permits(2);
        join!(second, third, same, late);
        assert_eq!(*calls.begun.lock(), [vec![1, 2], vec![1, 3], vec![1]], "who came during the second needs a third");
    }

    #[tokio::test]
    async fn who_leaves_takes_no_call_along() {
        let (calls, gate) = (Calls::default(), Arc::new(Semaphore::new(0)));
        let mut stays = Box::pin(calls.ask(1, &gate));
        let mut leads = Box::pin(calls.ask(2, &gate));
        assert!(poll!(&mut leads).is_pending() && poll!(&mut stays).is_pending());
        drop(leads);
        gate.add_permits(1);
        stays.await;
        let mut given_up = Box::pin(calls.ask(1, &gate));
        assert!(poll!(&mut given_up).is_pending() && poll!(&mut given_up).is_pending());
        drop(given_up);
        gate.add_permits(1);
        calls.ask(1, &gate).await;
    }
}
