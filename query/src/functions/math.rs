//! Math functions of one value: `abs`, `sin`, `clamp`, `round` and their like, with Go's results where Rust leaves a choice.

use std::f64::consts::PI;

use pharos_promql::FunctionId;

use crate::functions::grid::{ScalarArg, set_steps};

/// One math function with its scalar parameters, to be applied to row after row.
#[derive(Clone, Debug)]
pub struct MathKernel {
    function: Function,
    parameters: Vec<ScalarArg>,
}

#[derive(Clone, Copy, Debug)]
enum Function {
    Plain(fn(f64) -> f64),
    /// Parameters: minimum, maximum.
    Clamp,
    ClampMin,
    ClampMax,
    /// Parameter, if there is one: what to round to a multiple of.
    Round,
}

impl MathKernel {
    /// `None` when `id` is no math function. `parameters` are the scalar arguments in the order of the call.
    ///
    /// # Panics
    /// If `parameters` has fewer than the function needs; the parser checks that.
    pub fn new(id: FunctionId, parameters: Vec<ScalarArg>) -> Option<Self> {
        let function = function(id)?;
        let needed = match function {
            Function::Plain(_) | Function::Round => 0,
            Function::ClampMin | Function::ClampMax => 1,
            Function::Clamp => 2,
        };
        assert!(parameters.len() >= needed, "parameters of {id:?}");
        Some(Self { function, parameters })
    }

    /// Replaces the values of one row. `clamp` empties steps where its minimum is above its maximum.
    pub fn apply(&self, present: &mut [u64], values: &mut [f64]) {
        match self.function {
            Function::Plain(function) => set_steps(present).for_each(|step| values[step] = function(values[step])),
            Function::Round => self.round(present, values),
            Function::Clamp | Function::ClampMin | Function::ClampMax => self.clamp(present, values),
        }
    }

    fn round(&self, present: &[u64], values: &mut [f64]) {
        for step in set_steps(present) {
            // Upstream found the inverse to be more accurate.
            let inverse = 1.0 / self.parameters.first().map_or(1.0, |nearest| nearest.at(step));
            values[step] = (values[step] * inverse + 0.5).floor() / inverse;
        }
    }

    fn clamp(&self, present: &mut [u64], values: &mut [f64]) {
        for (word_at, word) in present.iter_mut().enumerate() {
            for step in set_steps(&[*word]).map(|bit| word_at * 64 + bit) {
                let (min, max) = self.bounds(step);
                if max < min {
                    *word &= !(1 << (step % 64));
                } else {
                    values[step] = go_max(min, go_min(max, values[step]));
                }
            }
        }
    }

    fn bounds(&self, step: usize) -> (f64, f64) {
        match (self.function, self.parameters.as_slice()) {
            (Function::Clamp, [min, max, ..]) => (min.at(step), max.at(step)),
            (Function::ClampMin, [min, ..]) => (min.at(step), f64::INFINITY),
            (_, [max, ..]) => (f64::NEG_INFINITY, max.at(step)),
            (_, []) => unreachable!("the number of parameters is checked when the kernel is made"),
        }
    }
}

fn function(id: FunctionId) -> Option<Function> {
    use FunctionId as F;
    Some(Function::Plain(match id {
        F::Abs => f64::abs,
        F::Ceil => f64::ceil,
        F::Floor => f64::floor,
        F::Exp => f64::exp,
        F::Sqrt => f64::sqrt,
        F::Ln => f64::ln,
        F::Log2 => f64::log2,
        F::Log10 => f64::log10,
        F::Sgn => sign,
        F::Sin => f64::sin,
        F::Cos => f64::cos,
        F::Tan => f64::tan,
        F::Asin => f64::asin,
        F::Acos => f64::acos,
        F::Atan => f64::atan,
        F::Sinh => f64::sinh,
        F::Cosh => f64::cosh,
        F::Tanh => f64::tanh,
        F::Asinh => f64::asinh,
        F::Acosh => f64::acosh,
        F::Atanh => f64::atanh,
        F::Rad => |degrees| degrees * PI / 180.0,
        F::Deg => |radians| radians * 180.0 / PI,
        F::Clamp => return Some(Function::Clamp),
        F::ClampMin => return Some(Function::ClampMin),
        F::ClampMax => return Some(Function::ClampMax),
        F::Round => return Some(Function::Round),
        _ => return None,
    }))
}

/// -1, 1, or the value itself when it is zero (of either sign) or NaN.
fn sign(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

/// Go's `math.Max`: an infinite maximum wins over NaN, NaN over all else, 0 over -0.
pub fn go_max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a > b || (a == b && b.is_sign_negative()) {
        a
    } else {
        b
    }
}

