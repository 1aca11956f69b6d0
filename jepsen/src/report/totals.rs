//! Many runs added up: what was done to nodes, what was acknowledged, and what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::Ends;
use crate::check::limit::RESUMPTION_MEDIAN_MAX;
use crate::check::quantile;
use crate::check::resumption::Resumption;
use crate::run::Facts;

/// A run's `summary.json`, as far as it is added up.
#[derive(Clone, Debug, Deserialize)]
struct Summary {
    facts: Facts,
    verdicts: Vec<Judged>,
    operations: BTreeMap<String, Ends>,
    seconds: f64,
    #[serde(default)]
    resumptions: Vec<Resumption>,
    #[serde(default)]
    query_failures_ms: Vec<u64>,
}

#[derive(Clone, Debug, Deserialize)]
struct Judged {
    checker: String,
    outcome: String,
    figures: BTreeMap<String, f64>,
    violations: BTreeMap<String, Counted>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Counted {
    count: u64,
}

/// Sums over runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Totals {
    pub runs: u64,
    /// Runs in which every promise was kept.
    pub held: u64,
    pub seconds: f64,
    pub faults: BTreeMap<String, u64>,
    /// Acknowledged samples, by checker.
    pub acked: BTreeMap<String, f64>,
    pub operations: BTreeMap<String, Ends>,
    /// What nodes did, by their own metrics.
    pub coverage: BTreeMap<String, f64>,
    /// By checker and kind.
    pub violations: BTreeMap<String, u64>,
    /// Seeds of runs that did not hold, with the checkers that say so.
    pub seeds: BTreeMap<u64, Vec<String>>,
    /// Until all series were written again, by fault.
    pub resumptions: BTreeMap<String, Spread>,
    /// The same after all deaths of nodes that led something: what M3 is about.
    pub leaders_deaths: Spread,
    /// Windows in which queries failed.
    pub query_failures: Spread,
}

/// Times in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    pub count: usize,
    pub p50: u64,
    pub p90: u64,
    pub max: u64,
}

impl Spread {
    fn of(mut values: Vec<u64>) -> Self {
        let mut of = |part| quantile(&mut values, part);
        let (p50, p90, max) = (of(0.5), of(0.9), of(1.0));
        Self { count: values.len(), p50, p90, max }
    }
}

/// Times until writes went on, by fault.
pub(super) fn by_fault<'a>(resumptions: impl Iterator<Item = &'a Resumption>) -> BTreeMap<String, Spread> {
    let mut millis: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for one in resumptions {
        millis.entry(one.fault.clone()).or_default().push(one.millis);
    }
    millis.into_iter().map(|(fault, millis)| (fault, Spread::of(millis))).collect()
}

/// Adds up the summaries in these files, and in all folders below.
pub fn add_up(paths: &[PathBuf]) -> Result<Totals> {
    let mut files = Vec::new();
    for path in paths {
        find(path, &mut files)?;
    }
    ensure!(!files.is_empty(), "no summary there");
    // A run's own folder and what `--results` left of it hold the same.
    let (mut summaries, mut seen) = (Vec::new(), BTreeSet::new());
    for file in files {
        let bytes = fs::read(&file)?;
        let summary = serde_json::from_slice(&bytes).with_context(|| file.display().to_string())?;
        if seen.insert(bytes) {
            summaries.push(summary);
        }
    }
    Ok(sum(&summaries))
}

/// A file that is named is a summary; in folders `summary.json` is, and all that `--results` left.
fn find(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        let inner = entry?.path();
        let name = inner.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kept = name.starts_with("run-") && name.ends_with(".json");
        // Nodes' own folders may be large, or mounted and broken.
        let holds_runs = inner.is_dir() && !inner.join("log").exists() && name != "objects";
        if name == "summary.json" || kept || holds_runs {
            find(&inner, files)?;
        }
    }
    Ok(())
}

fn sum(summaries: &[Summary]) -> Totals {
    let mut totals = Totals { runs: summaries.len() as u64, ..Totals::default() };
    let mut failures = Vec::new();
    for summary in summaries {
        totals.seconds += summary.seconds;
        add(&mut totals.faults, &summary.facts.faults);
        add(&mut totals.coverage, &summary.facts.coverage);
        for (name, ends) in &summary.operations {
            let all = totals.operations.entry(name.clone()).or_default();
            *all = Ends { ok: all.ok + ends.ok, fail: all.fail + ends.fail, info: all.info + ends.info };
        }
        for judged in &summary.verdicts {
            if let Some(acked) = judged.figures.get("acked") {
                *totals.acked.entry(judged.checker.clone()).or_default() += acked;
            }
            for (kind, counted) in &judged.violations {
                *totals.violations.entry(format!("{}: {kind}", judged.checker)).or_default() += counted.count;
            }
        }
        let broken = summary.verdicts.iter().filter(|judged| judged.outcome != "holds");
        let broken: Vec<String> = broken.map(|judged| format!("{} {}", judged.checker, judged.outcome)).collect();
        if broken.is_empty() {
            totals.held += 1;
        } else {
            totals.seeds.insert(summary.facts.seed, broken);
        }
        failures.extend(&summary.query_failures_ms);
    }
    totals.resumptions = by_fault(summaries.iter().flat_map(|summary| &summary.resumptions));
    let deaths = summaries.iter().flat_map(|summary| &summary.resumptions).filter(|one| one.is_after_leaders_death());
    totals.leaders_deaths = Spread::of(deaths.map(|death| death.millis).collect());
    totals.query_failures = Spread::of(failures);
    totals
}

