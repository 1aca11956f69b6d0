//! Expressions over native histograms, most of which have some left to look at.

use super::Generator;

/// By share: sums over all kinds have no answer.
const METRICS: [&str; 8] = [
    "latency_seconds",
    "latency_seconds",
    "latency_seconds",
    "size_bytes",
    "size_bytes",
    "size_bytes",
    "mixed",
    "{__name__=~\".+\"}",
];
const MATCHERS: [&str; 6] = ["", "", "job=\"api\"", "instance=~\"0|1\"", "zone=\"\"", "zone!=\"a\""];
/// Those that make histograms of histograms.
const RANGE: [&str; 10] = [
    "rate",
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "sum_over_time",
    "avg_over_time",
    "last_over_time",
    "first_over_time",
];
const RANGE_TO_FLOAT: [&str; 7] =
    ["count_over_time", "present_over_time", "resets", "changes", "min_over_time", "max_over_time", "stddev_over_time"];

impl Generator<'_> {
    /// An instant vector.
    pub(crate) fn native_expression(&mut self) -> String {
        let depth = self.rng.usize(0..=3);
        if self.rng.bool() { self.histograms(depth) } else { self.floats(depth) }
    }

    /// A vector that is of histograms, except where the data or a mixture make floats or nothing of it.
    fn histograms(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.native_leaf();
        }
        match self.rng.u8(..20) {
            0..4 => self.native_leaf(),
            4..11 => {
                let inner = self.histograms(depth - 1);
                format!("{}{}({inner})", self.pick(&["sum", "sum", "avg"]), self.grouping())
            }
            11 => format!("-({})", self.histograms(depth - 1)),
            12 => format!("({}) {} {}", self.histograms(depth - 1), self.pick(&["*", "/", "/"]), self.number()),
            13 => format!("{} * ({})", self.number(), self.histograms(depth - 1)),
            14 | 15 => {
                let op = self.pick(&["and", "or", "unless"]);
                let (left, matching, right) = (self.histograms(depth - 1), self.matching(), self.histograms(depth - 1));
                format!("({left}) {op} {matching}({right})")
            }
            16 | 17 => {
                let (left, matching) = (self.histograms(depth - 1), self.matching_with_grouping());
                let (op, right) = match self.rng.u8(..4) {
                    0 => (self.pick(&["*", "/"]), self.floats(depth - 1)),
                    1 | 2 => (self.pick(&["+", "-"]), left.clone()),
                    _ => (self.pick(&["+", "-"]), self.histograms(depth - 1)),
                };
                format!("({left}) {op} {matching}({right})")
            }
            18 => {
                let (left, right) = (self.native_leaf(), self.native_leaf());
                let right = if self.rng.bool() { left.clone() } else { right };
                format!("{left} {} {}{right}", self.pick(&["==", "!=", "== bool", "!= bool"]), self.matching())
            }
            // Nearly all of which have no answer.
            _ => format!("({}) {} {}", self.histograms(depth - 1), self.pick(&["+", "-", "^", "> "]), self.number()),
        }
    }

    fn floats(&mut self, depth: usize) -> String {
        match self.rng.u8(..12) {
            0..4 => {
                let function = self.pick(&["count", "sum", "avg", "stddev", "stdvar"]);
                format!("histogram_{function}({})", self.histograms(depth))
            }
            4..7 => {
                let phi = self.pick(&["0.5", "0.9", "0.1", "0", "1", "0.99", "0.3", "-1", "2", "NaN"]);
                format!("histogram_quantile({phi}, {})", self.histograms(depth))
            }
            7 | 8 => {
                let (lower, upper) =
                    (self.pick(&["0", "0.3", "-Inf", "1", "-0.7"]), self.pick(&["1", "2", "Inf", "0.7"]));
                format!("histogram_fraction({lower}, {upper}, {})", self.histograms(depth))
            }
            9 => {
                let function = self.pick(&RANGE_TO_FLOAT);
                format!("{function}({})", self.native_matrix())
            }
            10 => format!(
                "{}{}({})",
                self.pick(&["count", "group", "min", "stddev"]),
                self.grouping(),
                self.histograms(depth)
            ),
            _ => format!("abs({})", self.histograms(depth)),
        }
    }

    fn native_leaf(&mut self) -> String {
        if self.rng.u8(..3) == 0 {
            return format!("{}{}", self.native_metric(), self.moved());
        }
        let function = self.pick(&RANGE);
        format!("{function}({})", self.native_matrix())
    }

    fn native_matrix(&mut self) -> String {
        if self.rng.u8(..6) == 0 {
            let inner = match self.rng.bool() {
                true => self.native_leaf(),
                false => format!("sum{}({})", self.grouping(), self.native_leaf()),
            };
            return format!("({inner})[{}]{}", self.pick(&["2m:30s", "5m:", "95s:13s", "1m:10s"]), self.moved());
        }
        format!("{}[{}]{}", self.native_metric(), self.window(), self.moved())
    }

    fn native_metric(&mut self) -> String {
        let (metric, matcher) = (self.pick(&METRICS), self.pick(&MATCHERS));
        match metric.strip_suffix('}') {
            Some(metric) => format!("{metric}, {matcher}}}"),
            None => format!("{metric}{{{matcher}}}"),
        }
    }
}
