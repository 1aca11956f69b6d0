//! One row's values as the columns `m` and `v` take them.

use super::decimal::{best_scale, split};
use super::index::RowLayout;
use super::schema::{DEF_NULL_ELEMENT, DEF_VALUE};

/// Mantissas and exceptions of one series, with the definition levels of both lists. Reused from row to row.
#[derive(Debug, Default)]
pub(crate) struct SplitValues {
    pub scale: Option<u8>,
    pub mantissas: Vec<i64>,
    pub doubles: Vec<f64>,
    /// One for each sample: whether `m` has it.
    pub mantissa_def: Vec<i16>,
    /// One for each sample: whether `v` has it.
    pub double_def: Vec<i16>,
}

impl SplitValues {
    /// Splits the values of one series: each is in exactly one of the lists, with its exact bits.
    pub(crate) fn split(&mut self, values: &[f64]) {
        self.mantissas.clear();
        self.doubles.clear();
        self.mantissa_def.clear();
        self.double_def.clear();
        self.scale = best_scale(values);
        for &value in values {
            match self.scale.and_then(|scale| split(value, scale)) {
                Some(mantissa) => {
                    self.mantissas.push(mantissa);
                    self.mantissa_def.push(DEF_VALUE);
                    self.double_def.push(DEF_NULL_ELEMENT);
                }
                None => {
                    self.doubles.push(value);
                    self.mantissa_def.push(DEF_NULL_ELEMENT);
                    self.double_def.push(DEF_VALUE);
                }
            }
        }
    }

    pub(crate) fn layout(&self) -> RowLayout {
        RowLayout { scale: self.scale, doubles: !self.doubles.is_empty() }
    }
}
