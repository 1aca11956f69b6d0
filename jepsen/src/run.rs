//! A run: nodes come up, clients work, faults strike, all is healed, everything is read back, and the history is judged.

mod options;

pub use options::RunOptions;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::check::limit::TimeBounds;
use crate::check::scrape::Bounds;
use crate::check::{self, Verdict};
use crate::client::{Client, WriteOutcome, encode};
use crate::env::abilities::{Abilities, Setting, impossible};
use crate::env::{Endpoint, Environment, EnvironmentOptions, command, isolation};
use crate::history::{About, Action, Event, Kind, Mark, Recorder, Sample, outages};
use crate::nemesis::schedule::{Detail, Schedule, Step};
use crate::nemesis::{Extent, Fault, Nemesis, Outcome};
use crate::report::{self, Report};
use crate::targets;
use crate::workload::{self, Family, Paths, Processes, SampleClock, Shared, Writer};

/// Longest wait for a client's answer. Where there are other nodes, they are asked earlier.
const ALONE_TIMEOUT: Duration = Duration::from_secs(5);
const CLUSTER_TIMEOUT: Duration = Duration::from_secs(3);
/// Clients go on so long after the last fault, to see that the nodes serve again.
const AFTERMATH: Duration = Duration::from_secs(3);
/// A write at every node must be taken within this after the last fault.
const SERVE_AGAIN_MAX: Duration = Duration::from_secs(60);
/// Width of W-append's requests.
const APPEND_WIDTH: u32 = 3;
/// M-reg: clients, and calls a second of each. M-lease: questions a second.
const REGISTER_CLIENTS: u64 = 4;
const REGISTER_RATE: f64 = 4.0;
const CLAIM_RATE: f64 = 2.0;

/// What judging a history needs beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    pub seed: u64,
    pub command: String,
    pub nodes: usize,
    pub scrape_interval_seconds: u64,
    /// Whether writers have one node each, and so are not served while it is away.
    #[serde(default)]
    pub bound: bool,
    #[serde(default)]
    pub time_bounds: TimeBounds,
    pub faults: BTreeMap<String, u64>,
    /// What nodes did, by their own metrics.
    pub coverage: BTreeMap<String, f64>,
    /// Faults that this machine or setting cannot have.
    pub skipped: BTreeMap<String, String>,
    pub crashes: Vec<String>,
    /// Lines of nodes' logs that no node should write.
    pub alarms: Vec<String>,
    /// Why the run ended before its time.
    pub broken: Option<String>,
}

/// Runs, judges and reports; true when all promises were kept.
pub async fn run(options: &RunOptions) -> Result<bool> {
    if let Some(why) = impossible(options.net, options.disk) {
        bail!("{why}");
    }
    if isolation::is_inside() {
        isolation::furnish().await?;
    }
    fs::create_dir_all(&options.out)?;
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}; results in {}", options.out.display());
    let recorder = Recorder::create(&options.out.join("history.jsonl"))?;
    let facts = drive(options, seed, &recorder).await?;
    let events = recorder.finish()?;
    let report = Report::new(facts, &events, judge);
    report::write(&options.out, &report, &events)?;
    if let Some(results) = &options.results {
        report::keep(results, &options.out)?;
    }
    println!("{}", report.text());
    Ok(report.holds())
}

/// All checkers that the history has something for.
pub fn judge(events: &[Event], facts: &Facts) -> Vec<Verdict> {
    let has = |wanted: fn(&Action) -> bool| events.iter().any(|event| wanted(&event.action));
    let mut verdicts = Vec::new();
    if has(|action| matches!(action, Action::Add(_))) {
        verdicts.push(check::set::check(events));
    }
    let several = facts.nodes >= 3 && !facts.bound;
    if has(|action| matches!(action, Action::Append(_))) {
        verdicts.push(check::append::check(events));
        verdicts.push(check::availability::check(events, several.then_some(facts.time_bounds.silence())));
        verdicts.push(check::resumption::check(events, several.then_some(facts.time_bounds.resumption())));
    }
    if has(|action| matches!(action, Action::Count(_))) {
        verdicts.push(check::partial::check(events));
    }
    if facts.nodes > 1 {
        verdicts.push(check::register::check(events));
        verdicts.push(check::lease::check(events));
    }
    if has(|action| matches!(action, Action::Scrape(_))) {
        verdicts.push(check::scrape::check(events, &scrape_bounds(events, facts)));
    }
    if has(|action| matches!(action, Action::Farewell(_))) {
        verdicts.push(check::ends::check(events, facts.nodes > 1, facts.time_bounds));
    }
    verdicts.push(nodes_live(facts));
    verdicts
}

