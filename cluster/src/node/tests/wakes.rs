//! Who is not woken by what does not concern him.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use super::*;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_failure_is_not_woken_by_entries() {
    let sim = Sim::new();
    let running = start(&sim).await;
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut failed = Box::pin(running.node.failed());
    let entries = 50;
    for number in 0..entries {
        assert!(failed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        running.propose(0, number.to_string()).await.unwrap();
    }
    // A group that has just got its leader may still have had something to tell.
    let wakes = wakes.0.load(Ordering::SeqCst);
    assert!(wakes < entries / 5, "{wakes} wakes by {entries} entries");
    drop(failed);
    stop(running).await;
}
