//! The walker finds in any bytes what prost finds, or refuses them.

use proptest::prelude::*;
use prost::Message;

use super::proto::{Exemplar, Histogram, Label, MetricMetadata, Sample, TimeSeries, WriteRequest};
use crate::label_limits::LabelLimits;
use crate::remote_write::{Item, Walker, labels};
use crate::wire::WireError;

/// What a request says, as far as the walker tells it.
#[derive(Debug, PartialEq)]
enum Said {
    Series { labels: Option<String>, samples: Vec<(i64, u64)>, exemplars: Vec<(i64, u64)>, histograms: usize },
    Metadata(Vec<u8>, Vec<u8>, Vec<u8>),
}

const LIMITS: LabelLimits = LabelLimits { labels_max: 0, name_bytes_max: 0, value_bytes_max: 0, set_bytes_max: 0 };

/// Series before metadata: the order between the two kinds of a request means nothing.
fn walk(body: &[u8]) -> Result<Vec<Said>, WireError> {
    let (mut series, mut metadata) = (Vec::new(), Vec::new());
    let mut walker = Walker::new(body);
    while let Some(item) = walker.next()? {
        match item {
            Item::Series(found) => series.push(Said::Series {
                labels: match labels::of_series(found.labels, &LIMITS) {
                    Ok(labels) => Some(labels.to_string()),
                    Err(labels::LabelsError::Series(_)) => None,
                    Err(labels::LabelsError::Wire(error)) => return Err(error),
                },
                samples: found.samples.iter().map(|sample| (sample.ts, sample.value.to_bits())).collect(),
                exemplars: found.exemplars()?.iter().map(|e| (e.ts, e.value.to_bits())).collect(),
                histograms: found.histograms,
            }),
            Item::Metadata(found) => {
                metadata.push(Said::Metadata(found.family.into(), found.help.into(), found.unit.into()));
            }
        }
    }
    series.extend(metadata);
    Ok(series)
}

fn expected(request: &WriteRequest) -> Vec<Said> {
    let series = request.timeseries.iter().map(|series| {
        let mut samples: Vec<_> = series.samples.iter().map(|s| (s.timestamp, s.value.to_bits())).collect();
        samples.sort_by_key(|(timestamp, _)| *timestamp);
        Said::Series {
            labels: label_set(&series.labels),
            samples,
            exemplars: series.exemplars.iter().map(|e| (e.timestamp, e.value.to_bits())).collect(),
            histograms: series.histograms.len(),
        }
    });
    let metadata = request.metadata.iter();
    series
        .chain(metadata.map(|m| Said::Metadata(m.metric_family_name.clone(), m.help.clone(), m.unit.clone())))
        .collect()
}

/// `None` for labels that a receiver has to refuse.
fn label_set(labels: &[Label]) -> Option<String> {
    let mut pairs = Vec::new();
    for label in labels {
        let (name, value) = (String::from_utf8(label.name.clone()).ok()?, String::from_utf8(label.value.clone()).ok()?);
        if name.is_empty() || pairs.iter().any(|(other, _)| *other == name) {
            return None;
        }
        pairs.push((name, value));
    }
    let set = pharos_model::LabelSet::from_pairs(pairs);
    set.metric_name()?;
    Some(set.to_string())
}

prop_compose! {
    fn label()(name in "__name__|[a-c]{1,2}|", value in prop_oneof!["[a-z]{0,3}".prop_map(String::into_bytes), Just(vec![0xff])]) -> Label {
        Label { name: name.into_bytes(), value }
    }
}

fn labels() -> impl Strategy<Value = Vec<Label>> {
    prop::collection::vec(label(), 0..5)
}

