//! Every function of PromQL with its signature. What they compute is left to the engine.

use std::hash::{Hash, Hasher};

use crate::ast::ValueType;

/// The signature of a function.
#[derive(Debug)]
pub struct Function {
    pub id: FunctionId,
    pub name: &'static str,
    /// Types of the arguments. The last one is that of all further arguments too.
    pub args: &'static [ValueType],
    pub arity: Arity,
    pub returns: ValueType,
    /// Whether it must be switched on, see [`crate::ParserOptions::experimental_functions`].
    pub experimental: bool,
}

/// How the number of arguments may differ from the number of types listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    Exact,
    /// The last listed argument may be missing, and up to this many may come in its place.
    Optional(usize),
    /// The last listed argument may be missing or repeated at will.
    Unbounded,
}

impl Function {
    /// Finds a function by its name, which is case-sensitive.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok().map(|at| &FUNCTIONS[at])
    }

    /// All functions, sorted by name.
    pub fn all() -> &'static [Self] {
        FUNCTIONS
    }
}

/// A function is itself: there is one entry for each.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

macro_rules! functions {
    ($($id:ident $name:literal ($($arg:ident),*) $arity:ident $(($count:literal))? -> $returns:ident, $stage:ident;)*) => {
        /// Names a function, for `match`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FunctionId {
            $(#[doc = concat!("`", $name, "()`")] $id,)*
        }

        /// Sorted by name.
        const FUNCTIONS: &[Function] = &[
            $(Function {
                id: FunctionId::$id,
                name: $name,
                args: &[$(ValueType::$arg),*],
                arity: Arity::$arity $(($count))?,
                returns: ValueType::$returns,
                experimental: matches!(Stage::$stage, Stage::experimental),
            },)*
        ];
    };
}

#[expect(non_camel_case_types, reason = "read as words of the table below")]
enum Stage {
    stable,
    experimental,
}

