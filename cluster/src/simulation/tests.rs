//! Runs of many seeds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use super::faults::Plan;
use super::run::{Outcome, Planted, run};

/// Seeds of a test that is not told how many; about a minute on two cores.
const SEEDS: u64 = if cfg!(debug_assertions) { 16 } else { 200 };
/// Failures that are told in full.
const TOLD_MAX: usize = 3;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// A run on a thread of its own, as tokio's randomness and the simulation's are a thread's. A panic is a violation.
fn run_alone(seed: u64) -> Outcome {
    let thread = std::thread::Builder::new().name(format!("seed-{seed}"));
    let running = thread.spawn(move || run(seed, &Plan::of(seed), Planted::Nothing)).expect("a thread can be started");
    running
        .join()
        .unwrap_or_else(|_| Outcome { violations: vec!["it panicked, see above".to_owned()], ..Outcome::default() })
}

/// The simulated time.
struct SimulatedTime;

impl FormatTime for SimulatedTime {
    fn format_time(&self, to: &mut Writer<'_>) -> std::fmt::Result {
        write!(to, "{:8.3}", turmoil::sim_elapsed().unwrap_or_default().as_secs_f64())
    }
}

/// Logs what `PHAROS_SIM_LOG` names, as `RUST_LOG` does for programs.
fn log_if_asked() {
    if let Ok(filter) = std::env::var("PHAROS_SIM_LOG") {
        let log = tracing_subscriber::fmt().with_timer(SimulatedTime).with_env_filter(filter).with_ansi(false);
        // Another test of this process may log already.
        drop(log.try_init());
    }
}

fn told(seed: u64, outcome: &Outcome) -> String {
    let Outcome { violations, events, answered, reads, terms, lasted, digest } = outcome;
    format!(
        "seed {seed}:\n{}\n{answered} answered, {reads} reads, {terms} terms, {lasted:?} simulated, digest {digest:08x}\n\
         violations: {violations:#?}\nagain: PHAROS_SIM_SEED={seed}",
        events.join("\n")
    )
}

#[test]
fn clusters_keep_their_promises() {
    if let Some(seed) = variable("PHAROS_SIM_SEED") {
        log_if_asked();
        let outcome = run_alone(seed);
        println!("{}", told(seed, &outcome));
        assert_eq!(outcome.violations, [""; 0]);
        return;
    }
    let first = variable("PHAROS_SIM_FIRST").unwrap_or(1);
    let end = first + variable("PHAROS_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(first);
    let failures = Mutex::new(Vec::new());
    let totals = Mutex::new((0, 0, 0, Duration::ZERO));
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::SeqCst);
        if seed >= end {
            return;
        }
        let outcome = run_alone(seed);
        let mut totals = totals.lock();
        *totals = (
            totals.0 + outcome.answered,
            totals.1 + outcome.reads,
            totals.2 + outcome.terms,
            totals.3 + outcome.lasted,
        );
        if !outcome.violations.is_empty() {
            // At once: a long run need not end for it.
            println!("seed {seed} failed: {:?}", outcome.violations);
            failures.lock().push((seed, outcome));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let (answered, reads, terms, lasted) = totals.into_inner();
    println!("{} seeds: {answered} answered, {reads} reads, {terms} terms, {lasted:?} simulated", end - first);
    let failures = failures.into_inner();
    let seeds: Vec<u64> = failures.iter().map(|(seed, _)| *seed).collect();
    let words: Vec<String> = failures.iter().take(TOLD_MAX).map(|(seed, outcome)| told(*seed, outcome)).collect();
    assert!(failures.is_empty(), "seeds {seeds:?} failed\n{}", words.join("\n\n"));
}

/// Where tokio's randomness can be set.
#[cfg(tokio_unstable)]
#[test]
fn a_seed_fixes_everything() {
    for seed in [3, 4] {
        let (first, second) = (run_alone(seed), run_alone(seed));
        assert_eq!(first, second);
    }
}

#[test]
fn disks_that_lie_about_syncs_are_found_out() {
    let outcome = run(1, &Plan::blackout(), Planted::LyingDisks);
    let lost = |violation: &String| violation.contains(" lost ") || violation.contains(" missed ");
    assert!(outcome.violations.iter().any(lost), "{outcome:#?}");
    assert_eq!(run(1, &Plan::blackout(), Planted::Nothing).violations, [""; 0]);
}
