//! A bounded rate: so many operations a second and no more, also after a pause.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Lets one worker do its part.
#[derive(Debug)]
pub struct Pace {
    ticks: Interval,
    stop: watch::Receiver<bool>,
}

impl Pace {
    /// `rate` operations a second.
    pub fn new(rate: f64, stop: watch::Receiver<bool>) -> Self {
        let mut ticks = interval(Duration::from_secs_f64(1.0 / rate.max(0.001)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self { ticks, stop }
    }

    /// Waits for the next turn; false when the run is to stop.
    pub async fn turn(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => false,
            _ = self.ticks.tick() => true,
        }
    }
}
