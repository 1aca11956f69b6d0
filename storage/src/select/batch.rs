//! A run of series with their samples, decoded.

use pharos_model::LabelSet;

use super::SampleColumns;

/// Some series of a selection, each with all its samples. About 1 MiB, unless one series alone has more.
#[derive(Debug, Default)]
pub struct SeriesBatch {
    labels: Vec<LabelSet>,
    /// End of each series in `samples`.
    ends: Vec<usize>,
    samples: SampleColumns,
}

impl SeriesBatch {
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    pub fn labels(&self, i: usize) -> &LabelSet {
        &self.labels[i]
    }

    /// Replaces `out` by the samples of series `i`.
    pub fn read(&self, i: usize, out: &mut SampleColumns) {
        let (ts, values) = self.samples(i);
        out.clear();
        out.ts.extend_from_slice(ts);
        out.values.extend_from_slice(values);
    }

    /// The samples of series `i`, in place: times and values.
    pub fn samples(&self, i: usize) -> (&[i64], &[f64]) {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        let end = self.ends[i];
        (&self.samples.ts[start..end], &self.samples.values[start..end])
    }

    /// Samples of all series.
    pub fn sample_count(&self) -> usize {
        self.samples.len()
    }

    pub fn memory_bytes(&self) -> usize {
        self.samples.len() * 16 + self.labels.iter().map(|labels| labels.as_bytes().len() + 32).sum::<usize>()
    }

    /// Adds samples to the series being built: ascending, and for a time that is there already the first wins.
    pub(super) fn merge(&mut self, ts: &[i64], values: &[f64]) {
        let start = self.ends.last().copied().unwrap_or(0);
        let (Some(&first), last) = (ts.first(), self.samples.ts[start..].last()) else { return };
        if last.is_none_or(|last| *last < first) {
            self.samples.ts.extend_from_slice(ts);
            self.samples.values.extend_from_slice(values);
            return;
        }
        let (old_ts, old_values) = (self.samples.ts.split_off(start), self.samples.values.split_off(start));
        let mut old = old_ts.into_iter().zip(old_values).peekable();
        for (&ts, &value) in ts.iter().zip(values) {
            while let Some(before) = old.next_if(|(old_ts, _)| *old_ts < ts) {
                self.push(before);
            }
            match old.next_if(|(old_ts, _)| *old_ts == ts) {
                Some(same) => self.push(same),
                None => self.push((ts, value)),
            }
        }
        old.for_each(|rest| self.push(rest));
    }

    fn push(&mut self, (ts, value): (i64, f64)) {
        self.samples.ts.push(ts);
        self.samples.values.push(value);
    }

    /// Ends the series being built. One without samples is left out.
    pub(super) fn end_series(&mut self, labels: LabelSet) {
        if self.samples.len() > self.ends.last().copied().unwrap_or(0) {
            self.labels.push(labels);
            self.ends.push(self.samples.len());
        }
    }
}
