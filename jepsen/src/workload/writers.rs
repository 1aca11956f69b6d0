//! W-set's and W-append's writers. A sample is sent until it is acknowledged or the patience ends, so it is often sent again.

use std::time::Duration;

use bytes::Bytes;

use super::pace::Pace;
use super::{Family, Shared, series_of};
use crate::client::{WriteOutcome, encode};
use crate::history::{About, Action, Kind, Sample, Samples};

/// Requests for one operation, at most.
const ATTEMPTS_MAX: usize = 6;
/// Pause before an unanswered request is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// One operation in so many is sent again at once, and one after the next.
const RESEND_ONE_IN: u32 = 20;

/// One client that writes.
#[derive(Debug)]
pub struct Writer {
    pub family: Family,
    pub number: u32,
    /// Series of a set's writer, or samples in one request of a list's.
    pub width: u32,
    /// Operations a second.
    pub rate: f64,
    pub rng: fastrand::Rng,
}

/// Writes until the run stops.
pub async fn write_until_stopped(mut writer: Writer, shared: Shared) {
    let mut pace = Pace::new(writer.rate, shared.stop.clone());
    let mut process = shared.processes.next();
    let (mut last_ts, mut written) = (0, 0);
    let mut older: Option<Bytes> = None;
    while pace.turn().await {
        let samples = writer.next_samples(shared.clock.now_ms(), &mut last_ts, &mut written);
        let body = encode(writer.family.metric(), writer.number, &samples);
        let kind = writer.operation(process, samples.into_iter().collect(), &body, &shared).await;
        if kind == Kind::Info {
            process = shared.processes.next();
        }
        // What certainly failed must not come about by being sent again.
        let newest = Some(body).filter(|_| kind != Kind::Fail);
        for again in [older.take(), newest.clone()].into_iter().flatten() {
            writer.send_again(again, &shared).await;
        }
        older = newest;
    }
}

impl Writer {
    fn next_samples(&mut self, now_ms: i64, last_ts: &mut i64, written: &mut i64) -> Vec<Sample> {
        let first_ts = now_ms.max(*last_ts + 1);
        let samples = (0..self.width).map(|place| {
            *written += 1;
            match self.family {
                // Values are unique over all writers.
                Family::Set => Sample {
                    series: series_of(self.number, place),
                    ts_ms: first_ts,
                    value: i64::from(self.number) << 32 | *written,
                },
                Family::Append => {
                    Sample { series: series_of(self.number, 0), ts_ms: first_ts + i64::from(place), value: *written }
                }
            }
        });
        let samples: Vec<Sample> = samples.collect();
        *last_ts = samples.last().map_or(first_ts, |sample| sample.ts_ms);
        samples
    }

    /// Sends until the outcome is certain or the patience ends; gives how it ended.
    async fn operation(&mut self, process: u32, samples: Samples, body: &Bytes, shared: &Shared) -> Kind {
        let action = match self.family {
            Family::Set => Action::Add(samples),
            Family::Append => Action::Append(samples),
        };
        // One after the other, so that a node that hangs costs an operation its patience once.
        let endpoints = shared.path_of(self.number, &mut self.rng);
        let mut endpoint = &endpoints[0];
        shared.recorder.record(process, Kind::Invoke, action.clone(), About::node(&endpoint.node));
        let mut reached = None;
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                tokio::time::sleep(RETRY_PAUSE).await;
                endpoint = &endpoints[attempt % endpoints.len()];
            }
            match shared.client.write(&endpoint.api, body.clone()).await {
                WriteOutcome::Acked => {
                    shared.recorder.record(process, Kind::Ok, action, About::node(&endpoint.node));
                    return Kind::Ok;
                }
                WriteOutcome::NotSent(error) if reached.is_none() && attempt + 1 == ATTEMPTS_MAX => {
                    let about = About { node: Some(&endpoint.node), error: Some(error) };
                    shared.recorder.record(process, Kind::Fail, action, about);
                    return Kind::Fail;
                }
                WriteOutcome::NotSent(_) => {}
                WriteOutcome::Unknown(error) => reached = Some(error),
            }
        }
        let about = About { node: Some(&endpoint.node), error: reached };
        shared.recorder.record(process, Kind::Info, action, about);
        Kind::Info
    }

    /// Now and then, something that was written before. Whatever the answer, nothing may change: not part of the history.
    async fn send_again(&mut self, body: Bytes, shared: &Shared) {
        if self.rng.u32(0..RESEND_ONE_IN) == 0 {
            shared.client.write(&shared.endpoint(&mut self.rng).api, body).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(family: Family) -> Writer {
        Writer { family, number: 2, width: 3, rate: 1.0, rng: fastrand::Rng::with_seed(1) }
    }

    #[test]
    fn a_list_goes_on_where_it_was_and_time_never_repeats() {
        let (mut last_ts, mut written) = (0, 0);
        let mut writer = writer(Family::Append);
        let mut samples = writer.next_samples(1, &mut last_ts, &mut written);
        samples.extend(writer.next_samples(1, &mut last_ts, &mut written));
        assert_eq!(samples.iter().map(|sample| sample.value).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        assert!(samples.windows(2).all(|pair| pair[0].ts_ms < pair[1].ts_ms), "{samples:?}");
    }

    #[test]
    fn a_set_has_one_sample_for_each_series_and_values_of_its_own() {
        let (mut last_ts, mut written) = (0, 0);
        let samples = writer(Family::Set).next_samples(1, &mut last_ts, &mut written);
        assert_eq!(samples.iter().map(|sample| sample.series).collect::<Vec<_>>(), [2000, 2001, 2002]);
        assert_eq!(samples[0].value, (2 << 32) + 1);
    }
}