/// No node ends by itself, panics, or stays away.
fn nodes_live(facts: &Facts) -> Verdict {
    let mut verdict = Verdict::new("nodes live");
    facts.crashes.iter().for_each(|crash| verdict.violate("crash", || crash.clone()));
    facts.alarms.iter().for_each(|line| verdict.violate("alarm", || line.clone()));
    facts.broken.iter().for_each(|why| verdict.violate("run broken", || why.clone()));
    verdict
}

fn scrape_bounds(events: &[Event], facts: &Facts) -> Bounds {
    let mark = |wanted: Mark| events.iter().find(|event| event.action == Action::Mark(wanted)).map(|event| event.t_ns);
    let last = events.last().map_or(0, |event| event.t_ns);
    Bounds {
        interval: Duration::from_secs(facts.scrape_interval_seconds),
        failover: facts.time_bounds.failover(),
        outages_ns: outages(events),
        observed_ns: mark(Mark::LoadBegins).unwrap_or(0)..mark(Mark::LoadEnds).unwrap_or(last),
    }
}

async fn drive(options: &RunOptions, seed: u64, recorder: &Recorder) -> Result<Facts> {
    let help = command::run(options.pharos_text()?, &["server", "--help"]).await?;
    let setting = Setting { nodes: options.nodes, net: options.net, disk: options.disk, help: &help };
    let (faults, skipped) = choose_faults(&options.faults, &Abilities::find(setting))?;
    let client = Client::new(if options.nodes > 1 { CLUSTER_TIMEOUT } else { ALONE_TIMEOUT });
    let environment_options = EnvironmentOptions {
        nodes: options.nodes,
        net: options.net,
        disk: options.disk,
        node: options.node_options(faults.contains(&Fault::Clock)),
    };
    let mut environment = Environment::create(&options.out, environment_options, client).await?;
    let mut outcome = Outcome::default();
    let mut run = Run { options, seed, recorder, processes: Processes::default() };
    let result = tokio::select! {
        result = run.phases(&mut environment, faults, &mut outcome) => result,
        signal = ended_by_signal() => Err(signal),
    };
    environment.tear_down().await;
    Ok(Facts {
        seed,
        command: std::env::args().collect::<Vec<_>>().join(" "),
        nodes: options.nodes,
        scrape_interval_seconds: options.scrape_interval,
        bound: options.paths == Paths::Bound,
        time_bounds: options.time_bounds,
        faults: named(&outcome.steps),
        coverage: named(environment.coverage.totals()),
        skipped,
        crashes: outcome.crashes,
        alarms: alarms(&environment)?,
        broken: result.err().map(|error| format!("{error:#}")),
    })
}

fn named<T: Copy>(values: &BTreeMap<&str, T>) -> BTreeMap<String, T> {
    values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

/// Waits until somebody wants the run to end.
async fn ended_by_signal() -> anyhow::Error {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => anyhow!("interrupted"),
            _ = terminate.recv() => anyhow!("terminated"),
        },
        Err(error) => error.into(),
    }
}

/// Those that can be had among those asked for, and why not the others.
fn choose_faults(wanted: &[String], abilities: &Abilities) -> Result<(Vec<Fault>, BTreeMap<String, String>)> {
    let mut chosen = Vec::new();
    let mut skipped = BTreeMap::new();
    let named = |name: &String| Fault::named(name).with_context(|| format!("there is no fault `{name}`"));
    let wanted = match wanted {
        [all] if all == "all" => Fault::ALL.to_vec(),
        [none] if none == "none" => Vec::new(),
        names => names.iter().map(named).collect::<Result<_>>()?,
    };
    for fault in wanted {
        match abilities.missing(fault.needs()) {
            None => chosen.push(fault),
            Some(why) => drop(skipped.insert(fault.name().to_owned(), why.to_owned())),
        }
    }
    Ok((chosen, skipped))
}