fn add<T: Copy + Default + std::ops::AddAssign>(all: &mut BTreeMap<String, T>, more: &BTreeMap<String, T>) {
    for (name, &count) in more {
        *all.entry(name.clone()).or_default() += count;
    }
}

impl Totals {
    /// Whether writes resumed in time after half of the deaths of leaders (M3), as far as there were any.
    pub fn resumed_in_time(&self) -> bool {
        u128::from(self.leaders_deaths.p50) <= RESUMPTION_MEDIAN_MAX.as_millis()
    }

    /// For the terminal.
    pub fn text(&self) -> String {
        let mut text = format!("{} runs, {} held, {:.0} s\n", self.runs, self.held, self.seconds);
        let list = |title: &str, values: &mut dyn Iterator<Item = (String, String)>| {
            let values: Vec<String> = values.map(|(name, value)| format!("{name} {value}")).collect();
            if values.is_empty() { String::new() } else { format!("{title}: {}\n", values.join(", ")) }
        };
        let spread = |Spread { count, p50, p90, max }: &Spread| format!("{count} x p50 {p50} p90 {p90} max {max}");
        text += &list("faults", &mut self.faults.iter().map(|(name, count)| (name.clone(), count.to_string())));
        text += &list("acked samples", &mut self.acked.iter().map(|(name, count)| (name.clone(), count.to_string())));
        text += &list(
            "operations",
            &mut self
                .operations
                .iter()
                .map(|(name, Ends { ok, fail, info })| (name.clone(), format!("{ok} ok {fail} fail {info} info"))),
        );
        text += &list("nodes", &mut self.coverage.iter().map(|(name, count)| (name.clone(), count.to_string())));
        for (fault, times) in &self.resumptions {
            writeln!(text, "ms until all series were written again after {fault}: {}", spread(times))
                .expect("a string takes everything");
        }
        let kept = if self.resumed_in_time() { "kept" } else { "NOT KEPT" };
        writeln!(
            text,
            "M3: ms until all series were written again after a leader's death: {}; promised p50 {}: {kept}",
            spread(&self.leaders_deaths),
            RESUMPTION_MEDIAN_MAX.as_millis()
        )
        .expect("a string takes everything");
        writeln!(text, "ms in which queries failed: {}", spread(&self.query_failures))
            .expect("a string takes everything");
        text += &list("violations", &mut self.violations.iter().map(|(name, count)| (name.clone(), count.to_string())));
        for (seed, checkers) in &self.seeds {
            writeln!(text, "seed {seed}: {}", checkers.join(", ")).expect("a string takes everything");
        }
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(seed: u64, millis: u64, lost: u64) -> String {
        let (outcome, violations) = match lost {
            0 => ("holds", "{}".to_owned()),
            _ => ("violated", format!(r#"{{"lost":{{"count":{lost},"first":["x"]}}}}"#)),
        };
        format!(
            r#"{{"facts":{{"seed":{seed},"command":"","nodes":3,"scrape_interval_seconds":2,"faults":{{"kill":2}},"coverage":{{}},
            "skipped":{{}},"crashes":[],"alarms":[],"broken":null}},"operations":{{"add":{{"ok":5,"fail":0,"info":1}}}},"seconds":10,
            "verdicts":[{{"checker":"W-set","outcome":"{outcome}","figures":{{"acked":100}},"violations":{violations}}}],
            "resumptions":[{{"fault":"kill","millis":{millis},"leads":8}}],"query_failures_ms":[{millis}]}}"#
        )
    }

    #[test]
    fn runs_add_up_wherever_they_are() {
        let dir = tempfile::tempdir().unwrap();
        for (folder, file, text) in [
            ("a", "summary.json", summary(1, 10, 0)),
            ("results", "run-2.json", summary(2, 30, 3)),
            ("results", "run-1.json", summary(1, 10, 0)),
            ("a/n1", "log", String::new()),
        ] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join(file), text).unwrap();
        }
        fs::write(dir.path().join("a/n1/summary.json"), "not one of ours").unwrap();
        let totals = add_up(&[dir.path().to_owned()]).unwrap();
        assert_eq!((totals.runs, totals.held, totals.faults["kill"]), (2, 1, 4));
        assert_eq!((totals.acked["W-set"], totals.operations["add"].ok), (200.0, 10));
        assert_eq!(totals.violations, BTreeMap::from([("W-set: lost".into(), 3)]));
        assert_eq!(totals.resumptions["kill"], Spread { count: 2, p50: 10, p90: 30, max: 30 });
        assert_eq!(totals.leaders_deaths, totals.resumptions["kill"]);
        assert!(totals.text().contains("seed 2: W-set violated"), "{}", totals.text());
        assert!(add_up(&[dir.path().join("a/n1")]).is_err());
    }

    #[test]
    fn half_of_the_leaders_deaths_have_to_be_over_in_time() {
        let summaries = |times: &[u64]| {
            let texts = (0..).zip(times).map(|(seed, &millis)| summary(seed, millis, 0));
            texts.map(|text| serde_json::from_str(&text).unwrap()).collect::<Vec<Summary>>()
        };
        assert!(sum(&summaries(&[5000, 4000, 9000])).resumed_in_time());
        let late = sum(&summaries(&[5001, 4000, 9000]));
        assert!(!late.resumed_in_time() && late.text().contains("NOT KEPT"), "{}", late.text());
        assert!(sum(&[]).resumed_in_time(), "nobody died");
    }
}