/// Go's `math.Min`: an infinite minimum wins over NaN, NaN over all else, -0 over 0.
pub fn go_min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a < b || (a == b && a.is_sign_negative()) {
        a
    } else {
        b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(id: FunctionId, parameters: &[f64], value: f64) -> Option<f64> {
        let parameters = parameters.iter().map(|&value| ScalarArg::Constant(value)).collect();
        let (mut present, mut values) = ([1], [value]);
        MathKernel::new(id, parameters).expect("a math function").apply(&mut present, &mut values);
        (present == [1]).then_some(values[0])
    }

    /// Equal as bits, but for the payload of NaN.
    fn same(a: f64, b: f64) -> bool {
        a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
    }

    #[test]
    fn functions_of_one_value_give_what_go_gives() {
        use FunctionId as F;
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        for (id, value, result) in [
            (F::Abs, -1.5, 1.5),
            (F::Ceil, -0.5, -0.0),
            (F::Floor, -0.5, -1.0),
            (F::Exp, 0.0, 1.0),
            (F::Exp, -inf, 0.0),
            (F::Sqrt, -1.0, nan),
            (F::Ln, 0.0, -inf),
            (F::Ln, -1.0, nan),
            (F::Log2, 8.0, 3.0),
            (F::Log10, 1000.0, 3.0),
            (F::Sgn, -3.0, -1.0),
            (F::Sgn, 3.0, 1.0),
            (F::Sgn, -0.0, -0.0),
            (F::Sgn, nan, nan),
            (F::Sin, inf, nan),
            (F::Acos, 2.0, nan),
            (F::Acosh, 0.5, nan),
            (F::Atanh, 1.0, inf),
            (F::Tanh, inf, 1.0),
            (F::Rad, 180.0, PI),
            (F::Deg, PI, 180.0),
        ] {
            assert!(same(apply(id, &[], value).unwrap(), result), "{id:?}({value})");
        }
    }

    #[test]
    fn rounding_is_up_on_ties() {
        for (nearest, value, result) in [
            (&[][..], 2.5, 3.0),
            (&[], -2.5, -2.0),
            (&[], -0.3, 0.0),
            (&[5.0], 12.5, 15.0),
            (&[0.1], 2.55, 2.6),
            (&[-2.0], 3.0, 2.0),
            (&[0.0], 3.0, f64::NAN),
            (&[], f64::INFINITY, f64::INFINITY),
        ] {
            assert!(same(apply(FunctionId::Round, nearest, value).unwrap(), result), "round({value}, {nearest:?})");
        }
    }

    #[test]
    fn clamping_keeps_between_the_bounds() {
        use FunctionId as F;
        let nan = f64::NAN;
        for (id, bounds, value, result) in [
            (F::Clamp, &[-25.0, 75.0][..], -50.0, Some(-25.0)),
            (F::Clamp, &[-25.0, 75.0], 100.0, Some(75.0)),
            (F::Clamp, &[-25.0, 75.0], 0.0, Some(0.0)),
            (F::Clamp, &[5.0, -5.0], 0.0, None),
            (F::Clamp, &[0.0, nan], 1.0, Some(nan)),
            (F::Clamp, &[nan, 0.0], 1.0, Some(nan)),
            (F::ClampMin, &[-25.0], -50.0, Some(-25.0)),
            (F::ClampMin, &[nan], -50.0, Some(nan)),
            (F::ClampMin, &[1.0], nan, Some(nan)),
            (F::ClampMax, &[75.0], 100.0, Some(75.0)),
            (F::ClampMax, &[75.0], f64::NEG_INFINITY, Some(f64::NEG_INFINITY)),
        ] {
            let got = apply(id, bounds, value);
            assert!(got.is_some() == result.is_some(), "{id:?}({value}, {bounds:?})");
            assert!(
                got.zip(result).is_none_or(|(got, result)| same(got, result)),
                "{id:?}({value}, {bounds:?}): {got:?}"
            );
        }
    }

    #[test]
    fn parameters_may_change_from_step_to_step() {
        let bounds = vec![ScalarArg::PerStep([0.0, 5.0, 0.0].into()), ScalarArg::Constant(3.0)];
        let (mut present, mut values) = ([0b111], [9.0, 9.0, 2.0]);
        MathKernel::new(FunctionId::Clamp, bounds).unwrap().apply(&mut present, &mut values);
        assert_eq!((present, values[0], values[2]), ([0b101], 3.0, 2.0));
    }

    #[test]
    fn extremes_of_two_follow_go() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        for (a, b, max, min) in [
            (1.0, 2.0, 2.0, 1.0),
            (nan, 1.0, nan, nan),
            (nan, inf, inf, nan),
            (nan, -inf, nan, -inf),
            (0.0, -0.0, 0.0, -0.0),
            (-0.0, -0.0, -0.0, -0.0),
        ] {
            for (a, b) in [(a, b), (b, a)] {
                assert!(same(go_max(a, b), max), "max of {a} and {b}");
                assert!(same(go_min(a, b), min), "min of {a} and {b}");
            }
        }
    }

    #[test]
    fn what_is_no_math_function_has_no_kernel() {
        for id in [FunctionId::Rate, FunctionId::Time, FunctionId::LabelReplace, FunctionId::HistogramQuantile] {
            assert!(MathKernel::new(id, Vec::new()).is_none());
        }
    }
}