functions! {
    Abs "abs" (Vector) Exact -> Vector, stable;
    Absent "absent" (Vector) Exact -> Vector, stable;
    AbsentOverTime "absent_over_time" (Matrix) Exact -> Vector, stable;
    Acos "acos" (Vector) Exact -> Vector, stable;
    Acosh "acosh" (Vector) Exact -> Vector, stable;
    Asin "asin" (Vector) Exact -> Vector, stable;
    Asinh "asinh" (Vector) Exact -> Vector, stable;
    Atan "atan" (Vector) Exact -> Vector, stable;
    Atanh "atanh" (Vector) Exact -> Vector, stable;
    AvgOverTime "avg_over_time" (Matrix) Exact -> Vector, stable;
    Ceil "ceil" (Vector) Exact -> Vector, stable;
    Changes "changes" (Matrix) Exact -> Vector, stable;
    Clamp "clamp" (Vector, Scalar, Scalar) Exact -> Vector, stable;
    ClampMax "clamp_max" (Vector, Scalar) Exact -> Vector, stable;
    ClampMin "clamp_min" (Vector, Scalar) Exact -> Vector, stable;
    Cos "cos" (Vector) Exact -> Vector, stable;
    Cosh "cosh" (Vector) Exact -> Vector, stable;
    CountOverTime "count_over_time" (Matrix) Exact -> Vector, stable;
    DayOfMonth "day_of_month" (Vector) Optional(1) -> Vector, stable;
    DayOfWeek "day_of_week" (Vector) Optional(1) -> Vector, stable;
    DayOfYear "day_of_year" (Vector) Optional(1) -> Vector, stable;
    DaysInMonth "days_in_month" (Vector) Optional(1) -> Vector, stable;
    Deg "deg" (Vector) Exact -> Vector, stable;
    Delta "delta" (Matrix) Exact -> Vector, stable;
    Deriv "deriv" (Matrix) Exact -> Vector, stable;
    DoubleExponentialSmoothing "double_exponential_smoothing" (Matrix, Scalar, Scalar) Exact -> Vector, experimental;
    End "end" () Exact -> Scalar, experimental;
    Exp "exp" (Vector) Exact -> Vector, stable;
    FirstOverTime "first_over_time" (Matrix) Exact -> Vector, experimental;
    Floor "floor" (Vector) Exact -> Vector, stable;
    HistogramAvg "histogram_avg" (Vector) Exact -> Vector, stable;
    HistogramCount "histogram_count" (Vector) Exact -> Vector, stable;
    HistogramFraction "histogram_fraction" (Scalar, Scalar, Vector) Exact -> Vector, stable;
    HistogramQuantile "histogram_quantile" (Scalar, Vector) Exact -> Vector, stable;
    HistogramQuantiles "histogram_quantiles" (Vector, String, Scalar, Scalar) Optional(9) -> Vector, experimental;
    HistogramStddev "histogram_stddev" (Vector) Exact -> Vector, stable;
    HistogramStdvar "histogram_stdvar" (Vector) Exact -> Vector, stable;
    HistogramSum "histogram_sum" (Vector) Exact -> Vector, stable;
    Hour "hour" (Vector) Optional(1) -> Vector, stable;
    Idelta "idelta" (Matrix) Exact -> Vector, stable;
    Increase "increase" (Matrix) Exact -> Vector, stable;
    Info "info" (Vector, Vector) Optional(1) -> Vector, experimental;
    Irate "irate" (Matrix) Exact -> Vector, stable;
    LabelJoin "label_join" (Vector, String, String, String) Unbounded -> Vector, stable;
    LabelReplace "label_replace" (Vector, String, String, String, String) Exact -> Vector, stable;
    LastOverTime "last_over_time" (Matrix) Exact -> Vector, stable;
    Ln "ln" (Vector) Exact -> Vector, stable;
    Log10 "log10" (Vector) Exact -> Vector, stable;
    Log2 "log2" (Vector) Exact -> Vector, stable;
    MadOverTime "mad_over_time" (Matrix) Exact -> Vector, experimental;
    MaxOf "max_of" (Scalar, Scalar) Exact -> Scalar, experimental;
    MaxOverTime "max_over_time" (Matrix) Exact -> Vector, stable;
    MinOf "min_of" (Scalar, Scalar) Exact -> Scalar, experimental;
    MinOverTime "min_over_time" (Matrix) Exact -> Vector, stable;
    Minute "minute" (Vector) Optional(1) -> Vector, stable;
    Month "month" (Vector) Optional(1) -> Vector, stable;
    Pi "pi" () Exact -> Scalar, stable;
    PredictLinear "predict_linear" (Matrix, Scalar) Exact -> Vector, stable;
    PresentOverTime "present_over_time" (Matrix) Exact -> Vector, stable;
    QuantileOverTime "quantile_over_time" (Scalar, Matrix) Exact -> Vector, stable;
    Rad "rad" (Vector) Exact -> Vector, stable;
    Range "range" () Exact -> Scalar, experimental;
    Rate "rate" (Matrix) Exact -> Vector, stable;
    Resets "resets" (Matrix) Exact -> Vector, stable;
    Round "round" (Vector, Scalar) Optional(1) -> Vector, stable;
    Scalar "scalar" (Vector) Exact -> Scalar, stable;
    Sgn "sgn" (Vector) Exact -> Vector, stable;
    Sin "sin" (Vector) Exact -> Vector, stable;
    Sinh "sinh" (Vector) Exact -> Vector, stable;
    Sort "sort" (Vector) Exact -> Vector, stable;
    SortByLabel "sort_by_label" (Vector, String) Unbounded -> Vector, experimental;
    SortByLabelDesc "sort_by_label_desc" (Vector, String) Unbounded -> Vector, experimental;
    SortDesc "sort_desc" (Vector) Exact -> Vector, stable;
    Sqrt "sqrt" (Vector) Exact -> Vector, stable;
    Start "start" () Exact -> Scalar, experimental;
    StartTimestamp "start_timestamp" (Vector) Exact -> Vector, stable;
    StddevOverTime "stddev_over_time" (Matrix) Exact -> Vector, stable;
    StdvarOverTime "stdvar_over_time" (Matrix) Exact -> Vector, stable;
    Step "step" () Exact -> Scalar, experimental;
    SumOverTime "sum_over_time" (Matrix) Exact -> Vector, stable;
    Tan "tan" (Vector) Exact -> Vector, stable;
    Tanh "tanh" (Vector) Exact -> Vector, stable;
    Time "time" () Exact -> Scalar, stable;
    Timestamp "timestamp" (Vector) Exact -> Vector, stable;
    TsOfFirstOverTime "ts_of_first_over_time" (Matrix) Exact -> Vector, experimental;
    TsOfLastOverTime "ts_of_last_over_time" (Matrix) Exact -> Vector, experimental;
    TsOfMaxOverTime "ts_of_max_over_time" (Matrix) Exact -> Vector, experimental;
    TsOfMinOverTime "ts_of_min_over_time" (Matrix) Exact -> Vector, experimental;
    Vector "vector" (Scalar) Exact -> Vector, stable;
    Year "year" (Vector) Optional(1) -> Vector, stable;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_each_function_is_found() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
        for function in Function::all() {
            assert_eq!(Function::by_name(function.name).map(|found| found.id), Some(function.id));
        }
        assert!(Function::by_name("Rate").is_none());
    }
}
