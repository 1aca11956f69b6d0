//! Aggregations and binary operators.

use super::Generator;

/// `atan2` keeps the name in 2.42, and `%` makes much of the last digit.
const ARITHMETIC_OLD: usize = 5;
const ARITHMETIC: [&str; 7] = ["+", "-", "*", "/", "^", "%", "atan2"];
const COMPARISONS: [&str; 6] = ["==", "!=", ">", "<", ">=", "<="];
/// Those before make the same of NaN in 2.42, and choose nothing.
const AGGREGATIONS_OLD: usize = 6;
const AGGREGATIONS: [&str; 8] = ["sum", "avg", "count", "min", "max", "group", "stddev", "stdvar"];
const LABELS: [&str; 6] = ["job", "instance", "zone", "path", "absent_label", "__name__"];

impl Generator<'_> {
    pub(super) fn aggregation(&mut self, depth: usize) -> String {
        let grouping = self.grouping();
        let vector = self.vector(depth);
        match self.rng.u8(..20) {
            0 | 1 if self.is_today() => {
                let op = self.pick(&["topk", "bottomk"]);
                format!("{op}{grouping}({}, {vector})", self.pick(&["1", "2", "3", "0", "2.9", "-1"]))
            }
            2 => {
                // A parameter that changes is taken of the first step in 2.42.
                let phi = if self.is_today() { self.scalar(depth) } else { self.number() };
                format!("quantile{grouping}({phi}, {vector})")
            }
            3 => {
                // The text of a value hides no rounding, so that it must not be that of a sum.
                let of = if self.is_today() && self.rng.bool() { self.range_call(0) } else { self.instant_selector() };
                format!("count_values{grouping}(\"value\", {of})")
            }
            4 if self.is_today() => format!("limitk{grouping}({}, {vector})", self.pick(&["1", "2", "5"])),
            5 if self.is_today() => {
                format!("limit_ratio{grouping}({}, {vector})", self.pick(&["0.5", "-0.5", "0.1", "1.5", "-2"]))
            }
            6 if self.is_today() => format!("topk{grouping}({}, {vector})", self.scalar(depth)),
            _ => {
                let known = if self.is_today() { AGGREGATIONS.len() } else { AGGREGATIONS_OLD };
                format!("{}{grouping}({vector})", self.pick(&AGGREGATIONS[..known]))
            }
        }
    }

    pub(super) fn grouping(&mut self) -> String {
        match self.rng.u8(..5) {
            0 => String::new(),
            1 | 2 => format!(" by ({}) ", self.label_list()),
            3 => " by (job) ".into(),
            _ => format!(" without ({}) ", self.label_list()),
        }
    }

    fn label_list(&mut self) -> String {
        let count = self.rng.usize(0..3);
        let known = if self.is_today() { LABELS.len() } else { LABELS.len() - 1 };
        let mut labels: Vec<&str> = (0..count).map(|_| LABELS[self.rng.usize(..known)]).collect();
        labels.dedup();
        labels.join(", ")
    }

    pub(super) fn binary(&mut self, depth: usize) -> String {
        let is_comparison = self.rng.bool();
        let op = if is_comparison { self.comparison() } else { self.arithmetic() };
        let bool = if is_comparison && self.rng.u8(..3) == 0 { " bool" } else { "" };
        let (left, right) = (self.operand(depth), self.operand(depth));
        match self.rng.u8(..10) {
            0 | 1 => format!("{left} {op}{bool} {}", self.scalar(depth)),
            2 => format!("{} {op}{bool} {right}", self.scalar(depth)),
            3..6 => format!("{left} {} {}{right}", self.pick(&["and", "or", "unless"]), self.matching()),
            _ => {
                let matching = self.matching_with_grouping();
                // Two of the same have matching series.
                let right = if self.rng.u8(..3) == 0 { left.clone() } else { right };
                format!("{left} {op}{bool} {matching}{right}")
            }
        }
    }

    pub(super) fn comparison(&mut self) -> &'static str {
        self.pick(&COMPARISONS)
    }

    pub(super) fn arithmetic(&mut self) -> &'static str {
        let known = if self.is_today() { ARITHMETIC.len() } else { ARITHMETIC_OLD };
        ARITHMETIC[self.rng.usize(..known)]
    }

    pub(super) fn matching(&mut self) -> String {
        match self.rng.u8(..4) {
            0 => format!("on ({}) ", self.label_list()),
            1 => format!("ignoring ({}) ", self.label_list()),
            _ => String::new(),
        }
    }

    pub(super) fn matching_with_grouping(&mut self) -> String {
        let mut matching = match self.rng.u8(..6) {
            0 => "on (job) ".into(),
            1 => "on (job, instance) ".into(),
            2 => "ignoring (zone, path) ".into(),
            _ => self.matching(),
        };
        if self.rng.u8(..3) == 0 {
            let matches = if matching.is_empty() { "ignoring () " } else { "" };
            let copied = self.pick(&["", "zone", "path"]);
            let copied = if matching.contains("on (") && matching.contains(copied) { "" } else { copied };
            matching = format!("{matches}{matching}{} ({copied}) ", self.pick(&["group_left", "group_right"]));
        }
        if self.is_today() && self.rng.u8(..6) == 0 {
            matching +=
                self.pick(&["fill (0) ", "fill_left (1) ", "fill_right (-1) ", "fill_left (2) fill_right (3) "]);
        }
        matching
    }
}
