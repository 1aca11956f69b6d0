//! Series of node_exporter's and the kubelet's shapes, and the remote-write bodies that carry them.

use std::ops::Range;

use bytes::Bytes;
use pharos_model::TimestampMs;

/// Series of one host.
pub const SERIES_PER_HOST: usize = 800;
/// Samples of one request, as Prometheus' sender batches them.
const SAMPLES_PER_REQUEST: usize = 2000;

/// Values of label `x` in [`Fleet::of_one_metric`].
pub const ONE_METRIC_GROUPS: usize = 100;

/// How a series' values move from round to round.
#[derive(Clone, Copy, Debug)]
enum Shape {
    IntegerCounter,
    FloatCounter,
    Gauge,
    Constant,
    /// A cumulative bucket of a classic histogram, by its place among the bounds.
    Bucket(usize),
}

/// From here on a host's series are histogram buckets.
const FIRST_BUCKET: usize = 700;
/// Bounds of the histogram, one bucket each.
const BOUNDS: [&str; 10] = ["0.005", "0.01", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "+Inf"];

/// The series of many hosts, their label blocks encoded once.
#[derive(Debug)]
pub struct Fleet {
    /// Protobuf label fields of each series.
    label_blocks: Vec<Vec<u8>>,
    shapes: Vec<Shape>,
}

impl Fleet {
    pub fn new(series: usize) -> Self {
        let label_blocks = (0..series).map(|i| label_block(i / SERIES_PER_HOST, i % SERIES_PER_HOST)).collect();
        let shapes = (0..series).map(|i| shape(i % SERIES_PER_HOST)).collect();
        Self { label_blocks, shapes }
    }

    /// One counter of very many instances, in [`ONE_METRIC_GROUPS`] groups by label `x`.
    pub fn of_one_metric(series: usize) -> Self {
        let block = |i: usize| {
            let (instance, group) = (format!("host-{i:07}:9100"), format!("group-{}", i % ONE_METRIC_GROUPS));
            label_fields([("__name__", "m"), ("instance", &*instance), ("job", "node"), ("x", &*group)])
        };
        Self { label_blocks: (0..series).map(block).collect(), shapes: vec![Shape::IntegerCounter; series] }
    }

