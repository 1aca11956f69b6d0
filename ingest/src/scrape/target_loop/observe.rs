//! What a loop tells API, metrics and logs about its scrapes.

use std::time::Duration;

use pharos_model::TimestampMs;
use tracing::debug;

use super::TargetLoop;
use crate::scrape::ScrapeError;
use crate::scrape::failure_log::{self, Failure};
use crate::scrape::status::Health;

impl TargetLoop {
    pub(super) fn observe_interval(&mut self, started: Duration) {
        if let Some(last) = self.last_started.replace(started) {
            let seconds = started.saturating_sub(last).as_secs_f64();
            let interval = go_duration(self.spec.target.interval);
            self.options.metrics.interval_length.observe(&interval, seconds);
            self.options.metrics.interval_length_histogram.with_label_values(&[&interval]).observe(seconds);
        }
    }

    /// Tells API, metrics and logs how the scrape went.
    pub(super) fn note(&self, at: TimestampMs, took: Duration, error: Option<&ScrapeError>) {
        let text = error.map(ToString::to_string).unwrap_or_default();
        let metrics = &self.options.metrics;
        match error {
            Some(ScrapeError::SampleLimit) => metrics.exceeded_sample_limit.inc(),
            Some(ScrapeError::HistogramBuckets) => metrics.exceeded_histogram_buckets.inc(),
            Some(ScrapeError::BodySizeLimit) => metrics.exceeded_body_size_limit.inc(),
            Some(ScrapeError::LabelLimit(_)) => metrics.exceeded_label_limits.inc(),
            _ => {}
        }
        if error.is_some() {
            let (config, target) = (&self.spec.config, &self.spec.target);
            debug!(target = target.url_text, error = text, "scrape failed");
            if !config.scrape_failure_log_file.is_empty() {
                let failure = Failure { at, error: &text, job: &config.job_name, target: &target.url_text };
                failure_log::write(&*self.options.surroundings.fs, &config.scrape_failure_log_file, &failure);
            }
        }
        let mut last = self.live.last.lock();
        last.health = if error.is_none() { Health::Up } else { Health::Down };
        (last.error, last.at, last.took) = (text, Some(at), took);
    }
}

/// A duration as Go prints it (`15s`, `1m0s`, `1h0m0s`, `500ms`), which the label `interval` of the metrics holds.
fn go_duration(duration: Duration) -> String {
    let ms = duration.as_millis() as u64;
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, (ms % 60_000) as f64 / 1000.0);
    match (hours, minutes) {
        (0, 0) if ms < 1000 => format!("{ms}ms"),
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_printed_as_in_go() {
        for (ms, text) in
            [(15_000, "15s"), (60_000, "1m0s"), (90_500, "1m30.5s"), (3_600_000, "1h0m0s"), (500, "500ms")]
        {
            assert_eq!(go_duration(Duration::from_millis(ms)), text);
        }
    }
}
