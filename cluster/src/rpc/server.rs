//! Accepts connections of other nodes, finds out whose they are, and hands what they ask to the [`Service`].
//!
//! Invariant: no frame, question or piece is read before [`identity::check`] has agreed to its caller. What a stranger may say
//! without that is the [`Door`]'s, small, and little at a time.

mod door;
mod exchange;
mod strangers;
mod transfers;
mod visit;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::sleep;
use tracing::warn;

use super::Shared;
use super::introduction::Door;
use super::transport::{Io, Listener};
use crate::peers::Service;
use strangers::Strangers;

/// Most questions at the door at a time, of all who stand there.
const QUESTIONS_MAX: usize = 64;

/// Most bytes of such a question.
const QUESTION_BYTES_MAX: usize = 256 << 10;

/// After a failed accept, for instance without a file descriptor left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What all accepted connections share.
struct Hall {
    shared: Arc<Shared>,
    service: Arc<dyn Service>,
    door: Arc<dyn Door>,
    strangers: Strangers,
    connections: Arc<Semaphore>,
    questions: Semaphore,
}

/// Serves whoever connects, until the network is closed.
pub(super) async fn serve(
    shared: Arc<Shared>,
    mut listener: Box<dyn Listener>,
    service: Arc<dyn Service>,
    door: Arc<dyn Door>,
) {
    let options = &shared.options;
    let hall = Arc::new(Hall {
        strangers: Strangers::new(options.strangers_max, shared.metrics.strangers.clone()),
        connections: Arc::new(Semaphore::new(options.connections_max)),
        questions: Semaphore::new(QUESTIONS_MAX),
        shared: Arc::clone(&shared),
        service,
        door,
    });
    loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => welcome(&hall, accepted).await,
        }
    }
}

async fn welcome(hall: &Arc<Hall>, accepted: io::Result<Box<dyn Io>>) {
    let shared = &hall.shared;
    let io = match accepted {
        Ok(io) => io,
        Err(error) => {
            warn!(%error, "cannot accept a connection of another node");
            return sleep(ACCEPT_RETRY).await;
        }
    };
    match Arc::clone(&hall.connections).try_acquire_owned() {
        Ok(permit) => {
            let visit = visit::visit(Arc::clone(hall), io);
            shared.tasks.spawn(async move {
                visit.await;
                drop(permit);
            });
        }
        Err(_) => shared.metrics.dropped.with_label_values(&["too_many"]).inc(),
    }
}
