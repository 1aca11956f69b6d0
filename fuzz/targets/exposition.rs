//! Any body in any format parses to its end or fails at a position, and so do the labels of every sample and exemplar in it.
//! The first byte chooses the format: `o` OpenMetrics, `p` protobuf, anything else Prometheus text; upper case asks for native
//! histograms too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pharos_ingest::exposition::{Event, Format, HistogramForms, Parser};
use pharos_ingest::label_limits::LabelLimits;

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else { return };
    let format = match choice.to_ascii_lowercase() {
        b'o' => Format::OpenMetrics,
        b'p' => Format::Protobuf,
        _ => Format::Text,
    };
    let native = choice.is_ascii_uppercase();
    let forms = HistogramForms { native, classic_as_native: native, always_classic: native };
    let mut parser = Parser::with_histograms(body, format, forms);
    while let Ok(Some(event)) = parser.next() {
        if let Event::Sample(sample) = event {
            let labels = sample.labels(&LabelLimits::CEILING);
            assert!(labels.is_err() || !sample.series.is_empty(), "a series needs a text to be known by");
            if let Some(exemplar) = sample.exemplar {
                let _ = exemplar.labels(&LabelLimits::CEILING);
            }
        } else if let Event::Histogram(histogram) = event {
            assert_eq!(histogram.histogram.validate(), Ok(()));
            for exemplar in &histogram.exemplars {
                let _ = exemplar.labels(&LabelLimits::CEILING);
            }
        }
    }
});
