//! Samples as a remote-write 1.0 body: protobuf in snappy.

use bytes::Bytes;

use crate::history::Sample;

/// The request that carries a writer's samples; those of one series must be together.
pub fn encode(metric: &str, writer: u32, samples: &[Sample]) -> Bytes {
    let mut body = Vec::new();
    for run in samples.chunk_by(|a, b| a.series == b.series) {
        let mut fields = labels(metric, writer, run[0].series);
        for sample in run {
            let mut message = vec![0x09];
            message.extend_from_slice(&(sample.value as f64).to_le_bytes());
            message.push(0x10);
            varint(&mut message, sample.ts_ms as u64);
            field(&mut fields, 0x12, &message);
        }
        field(&mut body, 0x0a, &fields);
    }
    snap::raw::Encoder::new().compress_vec(&body).expect("a body far below snappy's limit").into()
}

/// `instance` differs from series to series, so that a writer's series spread over partitions.
fn labels(metric: &str, writer: u32, series: u32) -> Vec<u8> {
    let (series, writer) = (series.to_string(), writer.to_string());
    let instance = format!("series-{series}");
    let labels =
        [("__name__", metric), ("instance", &instance), ("job", "jepsen"), ("series", &series), ("writer", &writer)];
    let mut fields = Vec::new();
    for (name, value) in labels {
        let mut label = Vec::new();
        field(&mut label, 0x0a, name.as_bytes());
        field(&mut label, 0x12, value.as_bytes());
        field(&mut fields, 0x0a, &label);
    }
    fields
}

fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_the_protocol_wants() {
        let sample = Sample { series: 1000, ts_ms: 300, value: 2 };
        let body = snap::raw::Decoder::new().decompress_vec(&encode("m", 1, &[sample])).unwrap();
        let labels = b"\n\r\n\x08__name__\x12\x01m\n\x17\n\x08instance\x12\x0bseries-1000\n\r\n\x03job\x12\x06jepsen\n\x0e\n\x06series\x12\x041000\n\x0b\n\x06writer\x12\x011";
        let value = b"\x12\x0c\x09\0\0\0\0\0\0\0\x40\x10\xac\x02";
        let mut expected = vec![0x0a, (labels.len() + value.len()) as u8];
        expected.extend_from_slice(labels);
        expected.extend_from_slice(value);
        assert_eq!(body, expected);
    }
}