    pub fn len(&self) -> usize {
        self.shapes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    /// Containers of many pods: each pod has a series of every metric.
    pub fn of_pods(series: usize) -> Self {
        let label_blocks = (0..series)
            .map(|i| pod_labels(i / METRICS_PER_POD, i % METRICS_PER_POD))
            .map(|labels| label_fields(labels.iter().map(|(name, value)| (*name, value.as_str()))))
            .collect();
        let shapes = (0..series).map(|i| shape(i % METRICS_PER_POD)).collect();
        Self { label_blocks, shapes }
    }

    /// The compressed requests that carry one sample of every series.
    pub fn round(&self, round: usize, ts: TimestampMs) -> impl Iterator<Item = Bytes> {
        self.rounds(round..round + 1, move |_| ts)
    }

    /// The compressed requests that carry the samples of some rounds of every series.
    pub fn rounds(&self, rounds: Range<usize>, time_of: impl Fn(usize) -> TimestampMs) -> impl Iterator<Item = Bytes> {
        let series_per_request = (SAMPLES_PER_REQUEST / rounds.len()).max(1);
        let starts = (0..self.len()).step_by(series_per_request);
        starts.map(move |start| {
            let mut body = Vec::with_capacity(SAMPLES_PER_REQUEST * 220);
            for i in start..(start + series_per_request).min(self.len()) {
                let samples = rounds.clone().map(|round| (time_of(round), self.value(i, round)));
                series_fields(&mut body, &self.label_blocks[i], samples);
            }
            snap::raw::Encoder::new().compress_vec(&body).expect("a body far below snappy's limit").into()
        })
    }

    /// Deterministic, so that every server gets the same and a check can tell what it must hold.
    pub fn value(&self, series: usize, round: usize) -> f64 {
        let noise = mix(series as u64, round as u64);
        match self.shapes[series] {
            Shape::IntegerCounter => (series % 1000 * 1000 + round * (series % 97 + 1)) as f64 + (noise % 5) as f64,
            Shape::FloatCounter => ((series % 500 * 100 + round * 15 * 100) as f64 + (noise % 100) as f64) / 100.0,
            Shape::Gauge => (noise % 1_000_000) as f64 / 1000.0,
            Shape::Constant => (series % 17) as f64,
            Shape::Bucket(place) => ((place + 1) * (series / BOUNDS.len() % 10 + 1) * (round + 1)) as f64,
        }
    }
}

/// 40 % integer counters, 20 % float counters, 10 % gauges, 30 % constants; then the histogram.
fn shape(index: usize) -> Shape {
    if index >= FIRST_BUCKET {
        return Shape::Bucket(index % BOUNDS.len());
    }
    match index % 10 {
        0..4 => Shape::IntegerCounter,
        4..6 => Shape::FloatCounter,
        6 => Shape::Gauge,
        _ => Shape::Constant,
    }
}

/// The labels of one series, sorted by name.
pub fn labels(host: usize, index: usize) -> Vec<(&'static str, String)> {
    let metric = index / 8;
    let family = ["cpu", "disk", "network", "memory"][metric % 4];
    let common = |name: String, own: [(&'static str, String); 2]| {
        let [first, last] = own;
        vec![
            ("__name__", name),
            ("cluster", format!("prod-{}", host % 3)),
            first,
            ("instance", format!("host-{host:05}.example.internal:9100")),
            ("job", "node".to_owned()),
            last,
            ("region", format!("eu-west-{}", host % 2)),
            ("team", format!("infrastructure-{}", host % 5)),
        ]
    };
    match shape(index) {
        Shape::Bucket(place) => common(
            "http_request_duration_seconds_bucket".into(),
            [("handler", format!("/api/{}", index / BOUNDS.len() % 10)), ("le", BOUNDS[place].into())],
        ),
        shape => {
            let suffix = if matches!(shape, Shape::IntegerCounter | Shape::FloatCounter) { "total" } else { "bytes" };
            common(
                format!("node_{family}_metric_{metric}_{suffix}"),
                [
                    ("device", format!("dev{}", index % 8)),
                    ("mode", ["user", "system", "idle", "iowait"][index % 4].to_owned()),
                ],
            )
        }
    }
}

/// Metrics of one pod.
const METRICS_PER_POD: usize = 20;
/// Of the letters that the last part of a pod's name is made of.
const POD_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789a";

/// The labels of one series of a pod, sorted by name.
fn pod_labels(pod: usize, metric: usize) -> Vec<(&'static str, String)> {
    let suffix = if matches!(shape(metric), Shape::IntegerCounter | Shape::FloatCounter) { "total" } else { "bytes" };
    let letters = |count: usize, seed: u64| -> String {
        let noise = |at: usize| mix(pod as u64, seed + at as u64) as usize % POD_LETTERS.len();
        (0..count).map(|at| char::from(POD_LETTERS[noise(at)])).collect()
    };
    vec![
        ("__name__", format!("container_metric_{metric}_{suffix}")),
        ("cluster", format!("prod-{}", pod % 3)),
        ("container", format!("app-{}", pod % 200)),
        ("job", "kubelet".to_owned()),
        ("namespace", format!("team-{}", pod % 50)),
        ("node", format!("node-{:04}.example.internal", pod / 50)),
        ("pod", format!("app-{}-{}-{}", pod % 200, letters(9, 0), letters(5, 100))),
    ]
}

fn label_block(host: usize, index: usize) -> Vec<u8> {
    label_fields(labels(host, index).iter().map(|(name, value)| (*name, value.as_str())))
}

/// Labels, which must be sorted, as the label fields of a protobuf `TimeSeries`.
pub fn label_fields<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut block = Vec::with_capacity(220);
    for (name, value) in labels {
        let mut label = Vec::with_capacity(name.len() + value.len() + 4);
        label.push(0x0a);
        varint(&mut label, name.len() as u64);
        label.extend_from_slice(name.as_bytes());
        label.push(0x12);
        varint(&mut label, value.len() as u64);
        label.extend_from_slice(value.as_bytes());
        block.push(0x0a);
        varint(&mut block, label.len() as u64);
        block.extend_from_slice(&label);
    }
    block
}

/// Appends a `TimeSeries` to a protobuf `WriteRequest`.
pub fn series_fields(body: &mut Vec<u8>, label_fields: &[u8], samples: impl IntoIterator<Item = (TimestampMs, f64)>) {
    let mut fields = Vec::with_capacity(20);
    for (ts, value) in samples {
        let mut sample = Vec::with_capacity(18);
        sample.push(0x09);
        sample.extend_from_slice(&value.to_le_bytes());
        sample.push(0x10);
        varint(&mut sample, ts as u64);
        fields.push(0x12);
        varint(&mut fields, sample.len() as u64);
        fields.extend_from_slice(&sample);
    }
    body.push(0x0a);
    varint(body, (label_fields.len() + fields.len()) as u64);
    body.extend_from_slice(label_fields);
    body.extend_from_slice(&fields);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// SplitMix64 over both numbers.
pub fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(b.wrapping_mul(0xbf58_476d_1ce4_e5b9));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