prop_compose! {
    fn series()(
        labels in labels(),
        samples in prop::collection::vec((any::<f64>(), any::<i64>()), 0..4),
        exemplars in prop::collection::vec((labels(), any::<f64>(), any::<i64>()), 0..2),
        histograms in prop::collection::vec(any::<u64>(), 0..2),
    ) -> TimeSeries {
        TimeSeries {
            labels,
            samples: samples.into_iter().map(|(value, timestamp)| Sample { value, timestamp }).collect(),
            exemplars: exemplars.into_iter().map(|(labels, value, timestamp)| Exemplar { labels, value, timestamp }).collect(),
            histograms: histograms.into_iter().map(|count| Histogram { count_int: count, ..Histogram::default() }).collect(),
        }
    }
}

prop_compose! {
    fn request()(
        timeseries in prop::collection::vec(series(), 0..4),
        metadata in prop::collection::vec((0..9i32, "[a-z]{0,4}", "[a-z ]{0,9}", "[a-z]{0,3}"), 0..3),
    ) -> WriteRequest {
        WriteRequest {
            timeseries,
            metadata: metadata.into_iter().map(|(r#type, name, help, unit)| MetricMetadata {
                r#type,
                metric_family_name: name.into_bytes(),
                help: help.into_bytes(),
                unit: unit.into_bytes(),
            }).collect(),
        }
    }
}

fn has_unread_parts(said: &Said) -> bool {
    matches!(said, Said::Series { exemplars, histograms, .. } if *histograms > 0 || !exemplars.is_empty())
}

proptest! {
    #[test]
    fn the_walker_finds_what_prost_wrote(request in request()) {
        let body = request.encode_to_vec();
        prop_assert_eq!(walk(&body).unwrap(), expected(&WriteRequest::decode(&body[..]).unwrap()));
    }

    #[test]
    fn what_the_walker_takes_prost_takes_alike(
        request in request(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = request.encode_to_vec();
        body.truncate(cut.index(body.len() + 1).max(body.len() / 2));
        for (at, byte) in edits {
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] = byte;
            }
        }
        if let Ok(said) = walk(&body) {
            match WriteRequest::decode(&body[..]) {
                Ok(request) => prop_assert_eq!(said, expected(&request)),
                // What stands inside histograms and exemplar labels is not read here.
                Err(_) => prop_assert!(said.iter().any(has_unread_parts)),
            }
        }
    }
}

#[test]
fn a_cut_request_is_refused_or_shorter_at_every_byte() {
    let request = WriteRequest {
        timeseries: vec![super::series(&[("__name__", "a"), ("b", "c")], &[(1, 1.0)]); 2],
        ..WriteRequest::default()
    };
    let whole = request.encode_to_vec();
    for end in 0..whole.len() {
        match walk(&whole[..end]) {
            Ok(said) => assert!(end == 0 || end == whole.len() / 2, "{end}: {said:?}"),
            Err(error) => assert!(error.to_string().starts_with("protobuf: ")),
        }
    }
}

#[test]
fn damage_behind_a_label_that_is_refused_is_damage() {
    let label = |bytes: &[u8]| [&[0x0a, bytes.len() as u8], bytes].concat();
    let (refused, damaged) = (label(&[0x0a, 1, b'a', 0x12, 1, 0xff]), label(&[0x0a, 1, b'b', 0x12, 9, b'c']));
    let request = |labels: &[u8]| [&[0x0a, labels.len() as u8], labels].concat();
    let said = walk(&request(&refused)).unwrap();
    assert!(matches!(said[..], [Said::Series { labels: None, .. }]), "{said:?}");
    assert!(walk(&request(&[refused, damaged].concat())).is_err());
}

#[test]
fn labels_that_do_not_stand_together_are_joined() {
    let part = |series: TimeSeries| series.encode_to_vec();
    let pieces = [
        part(super::series(&[("__name__", "a")], &[(5, 5.0)])),
        part(super::series(&[("c", "1"), ("d", "2")], &[(4, 4.0)])),
        part(super::series(&[("b", "3")], &[])),
    ]
    .concat();
    let mut body = vec![0x0a, pieces.len() as u8];
    body.extend_from_slice(&pieces);
    assert_eq!(walk(&body).unwrap(), expected(&WriteRequest::decode(&body[..]).unwrap()));
}
