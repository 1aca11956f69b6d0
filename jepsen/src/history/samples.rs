//! Lists of samples that take the room of their runs: what a writer sends at once is one, and so is what comes of it in an answer.

use serde::{Deserialize, Serialize};

use super::Sample;

/// Samples in order, duplicates included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Samples {
    runs: Vec<Run>,
}

/// Samples of which each is one step further than the one before. Written as `[series, ts_ms, value]`, then the number and the
/// step's kind if there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<i64>", into = "Vec<i64>")]
struct Run {
    first: Sample,
    len: u32,
    step: Step,
}

/// How two samples of a run differ: values count up, and either the series or the time does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The next series at the same time: a request of W-set.
    Series,
    /// The next millisecond of the same series: a request of W-append.
    Time,
}

impl Samples {
    pub fn len(&self) -> usize {
        self.runs.iter().map(|run| run.len as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Sample> {
        self.runs.iter().flat_map(|run| (0..run.len).map(|at| run.step.apply(run.first, at)))
    }
}

impl FromIterator<Sample> for Samples {
    fn from_iter<T: IntoIterator<Item = Sample>>(samples: T) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        for sample in samples {
            if !runs.last_mut().is_some_and(|run| run.take(sample)) {
                runs.push(Run { first: sample, len: 1, step: Step::Series });
            }
        }
        Self { runs }
    }
}

impl Run {
    /// Takes in the sample that comes after those it has, if it is that.
    fn take(&mut self, sample: Sample) -> bool {
        let steps = if self.len == 1 { &[Step::Series, Step::Time][..] } else { &[self.step] };
        let fits = |step: &&Step| step.apply(self.first, self.len) == sample;
        let Some(&step) = steps.iter().find(fits) else { return false };
        (self.step, self.len) = (step, self.len + 1);
        true
    }
}

impl Step {
    fn apply(self, first: Sample, by: u32) -> Sample {
        let Sample { series, ts_ms, value } = first;
        let value = value.wrapping_add(i64::from(by));
        match self {
            Self::Series => Sample { series: series.wrapping_add(by), ts_ms, value },
            Self::Time => Sample { series, ts_ms: ts_ms.wrapping_add(i64::from(by)), value },
        }
    }
}

impl From<Run> for Vec<i64> {
    fn from(Run { first, len, step }: Run) -> Self {
        let mut written = vec![i64::from(first.series), first.ts_ms, first.value];
        if len > 1 {
            written.extend([i64::from(len), i64::from(step == Step::Time)]);
        }
        written
    }
}

impl TryFrom<Vec<i64>> for Run {
    type Error = String;

    fn try_from(written: Vec<i64>) -> Result<Self, String> {
        let (series, ts_ms, value, len, step) = match written[..] {
            [series, ts_ms, value] => (series, ts_ms, value, 1, Step::Series),
            [series, ts_ms, value, len, 0] => (series, ts_ms, value, len, Step::Series),
            [series, ts_ms, value, len, 1] => (series, ts_ms, value, len, Step::Time),
            _ => return Err(format!("no run of samples: {written:?}")),
        };
        let number = |number: i64| u32::try_from(number).map_err(|error| format!("{written:?}: {error}"));
        Ok(Self { first: Sample { series: number(series)?, ts_ms, value }, len: number(len)?, step })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(series: u32, ts_ms: i64, value: i64) -> Sample {
        Sample { series, ts_ms, value }
    }

    #[test]
    fn what_went_in_comes_out_in_order_and_counts_the_same() {
        let (one, two) = (sample(7, 10, 5), sample(8, 10, 6));
        let lists = [
            vec![],
            vec![one, one, one],
            vec![one, two, sample(9, 10, 7), sample(9, 11, 8), sample(9, 12, 9)],
            vec![two, one, sample(7, 11, 6), sample(8, 11, 7)],
            vec![sample(u32::MAX, i64::MAX, i64::MAX), sample(0, i64::MIN, 3)],
        ];
        for list in lists {
            let samples: Samples = list.iter().copied().collect();
            assert_eq!(samples.iter().collect::<Vec<_>>(), list);
            assert_eq!((samples.len(), samples.is_empty()), (list.len(), list.is_empty()));
            let text = serde_json::to_string(&samples).unwrap();
            assert_eq!(serde_json::from_str::<Samples>(&text).unwrap(), samples, "{text}");
        }
    }

    #[test]
    fn requests_are_one_run_each() {
        let set: Samples = (0..1000).map(|place| sample(2000 + place, 10, i64::from(place))).collect();
        assert_eq!(serde_json::to_string(&set).unwrap(), "[[2000,10,0,1000,0]]");
        let list: Samples = (0..5).map(|place| sample(7, 10 + place, 1 + place)).collect();
        assert_eq!(serde_json::to_string(&list).unwrap(), "[[7,10,1,5,1]]");
    }

    #[test]
    fn what_is_no_run_is_refused() {
        for text in ["[[1,2]]", "[[1,2,3,4]]", "[[1,2,3,4,2]]", "[[-1,2,3]]", "[[1,2,3,-4,0]]"] {
            assert!(serde_json::from_str::<Samples>(text).is_err(), "{text}");
        }
    }
}
