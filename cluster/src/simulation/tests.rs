//! Runs of many seeds.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use super::faults::Plan;
use super::run::{Outcome, Planted, run};

/// Seeds of a test that is not told how many: `make simulate` runs more, in a faster build.
const SEEDS: u64 = 10;
/// Failures that are told in full.
const TOLD_MAX: usize = 3;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// What a run in a process of its own printed, and whether it was good.
fn run_alone(seed: u64) -> (bool, String) {
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program);
    child.args(["--exact", "simulation::tests::clusters_keep_their_promises", "--nocapture"]);
    let output = child.env("PHAROS_SIM_SEED", seed.to_string()).output().expect("this program can be started");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), format!("{out}{err}"))
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

/// Each seed has a process of its own: tokio numbers the tasks of a process, and drops them by their numbers.
#[test]
fn clusters_keep_their_promises() {
    if let Some(seed) = variable("PHAROS_SIM_SEED") {
        log_if_asked();
        let outcome = run(seed, &Plan::of(seed), Planted::Nothing);
        println!("{}", told(seed, &outcome));
        assert_eq!(outcome.violations, [""; 0]);
        return;
    }
    let first = variable("PHAROS_SIM_FIRST").unwrap_or(1);
    let count = variable("PHAROS_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(first);
    let failures = Mutex::new(Vec::new());
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::SeqCst);
        if seed >= first + count {
            return;
        }
        if seed.is_multiple_of(100) {
            println!("seed {seed}, {} failed", failures.lock().len());
        }
        let (good, words) = run_alone(seed);
        if !good {
            println!("seed {seed} failed");
            failures.lock().push((seed, words));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner();
    println!("{} of {count} seeds are good", count - failures.len() as u64);
    let seeds: Vec<u64> = failures.iter().map(|(seed, _)| *seed).collect();
    let words: Vec<&str> = failures.iter().take(TOLD_MAX).map(|(_, words)| words.as_str()).collect();
    assert!(failures.is_empty(), "seeds {seeds:?} failed\n{}", words.join("\n\n"));
}

/// Where tokio's randomness can be set.
#[cfg(tokio_unstable)]
#[test]
fn a_seed_fixes_everything() {
    for seed in [3, 4] {
        let outcome = || {
            let (_, words) = run_alone(seed);
            words.lines().find(|line| line.contains("digest")).map(str::to_owned).expect("a run tells its digest")
        };
        assert_eq!(outcome(), outcome());
    }
}

#[test]
fn disks_that_lie_about_syncs_are_found_out() {
    let outcome = run(1, &Plan::blackout(), Planted::LyingDisks);
    // Something acknowledged is missed, or nodes see for themselves that their logs lack what they had written, and do not open.
    let signs = [" lost ", " missed ", "not all members are open"];
    let is_sign = |violation: &String| signs.iter().any(|sign| violation.contains(sign));
    assert!(outcome.violations.iter().any(is_sign), "{outcome:#?}");
    assert_eq!(run(1, &Plan::blackout(), Planted::Nothing).violations, [""; 0]);
}
