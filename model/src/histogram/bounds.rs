//! Bounds of exponential buckets: powers of `2^(2^-schema)`, correctly rounded.
//!
//! Prometheus' table of the same bounds is off by one or two in the last place here and there, which shows in the last
//! digit of a printed bound and nowhere else.

use std::sync::OnceLock;

/// The finest schema: 256 buckets from one power of two to the next.
pub(super) const SCHEMA_MAX: i32 = 8;
/// The coarsest schema: one bucket for each 16 powers of two.
pub(super) const SCHEMA_MIN: i32 = -4;
const FINEST: usize = 1 << SCHEMA_MAX;

/// The upper bound of the positive bucket `index`; that of the bucket before is its lower bound. The last finite bound is
/// `f64::MAX`, so that a bucket for infinite observations remains above it.
pub(super) fn exponential(index: i32, schema: i32) -> f64 {
    let (exponent, fraction) = if schema < 0 {
        (i64::from(index) << -schema, 0)
    } else {
        let per_power = 1 << schema;
        (i64::from(index >> schema), (index & (per_power - 1)) as usize * (FINEST >> schema))
    };
    match exponent {
        1024 if fraction == 0 => f64::MAX,
        1024.. => f64::INFINITY,
        _ => roots()[fraction] * power_of_two(exponent),
    }
}

/// The lower bound of the positive bucket `index`, which is the one nearer to zero on both sides.
pub(super) fn inner(index: i32, schema: i32) -> f64 {
    exponential(index.saturating_sub(1), schema)
}

/// `2^exponent`, zero below the smallest float.
fn power_of_two(exponent: i64) -> f64 {
    match exponent {
        -1022..=1023 => f64::from_bits(((exponent + 1023) as u64) << 52),
        -1074..=-1023 => f64::from_bits(1 << (exponent + 1074)),
        _ => 0.0,
    }
}

/// `2^(i/256)` for each `i` below 256.
fn roots() -> &'static [f64; FINEST] {
    static ROOTS: OnceLock<[f64; FINEST]> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let step = (0..SCHEMA_MAX).fold(Twice::new(2.0), |root, _| root.sqrt());
        let mut power = Twice::new(1.0);
        std::array::from_fn(|_| {
            let rounded = power.high;
            power = power.times(step);
            rounded
        })
    })
}

/// A number with twice the digits of a float: `high` is the nearest float, `low` what is missing.
#[derive(Clone, Copy)]
struct Twice {
    high: f64,
    low: f64,
}

impl Twice {
    fn new(high: f64) -> Self {
        Self { high, low: 0.0 }
    }

    /// Moves what `high` can hold out of `low`.
    fn normal(high: f64, low: f64) -> Self {
        let sum = high + low;
        Self { high: sum, low: low - (sum - high) }
    }

    fn times(self, other: Self) -> Self {
        let high = self.high * other.high;
        let rounded_off = self.high.mul_add(other.high, -high);
        Self::normal(high, rounded_off + (self.high * other.low + self.low * other.high))
    }

    /// One step of Newton's method from the root of `high`.
    fn sqrt(self) -> Self {
        let root = self.high.sqrt();
        let missing = (-root).mul_add(root, self.high) + self.low;
        Self::normal(root, missing / (2.0 * root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_powers_of_the_schemas_base() {
        for (schema, index, bound) in [
            (0, 0, 1.0),
            (0, 1, 2.0),
            (0, -3, 0.125),
            (-1, 1, 4.0),
            (-4, 1, 65536.0),
            (-4, -1, 1.0 / 65536.0),
            (1, 1, std::f64::consts::SQRT_2),
            (3, 8, 2.0),
            (3, 4, std::f64::consts::SQRT_2),
            (8, 256, 2.0),
            (8, -256, 0.5),
            (0, 1023, 8.98846567431158e307),
            (0, 1024, f64::MAX),
            (0, 1025, f64::INFINITY),
            (-4, 64, f64::MAX),
            (2, 4096, f64::MAX),
            (2, 4097, f64::INFINITY),
            (0, -1074, 5e-324),
        ] {
            assert_eq!(exponential(index, schema), bound, "schema {schema}, bucket {index}");
        }
    }

    #[test]
    fn roots_are_rounded_correctly() {
        // The finest steps, as the standard library's decimal parser rounds them.
        for (index, root) in [
            (1, "1.0027112750502024854308945671640711"),
            (128, "1.4142135623730950488016887242096981"),
            (64, "1.1892071150027210667174999705604759"),
            (192, "1.6817928305074290860622509524664298"),
            (32, "1.0905077326652576592070106557607079"),
            (96, "1.2968395546510096659337541177924512"),
        ] {
            assert_eq!(exponential(index, 8), root.parse::<f64>().unwrap(), "{index}");
        }
        assert!((0..1024).all(|i| exponential(i, 8) < exponential(i + 1, 8)));
    }
}
