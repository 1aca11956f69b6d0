//! Any body in any format parses to its end or fails at a position.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pharos_ingest::exposition::{Event, Format, Parser};
use pharos_ingest::label_limits::LabelLimits;

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, body) = input;
    let format = match choice % 3 {
        0 => Format::Text,
        1 => Format::OpenMetrics,
        _ => Format::Protobuf,
    };
    let mut parser = Parser::new(body, format);
    while let Ok(Some(event)) = parser.next() {
        if let Event::Sample(sample) = event {
            let _ = sample.labels(&LabelLimits::default());
        }
    }
});
