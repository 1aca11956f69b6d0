//! Random expressions, well typed and mostly sensible: selectors that select, labels that exist, windows that hold samples.

mod native;
mod operators;
mod selector;

use fastrand::Rng;

/// The language that expressions are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// All of today's language but native histograms and `info()`.
    Today,
    /// What Prometheus 2.42 knows too and means the same by.
    Old,
}

/// Deepest nesting of an expression.
const DEPTH: usize = 4;

const MATH: [&str; 21] = [
    "abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
    "cosh", "tanh", "rad", "deg", "sgn", "asinh",
];
const DATES: [&str; 8] =
    ["year", "month", "day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute"];
/// Where those begin that 2.42 evaluates as today.
const RANGE_OLD: usize = 3;
const RANGE: [&str; 18] = [
    "rate",
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "resets",
    "changes",
    "deriv",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "last_over_time",
    "present_over_time",
    "stddev_over_time",
    "stdvar_over_time",
];
const RANGE_TODAY: [&str; 6] = [
    "first_over_time",
    "mad_over_time",
    "ts_of_min_over_time",
    "ts_of_max_over_time",
    "ts_of_last_over_time",
    "ts_of_first_over_time",
];

pub(crate) struct Generator<'a> {
    rng: &'a mut Rng,
    dialect: Dialect,
}

impl<'a> Generator<'a> {
    pub(crate) fn new(rng: &'a mut Rng, dialect: Dialect) -> Self {
        Self { rng, dialect }
    }

    pub(crate) fn expression(&mut self) -> String {
        let depth = self.rng.usize(1..=DEPTH);
        match self.rng.u8(..40) {
            0 | 1 => self.scalar(depth),
            2 => self.range_vector(depth),
            _ => self.vector(depth),
        }
    }

    fn is_today(&self) -> bool {
        self.dialect == Dialect::Today
    }

