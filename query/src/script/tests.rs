use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::*;

/// Upstream's scripts in the folder that `PHAROS_PROMQLTEST` names, with the least number of evaluations that must
/// pass, of those that do not meet native histograms.
const FLOORS: [(&str, usize); 14] = [
    ("aggregators.test", 125),
    ("at_modifier.test", 78),
    ("duration_expression.test", 59),
    ("extended_vectors.test", 120),
    ("fill-modifier.test", 46),
    ("functions.test", 323),
    ("histograms.test", 93),
    ("info.test", 52),
    ("literals.test", 25),
    ("native_histograms.test", 3),
    ("operators.test", 142),
    ("selectors.test", 31),
    // Storage keeps no start timestamps.
    ("start_timestamps.test", 2),
    ("type_and_unit.test", 58),
];

fn run_file(path: &Path, options: EngineOptions) -> Report {
    let text = std::fs::read_to_string(path).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(run(&text, options)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
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
        assert!(report.total > 0 && report.histogram == 0, "{} tests something", path.display());
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
    assert_eq!((report.passed, report.total, report.histogram), (1, 2, 0));
    let failure =
        Failure { line: 4, eval: "m".into(), expected: "{__name__=\"m\"} 3".into(), got: "{__name__=\"m\"} 2".into() };
    assert_eq!(report.failures, [failure]);
}

fn print(name: &str, report: &Report) {
    println!("{name} {}/{} (+{} with histograms)", report.passed, report.total, report.histogram);
    for failure in &report.failures {
        println!(
            "  {name}:{} {}\n    expected {}\n    got      {}",
            failure.line, failure.eval, failure.expected, failure.got
        );
    }
}

#[test]
fn upstream_scripts_pass_as_far_as_they_did() {
    let Some(folder) = std::env::var_os("PHAROS_PROMQLTEST") else {
        let _ =
            writeln!(std::io::stderr(), "skipped: PHAROS_PROMQLTEST does not name the folder of upstream's scripts");
        return;
    };
    let (mut passed, mut total) = (0, 0);
    for path in scripts(Path::new(&folder)) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let report = run_file(&path, engine_options());
        print(name, &report);
        (passed, total) = (passed + report.passed, total + report.total);
        let floor = FLOORS.iter().find(|(known, _)| *known == name).map_or(0, |(_, floor)| *floor);
        assert!(report.passed >= floor, "{name}: {} passed, {floor} did before", report.passed);
    }
    println!("all {passed}/{total}");
}
