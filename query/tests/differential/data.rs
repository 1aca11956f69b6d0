//! Random series: gaps, staleness markers, counter resets, odd values, many label shapes, times shared and not.
//!
//! All times are multiples of a tick from the epoch on, so that a data set can be written as a load script.

mod shape;

use fastrand::Rng;
use pharos_model::number::format_f;
use pharos_model::sample::is_stale;
use pharos_model::{LabelSet, Sample};
use pharos_promql::script::{CommandKind, Script};
use pharos_promql::series::SequenceValue;
use pharos_query::testing::MemorySource;

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
            self.series.push(Series { labels, samples });
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
        }
        source
    }

    /// The command of a test script that loads these samples.
    pub(crate) fn load_script(&self) -> String {
        let mut script = format!("load {}ms\n", self.tick_ms);
        for series in &self.series {
            script.push_str(&format!("  {}", series.labels));
            let mut next = 0;
            for sample in &series.samples {
                let tick = sample.ts / self.tick_ms;
                if tick > next {
                    script.push_str(&format!(" _x{}", tick - next));
                }
                let value = if is_stale(sample.value) { "stale".into() } else { format_f(sample.value) };
                script.push_str(&format!(" {value}"));
                next = tick + 1;
            }
            script.push('\n');
        }
        script
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
    let data = Data::random(&mut Rng::with_seed(1), Temper::Wild);
    let script = Script::parse(&data.load_script()).expect("a script");
    let CommandKind::Load(load) = &script.commands[0].kind else { panic!("no load") };
    for (series, loaded) in data.series.iter().zip(&load.series) {
        assert_eq!(loaded.labels, series.labels);
        let values = (0..).zip(&loaded.values).filter_map(|(i, value)| match value {
            SequenceValue::Float(value) => Some(Sample { ts: i * load.step_ms, value: *value }),
            _ => None,
        });
        let bits = |sample: Sample| (sample.ts, if sample.value.is_nan() { f64::NAN } else { sample.value }.to_bits());
        assert!(values.map(bits).eq(series.samples.iter().copied().map(bits)), "{}", series.labels);
    }
}
