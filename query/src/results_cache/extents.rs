//! Stretches of steps with their answers: which are missing, what is left after a change, how they become one answer.

use std::sync::Arc;

use pharos_model::{TimeRange, TimestampMs};

use crate::functions::Grid;
use crate::value::Series;

/// Steps of one step width and phase, one after the other: from the first to the last, both in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    pub first_ms: TimestampMs,
    pub last_ms: TimestampMs,
    pub step_ms: i64,
}

/// The answer at some steps: series in the order of their labels, each with at least one sample. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Extent {
    pub steps: Steps,
    pub series: Arc<Vec<Series>>,
}

impl Steps {
    /// The steps of a grid; `None` when it has none.
    pub fn of(grid: &Grid) -> Option<Self> {
        let last = grid.n.checked_sub(1)?;
        Some(Self { first_ms: grid.start_ms, last_ms: grid.at(last), step_ms: grid.step_ms })
    }

    pub fn grid(self) -> Grid {
        let gaps = (self.last_ms - self.first_ms) / self.step_ms;
        Grid { start_ms: self.first_ms, step_ms: self.step_ms, n: gaps as usize + 1 }
    }

    /// Those at or before a time.
    pub fn until(self, until_ms: TimestampMs) -> Option<Self> {
        if until_ms < self.first_ms {
            return None;
        }
        let end_ms = until_ms.min(self.last_ms);
        let last_ms = end_ms - (end_ms - self.first_ms) % self.step_ms;
        Some(Self { last_ms, ..self })
    }

    /// Those at or after a time.
    pub fn from(self, from_ms: TimestampMs) -> Option<Self> {
        if from_ms > self.last_ms {
            return None;
        }
        let start_ms = from_ms.max(self.first_ms);
        let over_ms = (start_ms - self.first_ms) % self.step_ms;
        let first_ms = if over_ms == 0 { start_ms } else { start_ms + (self.step_ms - over_ms) };
        Some(Self { first_ms, ..self })
    }

    fn within(self, other: Self) -> Option<Self> {
        self.from(other.first_ms)?.until(other.last_ms)
    }

    /// Whether `next` goes on where these end.
    fn is_before(self, next: Self) -> bool {
        self.last_ms + self.step_ms == next.first_ms
    }
}

/// The steps asked for that no extent has. Extents are apart and ascending.
pub fn missing(extents: &[Extent], asked: Steps) -> Vec<Steps> {
    let mut missing = Vec::new();
    let mut rest = Some(asked);
    for extent in extents {
        let Some(left) = rest else { break };
        if extent.steps.within(left).is_none() {
            continue;
        }
        missing.extend(left.until(extent.steps.first_ms - 1));
        rest = left.from(extent.steps.last_ms + 1);
    }
    missing.extend(rest);
    missing
}

/// The extents without the steps in a range of time.
pub fn without(extents: Vec<Extent>, gone: TimeRange) -> Vec<Extent> {
    let mut kept = Vec::with_capacity(extents.len());
    for extent in extents {
        let before = gone.start_ms.checked_sub(1).and_then(|until| extent.steps.until(until));
        let after = gone.end_ms.checked_add(1).and_then(|from| extent.steps.from(from));
        if before == Some(extent.steps) || after == Some(extent.steps) {
            kept.push(extent);
        } else {
            kept.extend(before.into_iter().chain(after).map(|steps| cut(&extent, steps)));
        }
    }
    kept
}

/// The part of each extent that is among the steps.
pub fn within(extents: &[Extent], steps: Steps) -> Vec<Extent> {
    extents.iter().filter_map(|extent| Some(cut(extent, extent.steps.within(steps)?))).collect()
}

/// The extents without the steps outside of a range of time.
pub fn within_range(extents: Vec<Extent>, range: TimeRange) -> Vec<Extent> {
    let before = range.start_ms.checked_sub(1).map(|end_ms| TimeRange::new(TimestampMs::MIN, end_ms));
    let after = range.end_ms.checked_add(1).map(|start_ms| TimeRange::new(start_ms, TimestampMs::MAX));
    before.into_iter().chain(after).fold(extents, without)
}

