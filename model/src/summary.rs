//! Summaries for metrics of any crate: sum, count and quantiles of the newest observations.
//! The metrics library has none, and Prometheus' dashboards expect them by name.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto;

/// Observations of one label value that quantiles are taken from.
const OBSERVATIONS_KEPT: usize = 500;
/// Label values of one summary; further ones are not counted.
const LABEL_VALUES_MAX: usize = 10_000;

/// A family of summaries with one label. Clones share their observations.
#[derive(Clone, Debug)]
pub struct SummaryVec {
    desc: Desc,
    label: &'static str,
    quantiles: &'static [f64],
    series: Arc<Mutex<BTreeMap<String, Series>>>,
}

#[derive(Debug, Default)]
struct Series {
    sum: f64,
    count: u64,
    newest: VecDeque<f64>,
}

impl SummaryVec {
    pub fn new(
        name: &str,
        help: &str,
        label: &'static str,
        quantiles: &'static [f64],
    ) -> Result<Self, prometheus::Error> {
        let desc = Desc::new(name.into(), help.into(), vec![label.into()], Default::default())?;
        Ok(Self { desc, label, quantiles, series: Arc::default() })
    }

    pub fn observe(&self, label_value: &str, observed: f64) {
        let mut all = self.series.lock();
        if !all.contains_key(label_value) {
            if all.len() >= LABEL_VALUES_MAX {
                return;
            }
            all.insert(label_value.to_owned(), Series::default());
        }
        let series = all.get_mut(label_value).expect("it was there or has been inserted");
        series.sum += observed;
        series.count += 1;
        if series.newest.len() == OBSERVATIONS_KEPT {
            series.newest.pop_front();
        }
        series.newest.push_back(observed);
    }

    pub fn remove(&self, label_value: &str) {
        self.series.lock().remove(label_value);
    }

    fn metric(&self, label_value: &str, series: &Series) -> proto::Metric {
        let mut sorted: Vec<f64> = series.newest.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let quantiles = self.quantiles.iter().map(|quantile| {
            let rank = ((sorted.len() as f64 * quantile).ceil() as usize).clamp(1, sorted.len());
            let mut point = proto::Quantile::default();
            point.set_quantile(*quantile);
            point.set_value(sorted[rank - 1]);
            point
        });
        let mut summary = proto::Summary::default();
        summary.set_sample_sum(series.sum);
        summary.set_sample_count(series.count);
        summary.set_quantile(quantiles.collect());
        let mut label = proto::LabelPair::default();
        label.set_name(self.label.into());
        label.set_value(label_value.into());
        let mut metric = proto::Metric::default();
        metric.set_label(vec![label]);
        metric.set_summary(summary);
        metric
    }
}

impl Collector for SummaryVec {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let series = self.series.lock();
        if series.is_empty() {
            return Vec::new();
        }
        let mut family = proto::MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(proto::MetricType::SUMMARY);
        family.set_metric(series.iter().map(|(value, series)| self.metric(value, series)).collect());
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_exposed_with_sum_count_and_quantiles() {
        let summary = SummaryVec::new("x_seconds", "Help.", "interval", &[0.5, 0.99]).unwrap();
        let registry = prometheus::Registry::new();
        registry.register(Box::new(summary.clone())).unwrap();
        for i in 1..=100 {
            summary.observe("15s", f64::from(i));
        }
        summary.observe("gone", 1.0);
        summary.remove("gone");
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert_eq!(
            text,
            "# HELP x_seconds Help.\n# TYPE x_seconds summary\nx_seconds{interval=\"15s\",quantile=\"0.5\"} 50\n\
             x_seconds{interval=\"15s\",quantile=\"0.99\"} 99\nx_seconds_sum{interval=\"15s\"} 5050\n\
             x_seconds_count{interval=\"15s\"} 100\n"
        );
    }
}
