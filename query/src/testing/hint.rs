//! The counter reset hints that Prometheus' storage gives histograms back with. Scripts are written for those, and they say
//! less than what was stored: only that a histogram goes on in the chunk of the one before.

use pharos_model::sample::is_stale;
use pharos_model::{CounterResetHint, FloatHistogram};

/// The hint of a histogram that is stored after `previous`, the sample before it if that is a histogram too.
pub(super) fn as_stored(histogram: &FloatHistogram, previous: Option<&FloatHistogram>) -> CounterResetHint {
    match (histogram.counter_reset_hint, previous) {
        (CounterResetHint::Gauge, _) => CounterResetHint::Gauge,
        (CounterResetHint::CounterReset, _) | (_, None) => CounterResetHint::Unknown,
        (_, Some(previous)) if goes_on(histogram, previous) => CounterResetHint::NotCounterReset,
        _ => CounterResetHint::Unknown,
    }
}

/// Whether both fit in one chunk: the same layout but for buckets that are added, and no count that went down.
fn goes_on(histogram: &FloatHistogram, previous: &FloatHistogram) -> bool {
    if previous.counter_reset_hint == CounterResetHint::Gauge {
        return false;
    }
    if is_stale(histogram.sum) || is_stale(previous.sum) {
        return is_stale(histogram.sum);
    }
    let counted = FloatHistogram { counter_reset_hint: CounterResetHint::Unknown, ..histogram.clone() };
    histogram.schema == previous.schema
        && histogram.zero_threshold == previous.zero_threshold
        && histogram.custom_values == previous.custom_values
        && !counted.detect_reset(previous)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(count: f64, hint: CounterResetHint) -> FloatHistogram {
        FloatHistogram { count, counter_reset_hint: hint, ..FloatHistogram::default() }
    }

    #[test]
    fn only_a_counter_that_goes_on_is_known_not_to_be_reset() {
        use CounterResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
        for (previous, own, expected) in [
            (None, histogram(1.0, NotCounterReset), Unknown),
            (Some(histogram(1.0, Unknown)), histogram(1.0, Unknown), NotCounterReset),
            (Some(histogram(2.0, Unknown)), histogram(1.0, NotCounterReset), Unknown),
            (Some(histogram(1.0, Unknown)), histogram(2.0, CounterReset), Unknown),
            (Some(histogram(1.0, Gauge)), histogram(2.0, Unknown), Unknown),
            (Some(histogram(1.0, Unknown)), histogram(0.0, Gauge), Gauge),
        ] {
            assert_eq!(as_stored(&own, previous.as_ref()), expected, "{previous:?} {own:?}");
        }
    }
}
