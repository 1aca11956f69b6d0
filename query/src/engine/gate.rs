//! Lets so many queries run at a time; the others wait for their turn, in order.

use tokio::sync::{Semaphore, SemaphorePermit};

#[derive(Debug)]
pub(super) struct Gate {
    places: Semaphore,
}

impl Gate {
    pub(super) fn new(places: usize) -> Self {
        Self { places: Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)) }
    }

    /// Waits for a place. It is free again when the permit is dropped, and so is one waited for when the wait is.
    pub(super) async fn enter(&self) -> SemaphorePermit<'_> {
        self.places.acquire().await.expect("the gate is never closed")
    }
}
