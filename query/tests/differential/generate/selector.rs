//! Selectors, windows, subqueries, and the times they are moved to.

use super::{Dialect, Generator};

const METRICS: [&str; 6] = ["requests_total", "requests_total", "errors_total", "memory", "temperature", "created"];
const MATCHERS: [&str; 12] = [
    "job=\"api\"",
    "job!=\"api\"",
    "instance=\"1\"",
    "instance=~\"0|1\"",
    "instance!~\"0|1\"",
    "zone=\"\"",
    "zone!=\"\"",
    "zone=~\"a?\"",
    "path=~\".*x.*\"",
    "absent_label=\"\"",
    "absent_label=\"x\"",
    "job=~\"a.*|d.*\"",
];

impl Generator<'_> {
    pub(super) fn instant_selector(&mut self) -> String {
        let smoothed = if self.is_today() && self.rng.u8(..25) == 0 { " smoothed" } else { "" };
        format!("{}{smoothed}{}", self.metric(), self.moved())
    }

    pub(super) fn metric(&mut self) -> String {
        let mut matchers = Vec::new();
        while self.rng.u8(..3) == 0 {
            matchers.push(self.pick(&MATCHERS).to_owned());
        }
        let name = match self.rng.u8(..20) {
            0 => {
                matchers.push("__name__=~\"(requests|errors)_total\"".into());
                ""
            }
            1 => {
                matchers.push("__name__=~\".+\"".into());
                ""
            }
            2 => "latency_bucket",
            3 => "no_such_metric",
            _ => self.pick(&METRICS),
        };
        if matchers.is_empty() { name.into() } else { format!("{name}{{{}}}", matchers.join(", ")) }
    }

    /// An offset, a fixed time, both or, mostly, neither.
    pub(super) fn moved(&mut self) -> String {
        let offset = ["offset 1m", "offset 37s", "offset -45s", "offset 5m"][self.rng.usize(..4)];
        let at = ["@ 600.5", "@ 1234.5", "@ start()", "@ end()", "@ 0.5", "@ 600"];
        let known = if self.is_today() { at.len() } else { at.len() - 1 };
        let at = at[self.rng.usize(..known)];
        match self.rng.u8(..16) {
            0 => format!(" {offset}"),
            1 => format!(" {at}"),
            2 => format!(" {at} {offset}"),
            3 if self.is_today() => " offset (step() + 10s)".into(),
            _ => String::new(),
        }
    }

    pub(super) fn window(&mut self) -> &'static str {
        match self.rng.u8(..12) {
            0 if self.dialect == Dialect::Today => "step() * 3 + 20s",
            0 | 1 => "1s",
            2 => "17s",
            3..5 => "30s",
            5..7 => "1m",
            7..9 => "2m",
            9..11 => "5m",
            _ => "15m",
        }
    }

    pub(super) fn matrix(&mut self, depth: usize) -> String {
        if depth > 0 && self.rng.u8(..5) == 0 {
            let step = ["30s", "10s", "1m", "13s", ""][self.rng.usize(..5)];
            let range = ["1m", "2m", "5m", "95s"][self.rng.usize(..4)];
            // A subquery within would have its windows end where the inner steps are.
            let inner = self.operand(if self.is_today() { depth - 1 } else { 0 });
            return format!("{inner}[{range}:{step}]{}", self.moved());
        }
        format!("{}[{}]{}", self.metric(), self.window(), self.moved())
    }

    /// A selector or a subquery on its own, at the time of the query: `@` and offset would follow the bracket.
    pub(super) fn range_vector(&mut self, depth: usize) -> String {
        match self.rng.bool() {
            true => format!("{}[{}]", self.metric(), self.window()),
            false => {
                let inner = if self.is_today() { self.vector(depth) } else { self.instant_selector() };
                format!("({inner})[2m:{}]", self.pick(&["30s", "7s", "1m"]))
            }
        }
    }

    pub(super) fn counter_matrix(&mut self) -> String {
        let name = self.pick(&["requests_total", "errors_total", "latency_bucket"]);
        format!("{name}[{}]{}", self.window(), self.moved())
    }

    /// A window whose edges are looked at.
    pub(super) fn extended_call(&mut self) -> String {
        let (modifier, functions): (&str, &[&str]) = match self.rng.bool() {
            true => ("anchored", &["rate", "increase", "delta", "resets", "changes", "avg_over_time"]),
            false => ("smoothed", &["rate", "increase", "delta", "changes"]),
        };
        let function = self.pick(functions);
        format!("{function}({}[{}] {modifier}{})", self.metric(), self.window(), self.moved())
    }
}
