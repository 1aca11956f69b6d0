//! Does a step to the environment, waits, and undoes it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep};

use super::partition::{Grudges, Shape};
use super::schedule::{Detail, Schedule, Step};
use super::{Fault, Reach};
use crate::env::Environment;
use crate::env::net::{Filter, set_filter};
use crate::history::{About, Action, Kind, Recorder, Trouble};

/// How often a flapping link changes.
const FLAP_PERIOD: Duration = Duration::from_secs(2);

/// What a nemesis did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub steps: BTreeMap<&'static str, u64>,
    /// Nodes that ended though nobody ended them.
    pub crashes: Vec<String>,
}

#[derive(Debug)]
pub struct Nemesis {
    schedule: Schedule,
    recorder: Recorder,
    process: u32,
    pub outcome: Outcome,
}

impl Nemesis {
    pub fn new(schedule: Schedule, recorder: Recorder, process: u32) -> Self {
        Self { schedule, recorder, process, outcome: Outcome::default() }
    }

    /// Steps until the deadline; the last one ends after it. Dropped in the middle, it leaves its fault to
    /// [`Environment::tear_down`].
    pub async fn run(&mut self, environment: &mut Environment, deadline: Instant) -> Result<()> {
        while let Some(step) = self.schedule.next(environment.nodes.len()) {
            if Instant::now() + step.quiet >= deadline {
                break;
            }
            sleep(step.quiet).await;
            self.look_for_crashes(environment).await?;
            self.step(environment, &step).await.with_context(|| format!("{step:?}"))?;
        }
        tokio::time::sleep_until(deadline).await;
        self.look_for_crashes(environment).await
    }

    /// One step from beginning to end.
    pub async fn step(&mut self, environment: &mut Environment, step: &Step) -> Result<()> {
        let trouble = Trouble {
            fault: step.fault.name().to_owned(),
            nodes: step.victims.iter().map(|&at| environment.nodes[at].name.clone()).collect(),
            whole: step.fault.reach() != Reach::Links && 2 * step.victims.len() >= environment.nodes.len(),
        };
        environment.observe().await;
        println!("{:7.1} s  {} {}", self.recorder.elapsed_ns() as f64 / 1e9, trouble.fault, trouble.nodes.join(" "));
        self.recorder.record(self.process, Kind::Info, Action::Fault(trouble.clone()), About::default());
        inject(environment, step).await?;
        hold(environment, step).await?;
        heal(environment, step).await?;
        environment.wait_ready().await?;
        self.recorder.record(self.process, Kind::Info, Action::Heal(trouble), About::default());
        *self.outcome.steps.entry(step.fault.name()).or_default() += 1;
        Ok(())
    }

    /// A node that ended by itself is noted, and started again so that the run can go on.
    pub async fn look_for_crashes(&mut self, environment: &mut Environment) -> Result<()> {
        for at in 0..environment.nodes.len() {
            if let Some(status) = environment.nodes[at].ended()? {
                self.outcome.crashes.push(format!("{} ended by itself: {status}", environment.nodes[at].name));
                environment.start(at).await?;
            }
        }
        environment.wait_ready().await
    }
}

async fn inject(environment: &mut Environment, step: &Step) -> Result<()> {
    match (step.fault, &step.detail) {
        (Fault::PowerLoss | Fault::PowerLossAll, _) => {
            // All disks first: nothing may be written on the way down.
            for &at in &step.victims {
                environment.nodes[at].disk.cut_power().await?;
            }
            kill(environment, &step.victims).await;
        }
        (Fault::PowerLossAndPause, _) => {
            let [first, second] = pair(step);
            environment.nodes[second].pause()?;
            environment.nodes[first].disk.cut_power().await?;
            kill(environment, &[first]).await;
        }
        (Fault::Kill | Fault::KillAll | Fault::Replace, _) => kill(environment, &step.victims).await,
        (Fault::Partition, Detail::Cut { grudges, .. }) => cut(environment, grudges).await?,
        (Fault::Loss, Detail::LossPercent(percent)) => {
            let filter = Filter { loss_percent: *percent, ..Filter::default() };
            for at in 0..environment.nodes.len() {
                filter_node(environment, at, &filter).await?;
            }
        }
        (Fault::FullRestart, _) => {
            for &at in &step.victims {
                environment.nodes[at].disk.fill()?;
                environment.nodes[at].kill().await;
                environment.start(at).await?;
            }
            environment.wait_ready().await?;
        }
        (Fault::Grow, _) => environment.grow().await?,
        (fault, detail) => {
            for &at in &step.victims {
                inject_one(environment, at, fault, detail).await?;
            }
        }
    }
    Ok(())
}

