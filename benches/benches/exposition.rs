//! A scraped text body of 800 samples: parsing alone, with the line cache of a steady target, and with the labels that a first
//! scrape needs. An element is a sample.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use pharos_benches::versus::data::{Fleet, SERIES_PER_HOST, labels};
use pharos_ingest::exposition::cache::{LineCache, Lookup};
use pharos_ingest::exposition::{Event, Format, Parser, Sample};
use pharos_ingest::label_limits::LabelLimits;
use pharos_ingest::series_hash::SeriesHasher;
use pharos_ingest::sink::SeriesHandle;
use pharos_model::labels::METRIC_NAME;

/// Labels that the scraping side adds, so that no target exposes them.
const TARGET_LABELS: [&str; 5] = ["cluster", "instance", "job", "region", "team"];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("exposition_text");
    group.throughput(Throughput::Elements(SERIES_PER_HOST as u64));
    let body = text_body();
    parse(&mut group, &body);
    parse_and_look_up(&mut group, &body);
    parse_with_labels(&mut group, &body);
    group.finish();
    criterion.final_summary();
}

fn parse(group: &mut BenchmarkGroup<'_, WallTime>, body: &[u8]) {
    group.bench_function("parse", |bencher| {
        bencher.iter(|| {
            let mut sum = 0.0;
            each_sample(body, |sample| sum += sample.value);
            sum
        });
    });
}

fn parse_and_look_up(group: &mut BenchmarkGroup<'_, WallTime>, body: &[u8]) {
    let mut cache = LineCache::new(SeriesHasher::new(1));
    each_sample(body, |sample| match cache.look_up(sample.series, true).lookup {
        Lookup::Fresh(slot) => cache.learn(slot, SeriesHandle(7)),
        found => unreachable!("no line comes twice, but {found:?}"),
    });
    cache.commit();
    group.bench_function("parse_and_look_up", |bencher| {
        bencher.iter(|| {
            let mut known = 0;
            each_sample(body, |sample| {
                known += usize::from(matches!(cache.look_up(sample.series, true).lookup, Lookup::Known { .. }));
            });
            cache.commit();
            assert_eq!(known, SERIES_PER_HOST);
        });
    });
}

fn parse_with_labels(group: &mut BenchmarkGroup<'_, WallTime>, body: &[u8]) {
    group.bench_function("parse_with_labels", |bencher| {
        bencher.iter(|| {
            let mut bytes = 0;
            each_sample(body, |sample| {
                let labels = sample.labels(&LabelLimits::CEILING).expect("labels that we wrote");
                bytes += labels.build().as_bytes().len();
            });
            bytes
        });
    });
}

fn each_sample(body: &[u8], mut take: impl FnMut(&Sample<'_>)) {
    let mut parser = Parser::new(body, Format::Text);
    while let Some(event) = parser.next().expect("a body that we wrote") {
        if let Event::Sample(sample) = event {
            take(&sample);
        }
    }
}

/// What the first host of a fleet would expose: families together, each behind its help and type.
fn text_body() -> Vec<u8> {
    let fleet = Fleet::new(SERIES_PER_HOST);
    let mut lines: Vec<(String, String)> = (0..SERIES_PER_HOST).map(|i| line(i, fleet.value(i, 1))).collect();
    lines.sort();
    let mut body = String::new();
    let mut last = String::new();
    for (family, line) in lines {
        if family != last {
            body.push_str(&format!("# HELP {family} What a host says about itself.\n# TYPE {family} untyped\n"));
            last = family;
        }
        body.push_str(&line);
    }
    body.into_bytes()
}

/// The metric name and the line of one series.
fn line(index: usize, value: f64) -> (String, String) {
    let labels = labels(0, index);
    let name = labels.iter().find(|(name, _)| *name == METRIC_NAME).map(|(_, value)| value.clone());
    let name = name.expect("every series has a metric name");
    let own = labels.iter().filter(|(name, _)| *name != METRIC_NAME && !TARGET_LABELS.contains(name));
    let own: Vec<String> = own.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    let line = format!("{name}{{{}}} {value}\n", own.join(","));
    (name, line)
}
