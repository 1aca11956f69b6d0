//! What is said about a query besides its rows: remarks, and samples as they are.

use pharos_model::histogram;
use pharos_model::{CounterResetHint, FloatHistogram, Sample};

use super::{wire_enum, wire_struct};
use crate::annotation::Annotation;
use crate::functions::notes::Monotonicity;
use crate::functions::{Note, Severity};
use crate::value::{HistogramSample, Series};

type HistogramSpan = histogram::Span;

wire_struct!(Annotation { note, span });
wire_struct!(Note { severity, text, argument, monotonicity });
wire_struct!(Monotonicity { samples, min_ts, max_ts, min_bucket, max_bucket, max_diff });
wire_enum!(Severity { 0 = Warning, 1 = Info });

wire_struct!(Series { labels, samples, histograms });
wire_struct!(Sample { ts, value });
wire_struct!(HistogramSample { ts, histogram });
wire_struct!(FloatHistogram {
    counter_reset_hint,
    schema,
    zero_threshold,
    zero_count,
    count,
    sum,
    positive_spans,
    negative_spans,
    positive_buckets,
    negative_buckets,
    custom_values,
});
wire_struct!(HistogramSpan { offset, length });
wire_enum!(CounterResetHint { 0 = Unknown, 1 = CounterReset, 2 = NotCounterReset, 3 = Gauge });
