//! What the operating system asks of the process. Taken over before anything that takes time, so that a signal during the
//! start neither kills the process nor gets lost.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

/// The signals a server answers. One that came before it is awaited is kept.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    End,
    Reload,
}

impl Signals {
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next request. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> Request {
        tokio::select! {
            () = end(&mut self.terminate, &mut self.interrupt) => Request::End,
            _ = self.hangup.recv() => Request::Reload,
        }
    }

    /// Returns when the process is to end; a reload that is asked for meanwhile stays asked for.
    pub(super) async fn end(&mut self) {
        end(&mut self.terminate, &mut self.interrupt).await;
    }
}

async fn end(terminate: &mut Signal, interrupt: &mut Signal) {
    let signal = tokio::select! {
        _ = terminate.recv() => "terminated",
        _ = interrupt.recv() => "interrupt",
    };
    warn!(signal, "Received an OS signal, exiting gracefully...");
}
