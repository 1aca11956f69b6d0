use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::run::Runner;
use super::*;
use crate::testing::Cluster;
use stored::Stored;

mod immediate;
mod stored;

fn run_file(path: &Path, options: EngineOptions) -> Report {
    run_file_on(&Runner::new(options).unwrap(), path)
}

fn run_file_on(runner: &Runner, path: &Path) -> Report {
    let text = std::fs::read_to_string(path).unwrap();
    wait_for(run_on(runner, &text)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    runtime.unwrap().block_on(future)
}

/// The folder of upstream's scripts; without one a test that needs them says so and does nothing.
fn upstream_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("PHAROS_PROMQLTEST");
    if folder.is_none() {
        let why = "skipped: PHAROS_PROMQLTEST does not name the folder of upstream's scripts";
        let _ = writeln!(std::io::stderr(), "{why}");
    }
    folder.map(PathBuf::from)
}

/// The scripts of a folder, by name.
fn scripts(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut scripts: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "test")).collect();
    scripts.sort();
    scripts
}

fn own_scripts_pass(folder: &str, options: EngineOptions) {
    own_scripts_pass_on(folder, |path| run_file(path, options.clone()));
}

fn own_scripts_pass_on(folder: &str, run: impl Fn(&Path) -> Report) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder);
    let mut failed = 0;
    for path in scripts(&folder) {
        let report = run(&path);
        assert!(report.total > 0, "{} tests something", path.display());
        print(&path.display().to_string(), &report);
        failed += report.failures.len();
    }
    assert_eq!(failed, 0, "evaluations that failed are printed above");
}

#[test]
fn own_scripts_pass_with_names_removed_at_the_end() {
    own_scripts_pass("", engine_options());
}

#[test]
fn own_scripts_pass_in_a_single_partition() {
    own_scripts_pass("", EngineOptions { parallelism: 1, ..engine_options() });
}

#[test]
fn own_scripts_pass_with_names_removed_at_once() {
    own_scripts_pass("immediate", EngineOptions { delayed_name_removal: false, ..engine_options() });
}

#[test]
fn own_scripts_pass_over_workers_that_die_and_that_do_not() {
    let seed = new_seed();
    for (folder, delayed_name_removal) in [("", true), ("immediate", false)] {
        for cluster in [Cluster::new, Cluster::with_deaths] {
            let options = EngineOptions { delayed_name_removal, ..engine_options() };
            let over = |source, clock: &_| cluster(source, clock, seed);
            own_scripts_pass_on(folder, |path| {
                run_file_on(&Runner::over_workers(options.clone(), over).unwrap().0, path)
            });
        }
    }
}

/// Of real heads and data files, with borders in the middle of most series. What was sealed says nothing of the sample before, as a chunk of
/// Prometheus does not: so a hint may be missing there, and nothing else.
#[test]
fn scripts_pass_on_a_store_too() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut total = 0;
    for path in upstream_folder().into_iter().chain([own]).flat_map(|folder| scripts(&folder)) {
        let mut report = run_file_on(&Runner::over(engine_options(), Stored::over).unwrap(), &path);
        report.failures.retain(|failure| !lacks_a_hint(failure));
        print(&path.display().to_string(), &report);
        assert!(report.total > 0 && report.failures.is_empty(), "evaluations that failed are printed above");
        total += report.total;
    }
    println!("{total} evaluations");
}

/// Whether all that differs is a hint, or the warning that two hints contradict each other.
fn lacks_a_hint(failure: &Failure) -> bool {
    let without = |text: &str| text.replace("/NotCounterReset", "").replace("/Unknown", "");
    let warned = failure.expected.contains("conflicting counter resets during histogram aggregation");
    without(&failure.expected) == without(&failure.got) || (warned && failure.got == "[]")
}

#[test]
fn a_script_says_what_it_expected_and_what_it_got() {
    let script = "load 1m\n  m 1 2\n\neval instant at 1m m\n  m 3\n\neval range from 0 to 1m step 1m m\n  m 1 2\n";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let report = runtime.block_on(run(script, engine_options())).unwrap();
    assert_eq!((report.passed, report.total), (1, 2));
    let failure =
        Failure { line: 4, eval: "m".into(), expected: "{__name__=\"m\"} 3".into(), got: "{__name__=\"m\"} 2".into() };
    assert_eq!(report.failures, [failure]);
}

fn print(name: &str, report: &Report) {
    println!("{name} {}/{}", report.passed, report.total);
    for failure in &report.failures {
        println!(
            "  {name}:{} {}\n    expected {}\n    got      {}",
            failure.line, failure.eval, failure.expected, failure.got
        );
    }
}

/// Runs upstream's scripts, and says how many evaluations there were.
fn upstream_scripts_pass_on(mut run: impl FnMut(&Path) -> Report) -> usize {
    let Some(folder) = upstream_folder() else { return 0 };
    let (mut passed, mut total) = (0, 0);
    for path in scripts(&folder) {
        let report = run(&path);
        print(&path.display().to_string(), &report);
        (passed, total) = (passed + report.passed, total + report.total);
    }
    assert_eq!(passed, total, "evaluations that failed are printed above");
    total
}

#[test]
fn upstream_scripts_pass() {
    upstream_scripts_pass_on(|path| run_file(path, engine_options()));
}

/// Of the places of boundaries in time and of deaths: another in each run, printed when a script fails. `PHAROS_SCRIPT_SEED`
/// takes one again.
fn new_seed() -> u64 {
    let again = std::env::var("PHAROS_SCRIPT_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seed = again.unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("seed {seed}");
    seed
}

#[test]
fn upstream_scripts_pass_over_workers() {
    let seed = new_seed();
    upstream_scripts_pass_on(|path| {
        let cluster = |source, clock: &_| Cluster::new(source, clock, seed);
        run_file_on(&Runner::over_workers(engine_options(), cluster).unwrap().0, path)
    });
}

#[test]
fn upstream_scripts_pass_while_workers_die() {
    let seed = new_seed();
    let mut deaths = 0;
    let total = upstream_scripts_pass_on(|path| {
        let cluster = |source, clock: &_| Cluster::with_deaths(source, clock, seed);
        let (runner, cluster) = Runner::over_workers(engine_options(), cluster).unwrap();
        let report = run_file_on(&runner, path);
        deaths += cluster.deaths();
        report
    });
    println!("{deaths} workers died");
    assert!(deaths as usize >= total / 2, "{deaths} deaths in {total} evaluations");
}
