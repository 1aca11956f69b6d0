//! The last pass over a request: what is to be appended, by handle where the series is known and with labels where it is not.

use std::ops::Range;

use pharos_model::{Exemplar, LabelSet, Sample, TimestampMs};

use super::super::WriteError;
use super::super::labels::{self, LabelsError};
use super::super::refusals::INVALID_LABELS;
use super::super::request::{Item, Series, Walker};
use super::{Decoded, Origin, Scratch, series_at};
use crate::label_limits::LabelLimits;
use crate::sink::{FreshSample, KnownSample, Refusal, SeriesExemplar, SeriesHandle};
use crate::wire::WireError;

/// The last pass.
pub(super) struct Building<'b> {
    pub(super) body: &'b [u8],
    pub(super) limits: &'b LabelLimits,
    pub(super) ts_max: TimestampMs,
    pub(super) scratch: &'b Scratch,
    pub(super) decoded: Decoded,
}

impl Building<'_> {
    pub(super) fn build(mut self) -> Result<Decoded, WriteError> {
        let mut from = 0;
        for (at, (place, handle)) in self.scratch.series.iter().zip(&self.scratch.handles).enumerate() {
            let samples = from..place.samples_end;
            from = place.samples_end;
            match handle {
                Some(handle) if !place.has_exemplars => self.known(at as u32, *handle, samples)?,
                _ if samples.is_empty() && !place.has_exemplars => {}
                _ => self.with_labels(at as u32, *handle, samples)?,
            }
        }
        Ok(self.decoded)
    }

    #[inline]
    fn known(&mut self, series: u32, handle: SeriesHandle, samples: Range<u32>) -> Result<(), WireError> {
        for sample in samples {
            let Sample { ts, value } = self.scratch.samples[sample as usize];
            if ts > self.ts_max {
                self.refuse_late(Origin { series, sample })?;
                continue;
            }
            let batch = &mut self.decoded.batch;
            let histogram = self.scratch.histograms.at(sample).cloned();
            batch.histograms.known.extend(histogram.map(|histogram| (batch.known.len(), histogram)));
            batch.starts.known.extend(self.scratch.start_at(sample).map(|start| (batch.known.len(), start)));
            batch.known.push(KnownSample { series: handle, ts, value });
            self.decoded.sent.known.push(Origin { series, sample });
        }
        Ok(())
    }

    /// A series that is not known, or that has exemplars.
    fn with_labels(&mut self, at: u32, handle: Option<SeriesHandle>, samples: Range<u32>) -> Result<(), WriteError> {
        let mut walker = Walker::series_at(self.body, self.scratch.series[at as usize].at as usize);
        let Some(Item::Series(series)) = walker.next()? else { unreachable!("the first pass found a series here") };
        let labels = match labels::of_series(series.labels, self.limits) {
            Ok(labels) => labels,
            Err(LabelsError::Wire(error)) => return Err(error.into()),
            Err(LabelsError::Series(error)) => {
                self.decoded.refusals.histograms += self.scratch.histograms.count_in(samples.clone());
                self.decoded.refusals.add(INVALID_LABELS, samples.len(), || error.to_string());
                return Ok(());
            }
        };
        self.exemplars(&series, &labels)?;
        match handle {
            Some(handle) => Ok(self.known(at, handle, samples)?),
            None => Ok(self.fresh(at, &labels, samples)?),
        }
    }

    fn fresh(&mut self, series: u32, labels: &LabelSet, samples: Range<u32>) -> Result<(), WireError> {
        self.decoded.fresh_series += 1;
        for at in samples {
            let (origin, sample) = (Origin { series, sample: at }, self.scratch.samples[at as usize]);
            if sample.ts > self.ts_max {
                self.refuse_late(origin)?;
                continue;
            }
            let batch = &mut self.decoded.batch;
            let histogram = self.scratch.histograms.at(at).cloned();
            batch.histograms.fresh.extend(histogram.map(|histogram| (batch.fresh.len(), histogram)));
            batch.starts.fresh.extend(self.scratch.start_at(at).map(|start| (batch.fresh.len(), start)));
            batch.fresh.push(FreshSample { labels: labels.clone(), sample });
            self.decoded.sent.fresh.push(origin);
        }
        Ok(())
    }

    /// Exemplars are a courtesy: one with bad labels is left out and does not fail its request, as in Prometheus.
    fn exemplars(&mut self, series: &Series<'_>, labels: &LabelSet) -> Result<(), WriteError> {
        for exemplar in series.exemplars()? {
            match labels::of_exemplar(exemplar.labels, self.limits) {
                Ok(own) => self.decoded.batch.exemplars.push(SeriesExemplar {
                    series: labels.clone(),
                    exemplar: Exemplar { labels: own, value: exemplar.value, ts: exemplar.ts },
                }),
                Err(LabelsError::Series(_)) => {}
                Err(LabelsError::Wire(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }

    #[cold]
    fn refuse_late(&mut self, origin: Origin) -> Result<(), WireError> {
        let (body, at) = (self.body, self.scratch.series[origin.series as usize].at);
        let sample = self.scratch.samples[origin.sample as usize];
        self.decoded.refusals.histograms += usize::from(self.scratch.histograms.at(origin.sample).is_some());
        let label_fields = || series_at(body, at, |series| series.labels.to_vec());
        self.decoded.refusals.add_one(Refusal::OutOfBounds, sample, label_fields)
    }
}