struct Run<'a> {
    options: &'a RunOptions,
    seed: u64,
    recorder: &'a Recorder,
    processes: Processes,
}

impl Run<'_> {
    async fn phases(&mut self, environment: &mut Environment, faults: Vec<Fault>, outcome: &mut Outcome) -> Result<()> {
        let (targets, _serving) = targets::serve(environment.host(), self.options.targets(), self.recorder).await?;
        environment.configure(&self.config(&targets));
        for at in 0..environment.nodes.len() {
            environment.start(at).await?;
        }
        environment.wait_ready().await?;
        environment.settle().await.context("after the first start")?;
        self.mark(Mark::LoadBegins);

        let (stop, stopped) = watch::channel(false);
        let shared = Shared {
            recorder: self.recorder.clone(),
            client: environment.client.clone(),
            endpoints: environment.endpoints(),
            stop: stopped,
            processes: self.processes.clone(),
            clock: self.sample_clock(),
            paths: self.options.paths,
        };
        let writers = self.writers();
        let workers = self.start_clients(&writers, &shared);
        let schedule = Schedule::new(self.rng(1), faults, Duration::from_millis(self.options.quiet_ms));
        let mut nemesis = Nemesis::new(schedule, self.recorder.clone(), self.processes.next());
        let deadline = Instant::now() + Duration::from_secs(self.options.seconds);
        let struck = nemesis.run(environment, deadline).await;
        self.mark(Mark::Healed);
        tokio::time::sleep(AFTERMATH).await;
        let served = serves_again(environment, &shared.clock).await;
        stop.send_replace(true);
        workers.join_all().await;
        self.mark(Mark::LoadEnds);

        // What only memory holds must not count.
        let finale = match struck {
            Ok(()) => nemesis.step(environment, &self.finale(environment)).await,
            Err(error) => Err(error),
        };
        *outcome = nemesis.outcome;
        finale?;
        served?;
        environment.observe().await;
        let complete = workload::read_everything(&writers, &shared).await;
        if complete { Ok(()) } else { bail!("not everything could be read back") }
    }

    fn mark(&self, mark: Mark) {
        self.recorder.record(0, Kind::Info, Action::Mark(mark), About::default());
    }

    /// One of independent random sources.
    fn rng(&self, number: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn config(&self, targets: &[SocketAddr]) -> String {
        let late = &self.options.late_window;
        let mut config = format!("global: {{}}\nstorage: {{tsdb: {{out_of_order_time_window: {late}}}}}\n");
        if !targets.is_empty() {
            config += &targets::scrape_config(targets, self.options.scrape_interval);
        }
        config
    }

    fn sample_clock(&self) -> SampleClock {
        SampleClock::new(self.options.hours_of_samples, Duration::from_secs(self.options.seconds))
    }

    fn writers(&self) -> Vec<(Family, u32)> {
        let families = self.options.workloads();
        (0..self.options.writers).map(|number| (families[number as usize % families.len()], number)).collect()
    }

    fn start_clients(&self, writers: &[(Family, u32)], shared: &Shared) -> JoinSet<()> {
        let mut workers = JoinSet::new();
        let rate = self.options.rate / f64::from(self.options.writers);
        for &(family, number) in writers {
            let width = if family == Family::Set { self.options.width } else { APPEND_WIDTH };
            let writer = Writer { family, number, width, rate, rng: self.rng(100 + u64::from(number)) };
            workers.spawn(workload::write_until_stopped(writer, shared.clone()));
        }
        let reads = self.options.read_rate;
        workers.spawn(workload::read_until_stopped(writers.to_vec(), reads, self.rng(2), shared.clone()));
        if self.options.workloads().contains(&Family::Set) {
            workers.spawn(workload::count_until_stopped(reads / 4.0, self.rng(3), shared.clone()));
        }
        if self.options.nodes > 1 {
            if self.options.workloads().contains(&Family::Set) {
                workers.spawn(workload::count_balanced_until_stopped(reads, self.rng(4), shared.clone()));
            }
            for client in 0..REGISTER_CLIENTS {
                let rng = self.rng(10 + client);
                workers.spawn(workload::swap_until_stopped(client, REGISTER_RATE, rng, shared.clone()));
            }
            workers.spawn(workload::ask_until_stopped(CLAIM_RATE, shared.clone()));
        }
        workers
    }

    /// All nodes at once lose power, or are killed where disks cannot.
    fn finale(&self, environment: &Environment) -> Step {
        let setting = Setting { nodes: self.options.nodes, net: self.options.net, disk: self.options.disk, help: "" };
        let cut = Abilities::find(setting).missing(Fault::PowerLoss(Extent::One).needs()).is_none();
        Step {
            quiet: Duration::ZERO,
            fault: if cut { Fault::PowerLoss(Extent::All) } else { Fault::Kill(Extent::All) },
            order: (0..environment.nodes.len()).collect(),
            hold: Duration::ZERO,
            detail: Detail::None,
        }
    }
}

