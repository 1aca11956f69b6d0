//! Judging a history. Checkers are pure functions of events.

pub mod append;
pub mod availability;
pub mod ends;
pub mod lease;
pub mod limit;
pub mod partial;
pub mod register;
pub mod resumption;
pub mod scrape;
pub mod set;

mod elements;
mod silences;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;

use serde::Serialize;

use limit::Limit;

/// Most violations of one kind that are spelled out; all are counted.
const DETAILS_MAX: usize = 10;

/// What a checker found.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub checker: &'static str,
    pub outcome: Outcome,
    pub figures: BTreeMap<&'static str, f64>,
    /// Kinds of violations, with their number and the first few.
    pub violations: BTreeMap<&'static str, Violations>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Holds,
    Violated,
    /// The history does not say enough.
    Unknown,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Violations {
    pub count: usize,
    pub first: Vec<String>,
}

impl Verdict {
    pub fn new(checker: &'static str) -> Self {
        Self { checker, outcome: Outcome::Holds, figures: BTreeMap::new(), violations: BTreeMap::new() }
    }

    pub fn violate(&mut self, kind: &'static str, detail: impl FnOnce() -> String) {
        self.outcome = Outcome::Violated;
        let violations = self.violations.entry(kind).or_default();
        violations.count += 1;
        if violations.first.len() < DETAILS_MAX {
            violations.first.push(detail());
        }
    }

    pub fn figure(&mut self, name: &'static str, value: impl Into<f64>) {
        self.figures.insert(name, value.into());
    }

    pub fn count(&mut self, name: &'static str, count: usize) {
        self.figures.insert(name, count as f64);
    }

    /// What was judged by, and how often a promise was not kept by less than that.
    pub fn limit(&mut self, limit: Limit, beyond: usize) {
        self.figure("promised s", limit.promised.as_secs_f64());
        self.figure("judged s", limit.judged.as_secs_f64());
        self.count("beyond the promise", beyond);
    }

    /// Nothing was found, because there was nothing to look at.
    pub fn unknown_if(&mut self, nothing: bool) {
        if nothing && self.outcome == Outcome::Holds {
            self.outcome = Outcome::Unknown;
        }
    }

    /// How many violations of a kind there are.
    pub fn violated(&self, kind: &str) -> usize {
        self.violations.get(kind).map_or(0, |violations| violations.count)
    }
}

/// The value below which the given part of the values lies; 0 of none. Sorts them.
pub fn quantile(values: &mut [u64], part: f64) -> u64 {
    values.sort_unstable();
    let at = ((values.len() as f64 * part).ceil() as usize).clamp(1, values.len().max(1)) - 1;
    values.get(at).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occur() {
        assert_eq!(quantile(&mut [], 0.5), 0);
        assert_eq!(quantile(&mut [4, 1, 3, 2], 0.5), 2);
        assert_eq!(quantile(&mut [4, 1, 3, 2], 0.99), 4);
        assert_eq!(quantile(&mut [4, 1, 3, 2], 0.0), 1);
    }

    #[test]
    fn only_the_first_violations_are_spelled_out() {
        let mut verdict = Verdict::new("x");
        (0..25).for_each(|at| verdict.violate("lost", || at.to_string()));
        assert_eq!((verdict.violated("lost"), verdict.violations["lost"].first.len()), (25, DETAILS_MAX));
        verdict.unknown_if(true);
        assert_eq!(verdict.outcome, Outcome::Violated);
    }
}
