//! What a run gave: a page to look at (`report.html`), a summary for programs (`summary.json`), a few lines for the terminal.

mod chart;
mod page;
mod timeline;
mod totals;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::check::resumption::{self, Resumption};
use crate::check::{Outcome, Verdict};
use crate::history::{Event, Kind};
use crate::run::Facts;
use timeline::Timeline;

pub use totals::{Totals, add_up};

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub facts: Facts,
    pub verdicts: Vec<Verdict>,
    /// How operations of each kind ended.
    pub operations: BTreeMap<String, Ends>,
    pub seconds: f64,
    /// After each fault that spared a majority.
    pub resumptions: Vec<Resumption>,
    pub query_failures_ms: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    pub ok: u64,
    pub fail: u64,
    pub info: u64,
}

impl Report {
    pub fn new(facts: Facts, events: &[Event], judge: fn(&[Event], &Facts) -> Vec<Verdict>) -> Self {
        let verdicts = judge(events, &facts);
        let seconds = events.last().map_or(0.0, |event| event.t_ns as f64 / 1e9);
        let (resumptions, query_failures_ms) = (resumption::resumptions(events), resumption::query_failures(events));
        Self { facts, verdicts, operations: ends(events), seconds, resumptions, query_failures_ms }
    }

    /// Whether all promises were kept, and every one could be judged.
    pub fn holds(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.outcome == Outcome::Holds)
    }

    /// For the terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let faults: Vec<String> = self.facts.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(text, "faults: {}", faults.join(", ")).expect("a string takes everything");
        let done: Vec<String> = self.facts.coverage.iter().map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(text, "nodes: {}", done.join(", ")).expect("a string takes everything");
        for (fault, why) in &self.facts.skipped {
            writeln!(text, "skipped: {fault}: {why}").expect("a string takes everything");
        }
        for verdict in &self.verdicts {
            let figures: Vec<String> = verdict.figures.iter().map(|(name, value)| format!("{name} {value}")).collect();
            writeln!(text, "{:?}: {}: {}", verdict.outcome, verdict.checker, figures.join(", "))
                .expect("a string takes everything");
            for (kind, violations) in &verdict.violations {
                for detail in &violations.first {
                    writeln!(text, "    {kind}: {detail}").expect("a string takes everything");
                }
            }
        }
        write!(text, "seed {}", self.facts.seed).expect("a string takes everything");
        text
    }
}

fn ends(events: &[Event]) -> BTreeMap<String, Ends> {
    let mut ends: BTreeMap<String, Ends> = BTreeMap::new();
    for event in events.iter().filter(|event| event.kind != Kind::Invoke) {
        let name = event.action.name();
        // Not something that a client does and waits for.
        if ["fault", "heal", "mark", "claims", "farewell"].contains(&name) {
            continue;
        }
        let ends = ends.entry(name.to_owned()).or_default();
        match event.kind {
            Kind::Ok => ends.ok += 1,
            Kind::Fail => ends.fail += 1,
            Kind::Info | Kind::Invoke => ends.info += 1,
        }
    }
    ends
}

/// Writes the page and the summary into the run's folder.
pub fn write(folder: &Path, report: &Report, events: &[Event]) -> Result<()> {
    fs::write(folder.join("summary.json"), serde_json::to_string_pretty(report)?)?;
    fs::write(folder.join("report.html"), page::page(report, &Timeline::new(events)))?;
    Ok(())
}

/// Copies a run's summary to a folder in which those of many runs are kept, to be added up.
pub fn keep(results: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(results)?;
    let millis = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    fs::copy(folder.join("summary.json"), results.join(format!("run-{millis}.json")))?;
    Ok(())
}

#[cfg(test)]
mod tests;
