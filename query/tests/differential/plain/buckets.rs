//! Quantiles and fractions of classic histograms, whose buckets are series told apart by `le`.

use pharos_model::LabelSet;
use pharos_model::labels::BUCKET_LABEL;
use pharos_model::number::{format_openmetrics, parse_float_checked};
use pharos_promql::ast::Call;
use pharos_promql::{Expr, FunctionId, ValueType};

use super::labels::text_of;
use super::rows::{Element, Grid, Rows, assemble, vector_at};
use super::{Plain, Result, both};

/// Counts of observations up to a bound, by ascending bound, `+Inf` last.
type Buckets = Vec<(f64, f64)>;

/// Relative difference of neighbouring counts that is put down to rounding.
const NOISE: f64 = 1e-12;

impl Plain<'_> {
    pub(super) fn buckets_call(&self, call: &Call, grid: &Grid) -> Result<Rows> {
        let is_vector = |arg: &&Expr| arg.value_type() == ValueType::Vector;
        let vector = call.args.iter().find(is_vector).expect("a function of buckets");
        let scalar_args: Vec<Expr> =
            call.args.iter().filter(|arg| arg.value_type() == ValueType::Scalar).cloned().collect();
        let (rows, scalars) = both(self.vector(vector, grid), self.scalars(&scalar_args, grid))?;
        let is_fraction = call.function.id == FunctionId::HistogramFraction;
        let label = (call.function.id == FunctionId::HistogramQuantiles).then(|| text_of(&call.args[1]));
        assemble(self, grid, |step| {
            let values: Vec<f64> = scalars.iter().map(|scalar| scalar[step]).collect();
            let mut results = Vec::new();
            let histograms = self.histograms(&vector_at(&rows, step), vector);
            if is_fraction {
                for (labels, buckets) in &histograms {
                    results.push((labels.clone(), fraction(values[0], values[1], buckets)));
                }
            } else {
                for (phi, arg) in values.iter().zip(&scalar_args) {
                    self.check_quantile(*phi, arg);
                    for (labels, buckets) in &histograms {
                        let value = self.bucket_quantile(*phi, labels, buckets);
                        results.push((with_quantile(labels, label.as_deref(), *phi), value));
                    }
                }
            }
            let element = |(labels, value)| self.changed(&Element { labels, drop_name: false, value }, value);
            Ok(results.into_iter().map(element).collect())
        })
    }

    /// The buckets of each histogram, sorted, those of one bound added up.
    fn histograms(&self, elements: &[Element], arg: &Expr) -> Vec<(LabelSet, Buckets)> {
        let mut histograms: Vec<(LabelSet, Buckets)> = Vec::new();
        for element in elements {
            let bound = element.labels.get_or_empty(BUCKET_LABEL);
            let Ok(upper) = parse_float_checked(bound) else {
                let named = self.settings.delayed_names.then(|| element.labels.metric_name()).flatten();
                let of_metric = named.map(|name| format!(" for metric name \"{name}\"")).unwrap_or_default();
                let text = format!("bucket label \"le\" is missing or has a malformed value of {bound:?}{of_metric}");
                self.warn(arg.without_parens().span, text);
                continue;
            };
            let labels = element.labels.without(BUCKET_LABEL);
            let at = histograms.iter().position(|(known, _)| *known == labels).unwrap_or_else(|| {
                histograms.push((labels, Buckets::new()));
                histograms.len() - 1
            });
            let buckets = &mut histograms[at].1;
            match buckets.iter_mut().find(|(known, _)| *known == upper) {
                Some((_, count)) => *count += element.value,
                None => buckets.push((upper, element.value)),
            }
        }
        histograms.iter_mut().for_each(|(_, buckets)| buckets.sort_by(|a, b| a.0.total_cmp(&b.0)));
        histograms
    }

    fn bucket_quantile(&self, phi: f64, labels: &LabelSet, buckets: &Buckets) -> f64 {
        match () {
            () if phi.is_nan() => return f64::NAN,
            () if phi < 0.0 => return f64::NEG_INFINITY,
            () if phi > 1.0 => return f64::INFINITY,
            () if !is_complete(buckets) => return f64::NAN,
            () => {}
        }
        let (buckets, was_raised) = rising(buckets);
        // Where a search among counts that do not compare ends is left to the search.
        if buckets.iter().any(|(_, count)| count.is_nan()) && !buckets[buckets.len() - 1].1.is_nan() {
            self.leave_open();
        }
        if was_raised && buckets.len() >= 2 && buckets[buckets.len() - 1].1 != 0.0 {
            let named = self.settings.delayed_names.then(|| labels.metric_name()).flatten();
            let of_metric = named.map(|name| format!(" for metric name \"{name}\"")).unwrap_or_default();
            let text = "input to histogram_quantile needed to be fixed for monotonicity (see \
                https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
            self.inform(None, format!("{text}{of_metric}"));
        }
        quantile(phi, &buckets)
    }
}

