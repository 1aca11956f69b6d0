use std::sync::Arc;

use super::*;
use crate::functions::RowOut;
use crate::value::Point;
use pharos_model::{FloatHistogram, LabelSet};

fn fill(steps: usize, set: &[(usize, f64)]) -> RowBatch {
    let mut builder = BatchBuilder::new(steps);
    let labels = LabelSet::from_pairs([("a", "b")]);
    builder
        .push_with(labels.as_bytes(), true, |mut row: RowOut<'_>| {
            set.iter().for_each(|(step, value)| row.set(*step, *value));
            Ok::<_, std::convert::Infallible>(())
        })
        .unwrap();
    builder.finish().unwrap()
}

#[test]
fn a_row_comes_back_as_it_was_written() {
    let batch = fill(130, &[(0, 1.0), (64, f64::NAN), (129, -3.0)]);
    let batch = RowBatch::new(batch.into_record()).unwrap();
    let row = batch.row(0);
    assert_eq!(row.present, [1, 1, 2]);
    assert_eq!((row.values[0], row.values[129], row.values[64].is_nan()), (1.0, -3.0, true));
    assert!(row.drop_name);
    assert_eq!(row.labels, LabelSet::from_pairs([("a", "b")]).as_bytes());
    assert_eq!(batch.points(), 3);
}

#[test]
fn a_row_without_a_value_is_not_sent() {
    assert!(fill(5, &[]).is_empty());
}

#[test]
fn a_slice_of_a_batch_shows_its_own_rows() {
    let mut builder = BatchBuilder::new(3);
    for i in 0..4u8 {
        builder.push(Row {
            labels: &[],
            drop_name: i == 2,
            present: &[1 << (i % 3)],
            values: &[f64::from(i); 3],
            histograms: None,
        });
    }
    let sliced = builder.finish().unwrap().into_record().slice(1, 2);
    let batch = RowBatch::new(sliced).unwrap();
    assert_eq!(batch.rows().map(|row| row.values[0]).collect::<Vec<_>>(), [1.0, 2.0]);
    assert_eq!(batch.rows().map(|row| row.present[0]).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(batch.rows().map(|row| row.drop_name).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn histograms_travel_with_their_rows_and_weigh_by_their_size() {
    let histogram = Arc::new(FloatHistogram { count: 4.0, ..FloatHistogram::default() });
    let mut builder = BatchBuilder::new(70);
    let mut push = |at: &[usize]| {
        let pushed = builder.push_points(b"", false, |mut out| {
            out.set(3, 1.5);
            at.iter().for_each(|step| out.set(*step, Arc::clone(&histogram)));
            Ok::<_, std::convert::Infallible>(())
        });
        pushed.unwrap();
    };
    push(&[]);
    push(&[5, 69]);
    push(&[]);
    let first = builder.finish().unwrap();
    builder.push(Row { present: &[1 << 5, 0], ..first.row(1) });
    let filtered = builder.finish().unwrap();
    let batch = RowBatch::new(first.into_record().slice(1, 2)).unwrap();
    let (mixed, floats) = (batch.row(0), batch.row(1));
    assert_eq!(mixed.float_steps().collect::<Vec<_>>(), [3]);
    assert_eq!(mixed.histogram_steps().map(|(step, _)| step).collect::<Vec<_>>(), [5, 69]);
    assert_eq!((mixed.point(3), mixed.point(5)), (Point::Float(1.5), Point::Histogram(Arc::clone(&histogram))));
    assert!(!floats.has_histograms());
    assert_eq!(batch.points(), 2 + 2 * histogram.size_in_samples() as u64);
    assert_eq!(filtered.row(0).histogram_steps().map(|(step, _)| step).collect::<Vec<_>>(), [5]);
}

#[test]
fn a_batch_is_full_at_its_size_in_bytes() {
    let mut builder = BatchBuilder::new(1000);
    let mut rows = 0;
    while !builder.is_full() {
        builder.push(Row { labels: b"", drop_name: false, present: &[1; 16], values: &[0.0; 1000], histograms: None });
        rows += 1;
    }
    assert_eq!(rows, BATCH_BYTES.div_ceil(1016 * 8));
}