/// The answer that extents are together, which go on from each other or are none.
pub fn answer(extents: Vec<Extent>) -> Vec<Series> {
    let mut joined = joined(extents, Vec::new());
    debug_assert!(joined.len() <= 1, "an answer has no holes");
    joined.pop().map_or_else(Vec::new, |extent| Arc::unwrap_or_clone(extent.series))
}

/// A part of an extent.
pub fn cut(extent: &Extent, steps: Steps) -> Extent {
    if steps == extent.steps {
        return extent.clone();
    }
    let cut_one = |series: &Series| {
        let floats = series.samples.partition_point(|sample| sample.ts < steps.first_ms)
            ..series.samples.partition_point(|sample| sample.ts <= steps.last_ms);
        let histograms = series.histograms.partition_point(|sample| sample.ts < steps.first_ms)
            ..series.histograms.partition_point(|sample| sample.ts <= steps.last_ms);
        (!floats.is_empty() || !histograms.is_empty()).then(|| Series {
            labels: series.labels.clone(),
            samples: series.samples[floats].to_vec(),
            histograms: series.histograms[histograms].to_vec(),
        })
    };
    Extent { steps, series: Arc::new(extent.series.iter().filter_map(cut_one).collect()) }
}

/// One list of extents, apart and ascending, of two that have no step in common: those that go on from each other become one.
pub fn joined(mut extents: Vec<Extent>, more: Vec<Extent>) -> Vec<Extent> {
    extents.extend(more);
    extents.sort_by_key(|extent| extent.steps.first_ms);
    let mut joined: Vec<Extent> = Vec::with_capacity(extents.len());
    for extent in extents {
        match joined.last_mut().filter(|last| last.steps.is_before(extent.steps)) {
            Some(last) => {
                last.steps.last_ms = extent.steps.last_ms;
                let first = Arc::unwrap_or_clone(std::mem::take(&mut last.series));
                last.series = Arc::new(chained(first, Arc::unwrap_or_clone(extent.series)));
            }
            None => joined.push(extent),
        }
    }
    joined
}

/// The series of two answers, the second later than the first.
fn chained(first: Vec<Series>, second: Vec<Series>) -> Vec<Series> {
    let mut out = Vec::with_capacity(first.len().max(second.len()));
    let mut second = second.into_iter().peekable();
    for mut series in first {
        while let Some(other) = second.next_if(|other| other.labels < series.labels) {
            out.push(other);
        }
        if let Some(later) = second.next_if(|other| other.labels == series.labels) {
            // What is kept takes no more room than it needs.
            series.samples.reserve_exact(later.samples.len());
            series.samples.extend(later.samples);
            series.histograms.reserve_exact(later.histograms.len());
            series.histograms.extend(later.histograms);
        }
        out.push(series);
    }
    out.extend(second);
    out
}

#[cfg(test)]
mod tests {
    use pharos_model::{LabelSet, Sample};

    use super::*;

    fn steps(first_ms: i64, last_ms: i64) -> Steps {
        Steps { first_ms, last_ms, step_ms: 10 }
    }

    /// A series for each letter, which is present at the times given.
    fn extent(first_ms: i64, last_ms: i64, series: &[(&str, &[i64])]) -> Extent {
        let series = series.iter().map(|(name, times)| Series {
            labels: LabelSet::from_pairs([("s", name)]),
            samples: times.iter().map(|ts| Sample { ts: *ts, value: *ts as f64 }).collect(),
            histograms: Vec::new(),
        });
        Extent { steps: steps(first_ms, last_ms), series: Arc::new(series.collect()) }
    }

    /// All steps of the extents, with a series that is present at each.
    fn full(stretches: &[(i64, i64)]) -> Vec<Extent> {
        let times = |first: i64, last: i64| (first..=last).step_by(10).collect::<Vec<_>>();
        stretches.iter().map(|(first, last)| extent(*first, *last, &[("a", &times(*first, *last))])).collect()
    }

