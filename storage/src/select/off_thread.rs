//! CPU work on blocking threads, which does not outlive whoever waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ReadError;

/// Whoever waits for work on another thread. Nothing can stop a thread, so long work asks now and then whether there still is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    has_left: Arc<AtomicBool>,
}

impl Caller {
    /// An error once nobody waits.
    pub(crate) fn check(&self) -> Result<(), ReadError> {
        match self.has_left.load(Ordering::Relaxed) {
            true => Err(ReadError::Stopped("nobody waits for it".into())),
            false => Ok(()),
        }
    }

    /// One that has left before the work began.
    #[cfg(test)]
    pub(crate) fn gone() -> Self {
        Self { has_left: Arc::new(AtomicBool::new(true)) }
    }
}

/// Says so when the caller leaves.
struct Waiting(Caller);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.has_left.store(true, Ordering::Relaxed);
    }
}

/// Runs CPU work on a blocking thread. A panic in it is an error here. When the future is dropped, the work is not begun any more, or
/// goes on to its end.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    off_thread_for(move |_| work()).await
}

/// As [`off_thread`], for work that looks after its caller.
pub(crate) async fn off_thread_for<T: Send + 'static>(
    work: impl FnOnce(&Caller) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    let caller = Caller::default();
    let _waiting = Waiting(caller.clone());
    let done = tokio::task::spawn_blocking(move || {
        caller.check()?;
        work(&caller)
    });
    done.await.unwrap_or_else(|error| Err(ReadError::Stopped(error.to_string())))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn work_finds_out_that_its_caller_has_left() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (begun, begins) = mpsc::channel();
        let (ended, ends) = mpsc::channel();
        runtime.block_on(async {
            let mut work = Box::pin(off_thread_for(move |caller| {
                begun.send(()).unwrap();
                while caller.check().is_ok() {
                    std::thread::yield_now();
                }
                ended.send(()).unwrap();
                Ok(())
            }));
            assert!(futures::poll!(&mut work).is_pending());
            begins.recv().unwrap();
            assert!(ends.try_recv().is_err());
            drop(work);
            ends.recv().unwrap();
        });
    }

    #[test]
    fn work_that_nobody_waits_for_is_not_begun() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        let (free, waits) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        runtime.block_on(async {
            // The only thread is busy until the second one has been given up.
            let mut first = Box::pin(off_thread(move || {
                waits.recv().unwrap();
                Ok(())
            }));
            assert!(futures::poll!(&mut first).is_pending());
            let mut second = Box::pin(off_thread(move || {
                begun.send(()).unwrap();
                Ok(())
            }));
            assert!(futures::poll!(&mut second).is_pending());
            drop(second);
            free.send(()).unwrap();
            first.await.unwrap();
            off_thread(|| Ok(())).await.unwrap();
            assert!(begins.try_recv().is_err());
        });
    }
}
