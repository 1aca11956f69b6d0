//! Random series: gaps, staleness markers, counter resets, odd values, many label shapes, times shared and not.
//!
//! All times are multiples of a tick from the epoch on, so that a data set can be written as a load script.

mod native;
mod shape;

use std::sync::Arc;

use fastrand::Rng;
use pharos_model::number::format_f;
use pharos_model::sample::is_stale;
use pharos_model::{FloatHistogram, LabelSet, Sample, TimestampMs};
use pharos_promql::script::{CommandKind, Script};
use pharos_promql::series::SequenceValue;
use pharos_query::testing::{MemorySample, MemorySource};

use self::shape::{Kind, Shape};

/// Time covered by the samples.
pub(crate) const SPAN_MS: i64 = 40 * 60_000;
const NAMES: [&str; 5] = ["requests_total", "errors_total", "memory", "temperature", "created"];
const BOUNDS: [&str; 6] = ["0.1", "0.5", "1", "2.5", "10", "+Inf"];

/// What kind of data an evaluator is to be tried with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    /// Anything that can be stored.
    Wild,
    /// Only what Prometheus 2.42 and today's make the same of: no sample where a window may begin or end (at whole and half
    /// seconds), neither NaN nor infinities, counters far from zero that are never reset.
    Mild,
}

#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub labels: LabelSet,
    pub samples: Vec<Sample>,
    /// At other times than the samples.
    pub histograms: Vec<(TimestampMs, Arc<FloatHistogram>)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub tick_ms: i64,
    pub series: Vec<Series>,
}

impl Data {
    pub(crate) fn random(rng: &mut Rng, temper: Temper) -> Self {
        let (tick_ms, off_ms) = if temper == Temper::Wild { (1000, 0) } else { (250, 250) };
        let mut data = Self { tick_ms, series: Vec::new() };
        // Now and then more than a source hands out at a time.
        let series = if rng.u8(..10) == 0 { rng.usize(80..250) } else { rng.usize(4..20) };
        for _ in 0..series {
            let labels = random_labels(rng, temper);
            data.add(labels.clone(), Shape::random(rng, &labels, temper).samples(rng, off_ms));
        }
        for _ in 0..rng.usize(0..3) {
            data.add_histogram(rng, temper, off_ms);
        }
        data
    }

    fn add(&mut self, labels: LabelSet, samples: Vec<Sample>) {
        if self.series.iter().all(|series| series.labels != labels) {
            self.series.push(Series { labels, samples, histograms: Vec::new() });
        }
    }

    /// Buckets that share their times; rarely one is missing, malformed or too small.
    fn add_histogram(&mut self, rng: &mut Rng, temper: Temper, off_ms: i64) {
        let base = random_labels(rng, temper).without("__type__");
        let mut shape = Shape::random(rng, &base, temper).with_kind(Kind::counter(temper));
        let seed = rng.u64(..);
        for (i, bound) in BOUNDS.iter().enumerate() {
            if rng.u8(..16) == 0 {
                continue;
            }
            let mut builder = base.to_builder();
            let bound = if temper == Temper::Wild && rng.u8(..40) == 0 { "big" } else { bound };
            builder.set("__name__", "latency_bucket").set("le", bound);
            let decline = if temper == Temper::Wild && rng.u8(..16) == 0 { 0.5 } else { 1.0 };
            shape.scale = (i + 1) as f64 * decline;
            // The same random numbers for each, so that a larger bucket counts more.
            self.add(builder.build(), shape.samples(&mut Rng::with_seed(seed), off_ms));
        }
    }

    pub(crate) fn source(&self, partitions: usize) -> MemorySource {
        let source = MemorySource::new(partitions);
        for series in &self.series {
            source.append(&series.labels, series.samples.iter().copied());
            let histograms = series.histograms.iter().map(|(ts, histogram)| MemorySample {
                ts: *ts,
                start_ts: 0,
                point: Arc::clone(histogram).into(),
            });
            source.append_points(&series.labels, histograms);
        }
        source
    }

    /// Multiplies every value.
    pub(crate) fn scale(&mut self, factor: f64) {
        for series in &mut self.series {
            series.samples.iter_mut().for_each(|sample| sample.value *= factor);
            series.histograms.iter_mut().for_each(|(_, histogram)| Arc::make_mut(histogram).mul(factor));
        }
    }

    /// The command of a test script that loads these samples.
    pub(crate) fn load_script(&self) -> String {
        let mut script = format!("load {}ms\n", self.tick_ms);
        for series in &self.series {
            script.push_str(&format!("  {}", series.labels));
            let mut next = 0;
            for (ts, value) in series.values() {
                let tick = ts / self.tick_ms;
                if tick > next {
                    script.push_str(&format!(" _x{}", tick - next));
                }
                script.push_str(&format!(" {value}"));
                next = tick + 1;
            }
            script.push('\n');
        }
        script
    }
}

impl Series {
    /// All values by time, as a script writes them. What ends a series of histograms is written like what ends one of floats.
    fn values(&self) -> Vec<(TimestampMs, String)> {
        let or_stale = |value: f64, text: String| if is_stale(value) { "stale".into() } else { text };
        let floats = self.samples.iter().map(|sample| (sample.ts, or_stale(sample.value, format_f(sample.value))));
        let histograms =
            self.histograms.iter().map(|(ts, histogram)| (*ts, or_stale(histogram.sum, native::script(histogram))));
        let mut values: Vec<_> = floats.chain(histograms).collect();
        values.sort_by_key(|(ts, _)| *ts);
        values
    }
}

fn random_labels(rng: &mut Rng, temper: Temper) -> LabelSet {
    let name = NAMES[rng.usize(..NAMES.len())];
    let mut pairs = vec![("__name__", name)];
    // A metric has one type, if it has one as a label at all. 2.42 knows no such labels.
    if name == "created" && temper == Temper::Wild {
        pairs.push(("__type__", "gauge"));
    }
    for (name, values, share) in [
        ("job", &["api", "db"][..], 90),
        ("instance", &["0", "1", "2"][..], 80),
        ("zone", &["a", "b"][..], 40),
        ("path", &["/", "/x y", "\u{e4}"][..], 20),
        ("pod", &["p1", "p2", "p3", "p4", "p5", "p6"][..], 20),
        ("a.dotted", &["1"][..], 5),
    ] {
        // Names were not yet free in 2.42.
        let is_known = temper == Temper::Wild || !name.contains('.');
        if rng.u8(..100) < share && is_known {
            pairs.push((name, values[rng.usize(..values.len())]));
        }
    }
    LabelSet::from_pairs(pairs)
}

#[test]
fn a_data_set_survives_its_load_script() {
    let mut data = Data::random(&mut Rng::with_seed(1), Temper::Wild);
    data.series.extend(Data::random_native(&mut Rng::with_seed(1)).series);
    let script = Script::parse(&data.load_script()).expect("a script");
    let CommandKind::Load(load) = &script.commands[0].kind else { panic!("no load") };
    for (series, loaded) in data.series.iter().zip(&load.series) {
        assert_eq!(loaded.labels, series.labels);
        let mut again = Series { labels: loaded.labels.clone(), samples: Vec::new(), histograms: Vec::new() };
        for (i, value) in (0..).zip(&loaded.values) {
            let ts = i * load.step_ms;
            match value {
                SequenceValue::Float(value) => again.samples.push(Sample { ts, value: *value }),
                SequenceValue::Histogram { histogram, .. } => again.histograms.push((ts, Arc::clone(histogram))),
                SequenceValue::Omitted => {}
            }
        }
        assert_eq!(again.values(), series.values(), "{}", series.labels);
    }
}
