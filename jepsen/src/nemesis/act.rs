//! Does a step to the environment, waits, and undoes it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep};

use super::partition::{Grudges, Shape, grudges};
use super::schedule::{Detail, Schedule, Step};
use super::{Fault, Reach, members};
use crate::env::Environment;
use crate::env::net::{Filter, set_filter};
use crate::env::node::{Clock, Node};
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
            let aim = if step.fault.aims_at_leader() { environment.busiest().await } else { None };
            let step = if let Some(at) = aim { step.aimed_at(at) } else { step };
            self.step(environment, &step).await.with_context(|| format!("{step:?}"))?;
        }
        tokio::time::sleep_until(deadline).await;
        self.look_for_crashes(environment).await
    }

    /// One step from beginning to end.
    pub async fn step(&mut self, environment: &mut Environment, step: &Step) -> Result<()> {
        let trouble = self.trouble(environment, step).await;
        environment.observe().await;
        println!("{:7.1} s  {} {}", self.recorder.elapsed_ns() as f64 / 1e9, trouble.fault, trouble.nodes.join(" "));
        self.recorder.record(self.process, Kind::Info, Action::Fault(trouble.clone()), About::default());
        inject(environment, step).await?;
        for (node, farewell) in environment.take_farewells() {
            self.recorder.record(self.process, Kind::Info, Action::Farewell(farewell), About::node(&node));
        }
        hold(environment, step).await?;
        heal(environment, step).await?;
        environment.wait_ready().await?;
        self.recorder.record(self.process, Kind::Info, Action::Heal(trouble), About::default());
        *self.outcome.steps.entry(step.fault.name()).or_default() += 1;
        Ok(())
    }

    async fn trouble(&self, environment: &Environment, step: &Step) -> Trouble {
        let (victims, nodes) = (step.victims(), environment.nodes.len());
        let leads = environment.leads().await;
        let many = step.fault.reach() != Reach::Across && 2 * victims.len() >= nodes;
        // One is gone for ever already.
        let disturbed = matches!(step.detail, Detail::Leave { disturbed: true, .. });
        Trouble {
            fault: step.fault.name().to_owned(),
            nodes: victims.iter().map(|&at| environment.nodes[at].name.clone()).collect(),
            whole: many || disturbed,
            leads: victims.iter().map(|&at| leads[at]).sum(),
        }
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
        (Fault::PowerLoss(_), _) => {
            // All disks first: nothing may be written on the way down.
            for &at in step.victims() {
                environment.nodes[at].disk.cut_power().await?;
            }
            kill(environment, step.victims()).await;
        }
        (Fault::PowerLossAndPause, _) => {
            let [first, second] = pair(step);
            environment.nodes[second].pause()?;
            environment.nodes[first].disk.cut_power().await?;
            kill(environment, &[first]).await;
        }
        (Fault::Kill(_), _) => kill(environment, step.victims()).await,
        (Fault::Partition | Fault::LeaderAlone, Detail::Cut(shape)) => {
            cut(environment, &grudges(*shape, &step.order)).await?;
        }
        (Fault::FullRestart, _) => {
            for &at in step.victims() {
                environment.nodes[at].disk.fill()?;
                environment.nodes[at].kill().await;
                environment.start(at).await?;
            }
            environment.wait_ready().await?;
        }
        (Fault::Terminate, _) => environment.terminate(step.order[0]).await?,
        (Fault::Rolling, _) => members::roll(environment, step).await?,
        (Fault::Replace, _) => members::replace(environment, step).await?,
        (Fault::Resize, _) => members::resize(environment, step).await?,
        (fault, detail) => {
            for &at in step.victims() {
                inject_one(environment, at, fault, detail).await?;
            }
        }
    }
    Ok(())
}