fn with_quantile(labels: &LabelSet, label: Option<&str>, phi: f64) -> LabelSet {
    let Some(label) = label else { return labels.clone() };
    let mut builder = labels.to_builder();
    builder.set(label, &format_openmetrics(phi));
    builder.build()
}

fn is_complete(buckets: &Buckets) -> bool {
    buckets.last().is_some_and(|(upper, _)| *upper == f64::INFINITY)
}

/// Buckets whose counts never fall, and whether some fell by more than rounding explains.
fn rising(buckets: &Buckets) -> (Buckets, bool) {
    let mut rising = buckets.clone();
    let mut was_raised = false;
    for i in 1..rising.len() {
        let (before, own) = (rising[i - 1].1, rising[i].1);
        let is_noise = (before - own).abs() / (before.abs() + own.abs()) < NOISE;
        if is_noise || own < before {
            rising[i].1 = before;
            was_raised |= !is_noise && own != before;
        }
    }
    (rising, was_raised)
}

/// The bound that a share of the observations is below, as if they were spread evenly within each bucket.
fn quantile(phi: f64, buckets: &Buckets) -> f64 {
    let last = buckets.len() - 1;
    let total = buckets[last].1;
    if buckets.len() < 2 || total == 0.0 {
        return f64::NAN;
    }
    let rank = phi * total;
    let at = buckets[..last].iter().position(|(_, count)| *count >= rank).unwrap_or(last);
    let (upper, count) = buckets[at];
    match at {
        _ if at == last => buckets[last - 1].0,
        0 if upper <= 0.0 => upper,
        0 => upper * (rank / count),
        _ => {
            let (lower, below) = buckets[at - 1];
            lower + (upper - lower) * ((rank - below) / (count - below))
        }
    }
}

/// The share of observations between two bounds.
fn fraction(lower: f64, upper: f64, buckets: &Buckets) -> f64 {
    if !is_complete(buckets) {
        return f64::NAN;
    }
    let total = buckets[buckets.len() - 1].1;
    match () {
        () if total == 0.0 || lower.is_nan() || upper.is_nan() => f64::NAN,
        () if lower >= upper => 0.0,
        () => (below(upper, buckets) - below(lower, buckets)) / total,
    }
}

/// Observations below a bound. The lowest bucket starts at zero if it ends above.
fn below(bound: f64, buckets: &Buckets) -> f64 {
    let total = buckets[buckets.len() - 1].1;
    let (mut start, mut sofar) = (f64::NEG_INFINITY, 0.0);
    for (i, (end, count)) in buckets.iter().enumerate() {
        if start >= bound {
            return capped(sofar, total);
        }
        if *end > bound {
            let from = if i == 0 && *end > 0.0 { 0.0 } else { start };
            return capped(sofar + (count - sofar) * (bound - from) / (end - from), total);
        }
        (start, sofar) = (*end, *count);
    }
    total
}

fn capped(rank: f64, total: f64) -> f64 {
    if rank > total { total } else { rank }
}
