//! Which evaluations meet native histograms.

use pharos_model::labels::{BUCKET_LABEL, METRIC_NAME};
use pharos_model::matcher::all_match;
use pharos_model::{LabelSet, Matcher};
use pharos_promql::script::{Eval, Expected, Load};
use pharos_promql::series::SequenceValue;
use pharos_promql::{Expr, ExprKind, FunctionId};

/// Series that hold native histograms.
#[derive(Debug, Default)]
pub(super) struct Histograms {
    series: Vec<LabelSet>,
}

impl Histograms {
    pub(super) fn clear(&mut self) {
        self.series.clear();
    }

    /// Notes the histograms of a load, those that are made from classic ones included.
    pub(super) fn add(&mut self, load: &Load) {
        for series in &load.series {
            if series.values.iter().any(is_histogram) {
                self.series.push(series.labels.clone());
            }
            if load.with_nhcb
                && let Some(base) = base_of_classic(&series.labels)
            {
                self.series.push(base);
            }
        }
    }

    /// Whether a selector of the expression matches such a series, or the result is to hold a histogram.
    pub(super) fn met_by(&self, eval: &Eval) -> bool {
        let expected = match &eval.expected {
            Expected::Series(series) | Expected::RangeVector { series, .. } => series.as_slice(),
            Expected::Scalar(_) | Expected::String(_) => &[],
        };
        if expected.iter().any(|series| series.values.iter().any(is_histogram)) {
            return true;
        }
        let mut met = false;
        eval.expr.walk(&mut |expr| met |= self.selected_by(expr));
        met
    }

    fn selected_by(&self, expr: &Expr) -> bool {
        let matches = |matchers: &[Matcher]| self.series.iter().any(|labels| all_match(matchers, labels));
        match &expr.kind {
            ExprKind::Call(call) if call.function.id == FunctionId::Info && call.args.len() == 1 => {
                matches(&[Matcher::equal(METRIC_NAME, "target_info")])
            }
            _ => expr.selector().is_some_and(|selector| matches(&selector.matchers)),
        }
    }
}

fn is_histogram(value: &SequenceValue) -> bool {
    matches!(value, SequenceValue::Histogram { .. })
}

/// The native histogram that a series of a classic one belongs to.
fn base_of_classic(labels: &LabelSet) -> Option<LabelSet> {
    let name = labels.metric_name()?;
    let base = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
    let mut builder = labels.to_builder();
    builder.set(METRIC_NAME, base).remove(BUCKET_LABEL);
    Some(builder.build())
}