async fn inject_one(environment: &mut Environment, at: usize, fault: Fault, detail: &Detail) -> Result<()> {
    let node = &mut environment.nodes[at];
    match (fault, detail) {
        (Fault::Pause(_), _) => node.pause(),
        (Fault::Loss(_), Detail::LossPercent(percent)) => {
            filter_node(node, &Filter { loss_percent: *percent, ..Filter::default() }).await
        }
        (Fault::SlowLink(_), Detail::LinkKilobytes(kilobytes)) => {
            filter_node(node, &Filter { kilobytes_max: Some(*kilobytes), ..Filter::default() }).await
        }
        (Fault::DiskFull, _) => node.disk.fill(),
        (Fault::HungDisk, _) => node.disk.freeze().await,
        (Fault::SlowDisk, Detail::BytesPerSecond(rate)) => node.throttle(Some(*rate)),
        (Fault::Clock, Detail::Clock(clock)) => node.set_clock(*clock),
        (fault, detail) => unreachable!("{fault:?} is not drawn with {detail:?}"),
    }
}

async fn hold(environment: &mut Environment, step: &Step) -> Result<()> {
    if is_over(step.fault) {
        return Ok(());
    }
    let Detail::Cut(shape @ Shape::Flapping) = step.detail else {
        sleep(step.hold).await;
        return Ok(());
    };
    let grudges = grudges(shape, &step.order);
    let until = Instant::now() + step.hold;
    let mut joined = false;
    while Instant::now() < until {
        sleep(FLAP_PERIOD).await;
        joined = !joined;
        cut(environment, if joined { const { &Grudges::new() } } else { &grudges }).await?;
    }
    Ok(())
}

async fn heal(environment: &mut Environment, step: &Step) -> Result<()> {
    if is_over(step.fault) {
        return Ok(());
    }
    // The one without power comes back while the other still sleeps.
    if step.fault == Fault::PowerLossAndPause {
        let [first, second] = pair(step);
        environment.nodes[first].disk.restore_power().await?;
        environment.start(first).await?;
        sleep(step.hold).await;
        return environment.nodes[second].resume();
    }
    for &at in step.victims() {
        let node = &mut environment.nodes[at];
        match step.fault {
            Fault::PowerLoss(_) => node.disk.restore_power().await?,
            Fault::Pause(_) => node.resume()?,
            Fault::Partition | Fault::LeaderAlone | Fault::Loss(_) | Fault::SlowLink(_) => {
                filter_node(node, &Filter::default()).await?;
            }
            Fault::DiskFull | Fault::FullRestart => node.disk.free()?,
            Fault::HungDisk => node.disk.thaw().await,
            Fault::SlowDisk => node.throttle(None)?,
            Fault::Clock => node.set_clock(Clock::Off(0))?,
            _ => {}
        }
    }
    if step.fault.is_death() || step.fault == Fault::Terminate {
        // All at once: nodes may wait for each other.
        for &at in step.victims() {
            environment.start(at).await?;
        }
    }
    Ok(())
}

/// Whether it takes its own time, and nothing is left to heal.
fn is_over(fault: Fault) -> bool {
    matches!(fault, Fault::Rolling | Fault::Replace | Fault::Resize)
}

fn pair(step: &Step) -> [usize; 2] {
    [step.order[0], step.order[1]]
}

async fn kill(environment: &mut Environment, victims: &[usize]) {
    for &at in victims {
        environment.nodes[at].kill().await;
    }
}

async fn cut(environment: &Environment, grudges: &Grudges) -> Result<()> {
    for (at, node) in environment.nodes.iter().enumerate() {
        let deaf_to =
            grudges.get(&at).into_iter().flatten().map(|&other| environment.nodes[other].address.ip).collect();
        filter_node(node, &Filter { deaf_to, ..Filter::default() }).await?;
    }
    Ok(())
}

async fn filter_node(node: &Node, filter: &Filter) -> Result<()> {
    set_filter(node.address.namespace.as_deref().context("a node without a namespace")?, filter).await
}
