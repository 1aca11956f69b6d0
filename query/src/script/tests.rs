use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::*;

mod immediate;

fn run_file(path: &Path, options: EngineOptions) -> Report {
    let text = std::fs::read_to_string(path).unwrap();
    wait_for(run(&text, options)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
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
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder);
    let mut failed = 0;
    for path in scripts(&folder) {
        let report = run_file(&path, options.clone());
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

#[test]
fn upstream_scripts_pass() {
    let Some(folder) = upstream_folder() else { return };
    let (mut passed, mut total) = (0, 0);
    for path in scripts(&folder) {
        let report = run_file(&path, engine_options());
        print(&path.display().to_string(), &report);
        (passed, total) = (passed + report.passed, total + report.total);
    }
    assert_eq!(passed, total, "evaluations that failed are printed above");
}
