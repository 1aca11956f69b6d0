//! Range functions over raw samples: 50 series, a day at one step a minute (1,441 steps), a window of five minutes over samples 15 s
//! apart, so that every step sees 20. An element is a point of the answer.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use pharos_benches::versus::data::Fleet;
use pharos_model::TimestampMs;
use pharos_query::functions::grid::set_steps;
use pharos_query::functions::{Grid, Notes, RangeFunction, RangeKernel, RangeWindow, RowOut, Samples, Selection};

const SERIES: usize = 50;
const GRID: Grid = Grid { start_ms: 1_700_000_000_000, step_ms: 60_000, n: 1441 };
const WINDOW: RangeWindow =
    RangeWindow { range_ms: 300_000, offset_ms: 0, at_ms: None, selection: Selection::Plain, lookback_ms: 300_000 };
const INTERVAL_MS: i64 = 15_000;
const FUNCTIONS: [(&str, RangeFunction); 3] = [
    ("rate", RangeFunction::Rate),
    ("increase", RangeFunction::Increase),
    ("sum_over_time", RangeFunction::SumOverTime),
];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("range_function");
    group.throughput(Throughput::Elements((SERIES * GRID.n) as u64));
    let ts = timestamps();
    let series = values(ts.len());
    for (name, function) in FUNCTIONS {
        measure(&mut group, name, function, &ts, &series);
    }
    group.finish();
    criterion.final_summary();
}

fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    function: RangeFunction,
    ts: &[TimestampMs],
    series: &[Vec<f64>],
) {
    let mut kernel = RangeKernel::new(function, GRID, WINDOW, Vec::new());
    let (mut present, mut row, mut notes) = (vec![0; GRID.words()], vec![0.0; GRID.n], Notes::default());
    let mut eval = |values: &[f64]| {
        present.fill(0);
        let out = RowOut { present: &mut present, values: &mut row };
        kernel.eval(Samples { ts, values }, out, &mut notes).expect("a function that cannot fail");
        black_box(&row);
        set_steps(&present).count()
    };
    assert!(series.iter().all(|values| eval(values) == GRID.n), "every step has a value");
    group.bench_function(name, |bencher| bencher.iter(|| series.iter().map(|values| eval(values)).sum::<usize>()));
}

/// All samples that the windows see.
fn timestamps() -> Vec<TimestampMs> {
    let read = WINDOW.read_range(&GRID);
    let first = read.start_ms - read.start_ms.rem_euclid(INTERVAL_MS) + INTERVAL_MS;
    (first..=read.end_ms).step_by(INTERVAL_MS as usize).collect()
}

/// Integer and float counters, each as long as `len`.
fn values(len: usize) -> Vec<Vec<f64>> {
    let counters = (0..).filter(|series| series % 10 < 6).take(SERIES);
    let fleet = Fleet::new(SERIES * 2);
    counters.map(|series| (0..len).map(|round| fleet.value(series, round)).collect()).collect()
}