    fn pick<'b>(&mut self, list: &[&'b str]) -> &'b str {
        list[self.rng.usize(..list.len())]
    }

    fn vector(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.instant_selector();
        }
        match self.rng.u8(..100) {
            0..6 => self.instant_selector(),
            6..32 => self.range_call(depth - 1),
            32..56 => self.aggregation(depth - 1),
            56..76 => self.binary(depth - 1),
            76..82 => self.math(depth - 1),
            82..85 => format!("-{}", self.operand(depth - 1)),
            85..89 => self.relabel(depth - 1),
            89..93 => self.buckets(depth - 1),
            93..95 => format!("absent({})", self.vector(depth - 1)),
            95..97 => format!("vector({})", self.scalar(depth - 1)),
            97..98 => {
                let of = if self.is_today() { self.vector(depth - 1) } else { self.metric() };
                format!("timestamp({of})")
            }
            98..99 if self.is_today() => {
                let name = self.pick(&["sort_by_label", "sort_by_label_desc"]);
                format!("{name}({}, \"job\", \"zone\")", self.vector(depth - 1))
            }
            _ => format!("{}({})", self.pick(&["sort", "sort_desc"]), self.vector(depth - 1)),
        }
    }

    fn operand(&mut self, depth: usize) -> String {
        format!("({})", self.vector(depth))
    }

    fn scalar(&mut self, depth: usize) -> String {
        match self.rng.u8(..10) {
            0..5 => self.number(),
            5 => "time()".into(),
            6 if depth > 0 => format!("scalar({})", self.vector(depth - 1)),
            7 if depth > 0 => {
                let op = self.arithmetic();
                format!("({} {op} {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            8 if depth > 0 => {
                let op = self.comparison();
                format!("({} {op} bool {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            9 if self.is_today() => self.pick(&["start()", "end()", "step()", "range()", "pi()"]).into(),
            _ => self.number(),
        }
    }

    fn number(&mut self) -> String {
        let list = ["0", "1", "2", "-1", "0.5", "3", "10", "100", "-0.25", "0.9", "NaN", "Inf", "-Inf"];
        let known = if self.is_today() { list.len() } else { 10 };
        list[self.rng.usize(..known)].into()
    }

    fn math(&mut self, depth: usize) -> String {
        let vector = self.vector(depth);
        match self.rng.u8(..11) {
            0 => format!("clamp({vector}, {}, {})", self.scalar(depth), self.scalar(depth)),
            1 => format!("clamp_min({vector}, {})", self.scalar(depth)),
            2 => format!("clamp_max({vector}, {})", self.scalar(depth)),
            3 => format!("round({vector})"),
            4 => format!("round({vector}, {})", self.pick(&["0.5", "0.1", "10", "0"])),
            5 => format!("{}()", self.pick(&DATES)),
            6 => format!("{}({vector})", self.pick(&DATES)),
            _ => format!("{}({vector})", self.pick(&MATH)),
        }
    }

    fn range_call(&mut self, depth: usize) -> String {
        if self.is_today() && self.rng.u8(..12) == 0 {
            return self.extended_call();
        }
        if !self.is_today() && self.rng.bool() {
            // Of what may come near zero 2.42 extrapolates otherwise.
            return format!("{}({})", self.pick(&["rate", "increase"]), self.counter_matrix());
        }
        let matrix = self.matrix(depth);
        match self.rng.u8(..20) {
            // With `@` and an argument that changes, 2.42 moves the window.
            0 | 1 if !self.is_today() => {
                let matrix = format!("{}[{}]", self.metric(), self.window());
                format!("{}, {matrix})", self.pick(&["quantile_over_time(0.9", "quantile_over_time(0.25"]))
            }
            0 => format!("quantile_over_time({}, {matrix})", self.scalar(depth)),
            1 => format!("predict_linear({matrix}, {})", self.pick(&["60", "600", "-30", "time()"])),
            2 => format!("absent_over_time({matrix})"),
            3 if self.is_today() => {
                let (value, trend) = (self.pick(&["0.1", "0.5", "0.9", "1"]), self.pick(&["0.1", "0.5", "0.9"]));
                format!("double_exponential_smoothing({matrix}, {value}, {trend})")
            }
            4..8 if self.is_today() => format!("{}({matrix})", self.pick(&RANGE_TODAY)),
            _ => {
                let first = if self.is_today() { 0 } else { RANGE_OLD };
                format!("{}({matrix})", self.pick(&RANGE[first..]))
            }
        }
    }

    fn relabel(&mut self, depth: usize) -> String {
        let vector = self.vector(depth);
        let labels: &[&str] =
            if self.is_today() { &["job", "zone", "new", "__name__"] } else { &["job", "zone", "new"] };
        let destination = self.pick(labels);
        if self.rng.u8(..3) == 0 {
            return format!("label_join({vector}, \"{destination}\", \"-\", \"job\", \"instance\")");
        }
        let replacement = self.pick(&["$1", "x", "", "${1}y", "$1y"]);
        let source = self.pick(&["job", "instance", "__name__", "zone"]);
        let pattern = self.pick(&["(.*)", "(a).*", "", "([0-9])", ".+"]);
        format!("label_replace({vector}, \"{destination}\", \"{replacement}\", \"{source}\", \"{pattern}\")")
    }

    fn buckets(&mut self, depth: usize) -> String {
        let matrix = format!("latency_bucket[{}]", self.window());
        let buckets = match self.rng.u8(..5) {
            0 => "latency_bucket".into(),
            1 => self.vector(depth),
            2 => format!("sum by (le) (rate({matrix}))"),
            3 => format!("sum by (le, job) (increase({matrix}))"),
            _ => format!("rate({matrix})"),
        };
        match self.rng.u8(..6) {
            0 if self.is_today() => {
                let (lower, upper) = (self.pick(&["0", "0.3", "-Inf", "1"]), self.pick(&["1", "2", "Inf", "0.7"]));
                format!("histogram_fraction({lower}, {upper}, {buckets})")
            }
            1 if self.is_today() => format!("histogram_quantiles({buckets}, \"q\", 0.5, 0.9)"),
            2 => format!("histogram_quantile({}, {buckets})", self.scalar(depth)),
            _ => format!("histogram_quantile({}, {buckets})", self.pick(&["0.5", "0.9", "0", "1", "0.99"])),
        }
    }
}