async fn inject_one(environment: &mut Environment, at: usize, fault: Fault, detail: &Detail) -> Result<()> {
    let node = &mut environment.nodes[at];
    match (fault, detail) {
        (Fault::Terminate, _) => node.terminate().await,
        (Fault::Pause, _) => node.pause(),
        (Fault::DiskFull, _) => node.disk.fill(),
        (Fault::HungDisk, _) => node.disk.freeze().await,
        (Fault::SlowDisk, Detail::BytesPerSecond(rate)) => node.throttle(Some(*rate)),
        (Fault::Clock, Detail::ClockSeconds(seconds)) => node.shift_clock(*seconds),
        (fault, detail) => unreachable!("{fault:?} is not drawn with {detail:?}"),
    }
}

async fn hold(environment: &mut Environment, step: &Step) -> Result<()> {
    let Detail::Cut { shape: Shape::Flapping, grudges } = &step.detail else {
        sleep(step.hold).await;
        return Ok(());
    };
    let until = Instant::now() + step.hold;
    let mut joined = false;
    while Instant::now() < until {
        sleep(FLAP_PERIOD).await;
        joined = !joined;
        cut(environment, if joined { const { &Grudges::new() } } else { grudges }).await?;
    }
    Ok(())
}

async fn heal(environment: &mut Environment, step: &Step) -> Result<()> {
    match step.fault {
        Fault::Partition | Fault::Loss => {
            for at in 0..environment.nodes.len() {
                filter_node(environment, at, &Filter::default()).await?;
            }
            return Ok(());
        }
        Fault::Grow => return Ok(()),
        // The one without power comes back while the other still sleeps.
        Fault::PowerLossAndPause => {
            let [first, second] = pair(step);
            environment.nodes[first].disk.restore_power().await?;
            environment.start(first).await?;
            sleep(step.hold).await;
            return environment.nodes[second].resume();
        }
        _ => {}
    }
    for &at in &step.victims {
        let node = &mut environment.nodes[at];
        match step.fault {
            Fault::PowerLoss | Fault::PowerLossAll => node.disk.restore_power().await?,
            Fault::Replace => node.disk.replace().await?,
            Fault::Pause => node.resume()?,
            Fault::DiskFull | Fault::FullRestart => node.disk.free()?,
            Fault::HungDisk => node.disk.thaw().await,
            Fault::SlowDisk => node.throttle(None)?,
            Fault::Clock => node.shift_clock(0)?,
            _ => {}
        }
    }
    if ends_process(step.fault) {
        // All at once: nodes may wait for each other.
        for &at in &step.victims {
            environment.start(at).await?;
        }
    }
    Ok(())
}

fn pair(step: &Step) -> [usize; 2] {
    [step.victims[0], step.victims[1]]
}

fn ends_process(fault: Fault) -> bool {
    use Fault::{Kill, KillAll, PowerLoss, PowerLossAll, Replace, Terminate};
    matches!(fault, Kill | KillAll | PowerLoss | PowerLossAll | Replace | Terminate)
}

async fn kill(environment: &mut Environment, victims: &[usize]) {
    for &at in victims {
        environment.nodes[at].kill().await;
    }
}

async fn cut(environment: &mut Environment, grudges: &Grudges) -> Result<()> {
    for at in 0..environment.nodes.len() {
        let deaf_to = grudges.get(&at).cloned().unwrap_or_default();
        filter_node(environment, at, &Filter { deaf_to, loss_percent: 0 }).await?;
    }
    Ok(())
}

async fn filter_node(environment: &Environment, at: usize, filter: &Filter) -> Result<()> {
    let node = &environment.nodes[at];
    set_filter(node.address.namespace.as_deref().context("a node without a namespace")?, filter).await
}