    fn stretches(extents: &[Extent]) -> Vec<(i64, i64)> {
        extents.iter().map(|extent| (extent.steps.first_ms, extent.steps.last_ms)).collect()
    }

    #[test]
    fn steps_are_cut_on_their_own_times() {
        let all = steps(5, 45);
        assert_eq!(all.until(30), Some(steps(5, 25)));
        assert_eq!(all.until(25), Some(steps(5, 25)));
        assert_eq!(all.until(4), None);
        assert_eq!(all.from(6), Some(steps(15, 45)));
        assert_eq!(all.from(45), Some(steps(45, 45)));
        assert_eq!(all.from(46), None);
        assert_eq!(Steps::of(&all.grid()), Some(all));
        assert_eq!(Steps::of(&Grid { start_ms: 0, step_ms: 10, n: 0 }), None);
    }

    #[test]
    fn what_no_extent_has_is_missing() {
        let asked = steps(100, 200);
        for (have, want) in [
            (&[][..], &[(100, 200)][..]),
            (&[(0, 90)], &[(100, 200)]),
            (&[(210, 300)], &[(100, 200)]),
            (&[(0, 300)], &[]),
            (&[(100, 200)], &[]),
            (&[(0, 120)], &[(130, 200)]),
            (&[(150, 300)], &[(100, 140)]),
            (&[(120, 130), (160, 170)], &[(100, 110), (140, 150), (180, 200)]),
        ] {
            let got: Vec<_> = missing(&full(have), asked).iter().map(|steps| (steps.first_ms, steps.last_ms)).collect();
            assert_eq!(got, want, "{have:?}");
        }
    }

    #[test]
    fn a_change_takes_its_steps_and_no_other() {
        for (gone, want) in [
            ((300, 400), &[(100, 200), (220, 250)][..]),
            ((201, 219), &[(100, 200), (220, 250)]),
            ((200, 220), &[(100, 190), (230, 250)]),
            ((111, 119), &[(100, 110), (120, 200), (220, 250)]),
            ((120, 140), &[(100, 110), (150, 200), (220, 250)]),
            ((150, i64::MAX), &[(100, 140)]),
            ((i64::MIN, 225), &[(230, 250)]),
            ((i64::MIN, i64::MAX), &[]),
        ] {
            let left = without(full(&[(100, 200), (220, 250)]), TimeRange::new(gone.0, gone.1));
            // Between two steps there is nothing to lose, but the stretch may fall in two.
            let left = joined(left, Vec::new());
            let want: Vec<(i64, i64)> = want.to_vec();
            let got = stretches(&left);
            assert_eq!(got, stretches(&joined(full(&want), Vec::new())), "{gone:?}");
            for extent in left {
                assert_eq!(extent, full(&[(extent.steps.first_ms, extent.steps.last_ms)])[0]);
            }
        }
    }

    #[test]
    fn stretches_that_go_on_from_each_other_become_one() {
        let first = vec![extent(0, 20, &[("a", &[0, 10]), ("c", &[20])]), extent(60, 60, &[("a", &[60])])];
        let second = vec![extent(30, 40, &[("a", &[30]), ("b", &[40]), ("d", &[30, 40])])];
        let joined = joined(first, second);
        assert_eq!(
            joined,
            [
                extent(0, 40, &[("a", &[0, 10, 30]), ("b", &[40]), ("c", &[20]), ("d", &[30, 40])]),
                extent(60, 60, &[("a", &[60])]),
            ]
        );
        // A series that has no sample in a part is not in it.
        assert_eq!(cut(&joined[0], steps(20, 30)), extent(20, 30, &[("a", &[30]), ("c", &[20]), ("d", &[30])]));
        assert_eq!(
            within(&joined, steps(40, 70)),
            [extent(40, 40, &[("b", &[40]), ("d", &[40])]), extent(60, 60, &[("a", &[60])])]
        );
    }
}