/// Waits until every node takes a write.
async fn serves_again(environment: &Environment, clock: &SampleClock) -> Result<()> {
    let deadline = Instant::now() + SERVE_AGAIN_MAX;
    let endpoints = environment.endpoints().borrow().clone();
    for Endpoint { node, api } in endpoints {
        let sample = Sample { series: 0, ts_ms: clock.now_ms(), value: 0 };
        let body = encode("jepsen_probe", 0, &[sample]);
        while environment.client.write(&api, body.clone()).await != WriteOutcome::Acked {
            if Instant::now() > deadline {
                bail!("{node} takes no write {SERVE_AGAIN_MAX:?} after the last fault");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

/// Lines of nodes' logs that tell of a panic or of damage found.
fn alarms(environment: &Environment) -> Result<Vec<String>> {
    let mut alarms = Vec::new();
    for log in environment.logs() {
        alarms.extend(alarms_in(&log).with_context(|| log.display().to_string())?);
    }
    Ok(alarms)
}

fn alarms_in(log: &Path) -> Result<Vec<String>> {
    if !log.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read(log)?;
    let text = String::from_utf8_lossy(&text);
    let alarm = |line: &&str| {
        ["panicked at", "damaged log segment", "lost entries of its log", "damaged checkpoint"]
            .iter()
            .any(|word| line.contains(word))
    };
    Ok(text.lines().filter(alarm).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::disk::DiskKind;
    use crate::env::net::NetKind;

    #[test]
    fn faults_are_chosen_by_name_and_skipped_with_a_reason() {
        let setting = Setting { nodes: 1, net: NetKind::Loopback, disk: DiskKind::Folder, help: "" };
        let abilities = Abilities::find(setting);
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let (chosen, skipped) = choose_faults(&names(&["kill", "partition"]), &abilities).unwrap();
        assert_eq!((chosen.as_slice(), skipped.len()), (&[Fault::Kill(Extent::One)][..], 1));
        assert!(choose_faults(&names(&["kil"]), &abilities).is_err());
        let (chosen, skipped) = choose_faults(&names(&["all"]), &abilities).unwrap();
        assert_eq!(chosen.len() + skipped.len(), Fault::ALL.len());
        assert_eq!(choose_faults(&names(&["none"]), &abilities).unwrap().0, []);
    }

    #[test]
    fn panics_and_damage_in_a_log_are_alarms() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        assert_eq!(alarms_in(&log).unwrap(), Vec::<String>::new());
        fs::write(&log, "level=INFO msg=ok\nthread 'x' panicked at y\nmsg=\"damaged log segment quarantined\"\n")
            .unwrap();
        assert_eq!(alarms_in(&log).unwrap().len(), 2);
    }
}
