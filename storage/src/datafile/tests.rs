mod duckdb;
mod size;

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::memory::InMemory;
use pharos_model::histogram::packed::PackedHistogram;
use pharos_model::sample::{NORMAL_NAN_BITS, STALE_NAN_BITS};
use pharos_model::{CounterResetHint, FloatHistogram, LabelSet, TimeRange};
use proptest::prelude::*;

use super::reader::IndexOrigin;
use super::{DataFile, FileColumns, FileIdentity, FileSummary, Index, LabelCensus, RowReader, WriteError, Writer};
use crate::manifest::index_key;
use crate::object::Bucket;
use crate::select::histograms::{Form, Wanted};
use crate::select::{ReadError, SampleColumns};
use crate::test_histograms::{counter, packed, series};
use crate::test_node::{labels, memory_bucket};

type Rows = BTreeMap<LabelSet, SampleColumns>;

const KEY: &str = "t/x.parquet";

fn write(rows: &Rows) -> (FileSummary, Vec<u8>) {
    let mut census = LabelCensus::default();
    rows.keys().for_each(|labels| census.count(labels));
    let starts = rows.values().any(|samples| !(samples.start_ts.is_empty() && samples.histogram_start_ts.is_empty()));
    let mut writer = Writer::new(Vec::new(), FileColumns { promoted: census.promoted(), starts }).unwrap();
    rows.iter().for_each(|(labels, samples)| writer.append(labels, samples).unwrap());
    writer.finish().unwrap()
}

fn identity(summary: &FileSummary) -> FileIdentity {
    let FileSummary { bytes, crc, rows, .. } = *summary;
    FileIdentity { key: KEY.to_owned(), index_key: index_key(KEY), bytes, crc, rows }
}

/// A bucket with a file, and its index if there is one.
async fn bucket_with(file: Vec<u8>, index: Option<Vec<u8>>) -> Bucket {
    let bucket = memory_bucket(Arc::new(InMemory::new()));
    bucket.put(KEY, file.into()).await.unwrap();
    if let Some(index) = index {
        bucket.put(&index_key(KEY), index.into()).await.unwrap();
    }
    bucket
}

/// Reads the given rows as a query does, `at_once` at a time.
async fn read_rows(
    bucket: &Bucket,
    file: DataFile,
    rows: &[u32],
    range: TimeRange,
    at_once: usize,
) -> Result<Vec<SampleColumns>, ReadError> {
    let file = Arc::new(file);
    let mut reader = RowReader::new(Arc::clone(&file), true);
    let mut out = Vec::new();
    let mut rest = rows;
    while !rest.is_empty() {
        let needed = at_once.min(rest.len());
        let wanted = reader.missing(rest, needed, 10_000);
        reader.supply(file.fetch(bucket, wanted).await?);
        for &row in &rest[..needed] {
            let mut samples = SampleColumns::default();
            reader.read(row, Wanted { range, form: Form::Whole }, &mut samples)?;
            samples.complete_starts();
            out.push(samples);
        }
        rest = &rest[needed..];
    }
    Ok(out)
}

/// Opens and reads everything.
async fn read_all(bucket: &Bucket, identity: &FileIdentity) -> Result<(Rows, IndexOrigin), ReadError> {
    let (file, origin) = DataFile::open(bucket, identity).await?;
    let mut sets = Vec::new();
    let mut bytes = Vec::new();
    for row in 0..file.index().len() as u32 {
        file.index().label_bytes(row, &mut bytes);
        sets.push(LabelSet::from_canonical(&bytes).unwrap());
    }
    let rows: Vec<u32> = (0..sets.len() as u32).collect();
    let samples = read_rows(bucket, file, &rows, TimeRange::ALL, 7).await?;
    Ok((sets.into_iter().zip(samples).collect(), origin))
}

/// A row's labels, times and bits of floats, times of histograms and histograms, start timestamps of both.
type RowBits<'a> = (&'a LabelSet, &'a [i64], Vec<u64>, &'a [i64], Vec<PackedHistogram>, [&'a [i64]; 2]);

fn bits(rows: &Rows) -> Vec<RowBits<'_>> {
    rows.iter().map(row_bits).collect()
}

fn row_bits<'a>((labels, samples): (&'a LabelSet, &'a SampleColumns)) -> RowBits<'a> {
    let values = samples.values.iter().map(|value| value.to_bits()).collect();
    let histograms = samples.histograms.iter().map(|histogram| packed(histogram)).collect();
    let starts = [&samples.start_ts[..], &samples.histogram_start_ts];
    (labels, &samples.ts, values, &samples.histogram_ts, histograms, starts)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Decimals mostly; and everything that is none.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-1_000_000_i64..1_000_000, 0..7).prop_map(|(m, scale)| format!("{m}e-{scale}").parse().unwrap()),
        2 => any::<i64>().prop_map(|m| m as f64),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => prop::sample::select(vec![
            f64::from_bits(STALE_NAN_BITS), f64::from_bits(NORMAL_NAN_BITS), f64::NAN, f64::INFINITY,
            f64::NEG_INFINITY, -0.0, 0.0, f64::MAX, f64::MIN_POSITIVE, 0.1 + 0.2, 1.0 / 3.0,
        ]),
    ]
}

fn samples() -> impl Strategy<Value = SampleColumns> {
    let sparse = prop::collection::vec((1_i64..100_000, value()), 1..40);
    let constant = (value(), 1_usize..300).prop_map(|(value, n)| vec![(15_000, value); n]);
    let floats = prop_oneof![2 => sparse, 2 => constant, 1 => Just(Vec::new())];
    let histograms = prop_oneof![3 => Just(Vec::new()), 1 => series(1..60)];
    let start = prop_oneof![1 => Just(0), 4 => Just(-6_000_000), 1 => any::<i64>()];
    let starts = prop_oneof![1 => Just(Vec::new()), 1 => prop::collection::vec(start, 1..9)];
    (floats, histograms, starts)
        .prop_map(|(steps, histograms, starts)| {
            let mut columns = SampleColumns::default();
            let mut ts = -5_000_000;
            for (step, value) in steps {
                ts += step;
                columns.ts.push(ts);
                columns.values.push(value);
            }
            push_histograms(&mut columns, histograms);
            columns.start_ts = starts_of(&starts, columns.ts.len());
            columns.histogram_start_ts = starts_of(&starts, columns.histogram_ts.len());
            columns
        })
        .prop_filter("a row has samples", |columns| !columns.is_empty())
}

/// Adds histograms where there is no float, some of which know that nothing was reset.
fn push_histograms(columns: &mut SampleColumns, histograms: Vec<(i64, FloatHistogram)>) {
    for (ts, mut histogram) in histograms {
        let ts = ts - 5_000_000;
        if columns.ts.binary_search(&ts).is_ok() {
            continue;
        }
        if !columns.histograms.is_empty() && histogram.counter_reset_hint == CounterResetHint::Unknown && ts % 2 == 0 {
            histogram.counter_reset_hint = CounterResetHint::NotCounterReset;
        }
        columns.histogram_ts.push(ts);
        columns.histograms.push(Arc::new(histogram));
    }
}

/// The starts by turns; none at all if none of those that come is known.
fn starts_of(starts: &[i64], samples: usize) -> Vec<i64> {
    let all: Vec<_> = starts.iter().copied().cycle().take(samples).collect();
    if all.iter().all(|start| *start == 0) { Vec::new() } else { all }
}

fn rows() -> impl Strategy<Value = Rows> {
    let name = prop::sample::select(vec!["__name__", "job", "Job", "a.b", "rare", "zone"]);
    let set = prop::collection::vec((name, "[a-zü\\\\\"]{0,3}"), 0..5).prop_map(LabelSet::from_pairs);
    prop::collection::btree_map(set, samples(), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_bit_comes_back(rows in rows()) {
        let (summary, file) = write(&rows);
        prop_assert_eq!(summary.bytes, file.len() as u64);
        prop_assert_eq!(summary.crc, crc32fast::hash(&file));
        let (with_index, without) = block_on(async {
            let bucket = bucket_with(file.clone(), Some(summary.index.clone())).await;
            let with_index = read_all(&bucket, &identity(&summary)).await.unwrap();
            let bucket = bucket_with(file.clone(), None).await;
            (with_index, read_all(&bucket, &identity(&summary)).await.unwrap())
        });
        prop_assert_eq!(with_index.1, IndexOrigin::Object);
        prop_assert_eq!(without.1, IndexOrigin::Rebuilt);
        prop_assert_eq!(bits(&with_index.0), bits(&rows));
        prop_assert_eq!(bits(&without.0), bits(&rows));
    }

    #[test]
    fn a_range_cuts_rows_at_both_ends(rows in rows(), start in -5_000_000_i64..-3_000_000, len in 0_i64..1_000_000) {
        let (summary, file) = write(&rows);
        let range = TimeRange::new(start, start + len);
        let read = block_on(async {
            let bucket = bucket_with(file, Some(summary.index.clone())).await;
            let (opened, _) = DataFile::open(&bucket, &identity(&summary)).await.unwrap();
            let all: Vec<u32> = (0..rows.len() as u32).collect();
            read_rows(&bucket, opened, &all, range, 3).await.unwrap()
        });
        for (samples, read) in rows.values().zip(read) {
            let within = |ts: &[i64]| ts.iter().copied().filter(|ts| range.contains(*ts)).collect::<Vec<_>>();
            prop_assert_eq!(&read.ts, &within(&samples.ts));
            prop_assert_eq!(&read.histogram_ts, &within(&samples.histogram_ts));
            let of = |ts: &[i64], starts: &[i64]| {
                let known = ts.iter().zip(starts).filter(|(ts, start)| range.contains(**ts) && **start != 0);
                known.map(|(ts, start)| (*ts, *start)).collect::<Vec<_>>()
            };
            prop_assert_eq!(of(&read.ts, &read.start_ts), of(&samples.ts, &samples.start_ts));
            let (read, samples) = ((read.histogram_ts, read.histogram_start_ts), (&samples.histogram_ts, &samples.histogram_start_ts));
            prop_assert_eq!(of(&read.0, &read.1), of(samples.0, samples.1));
        }
    }
}

/// Enough rows and samples for many pages, of uneven length.
fn many_pages() -> Rows {
    let mut rows = Rows::new();
    for i in 0..3_000_usize {
        let set = labels(&[("__name__", &format!("m{}", i % 10)), ("i", &i.to_string())]);
        let n = if i.is_multiple_of(50) { 700 } else { 20 + i % 40 };
        let ts = (0..n as i64).map(|k| k * 15_000 + (i % 3) as i64).collect();
        let value =
            |k: usize| if (i + k).is_multiple_of(97) { f64::from_bits(STALE_NAN_BITS) } else { (i * k) as f64 / 100.0 };
        let values = if i % 11 == 3 {
            (0..n).map(|k| (k as f64 + 0.5).sqrt() / 3.0).collect()
        } else {
            (0..n).map(value).collect()
        };
        rows.insert(set, SampleColumns { ts, values, ..Default::default() });
    }
    rows
}

#[tokio::test]
async fn rows_scattered_over_many_pages_are_found() {
    let rows = many_pages();
    let (summary, file) = write(&rows);
    let bucket = bucket_with(file, Some(summary.index.clone())).await;
    let all: Vec<&SampleColumns> = rows.values().collect();
    for step in [1, 2, 7, 400, 2_999] {
        for at_once in [1, 5, 1_000] {
            let (opened, _) = DataFile::open(&bucket, &identity(&summary)).await.unwrap();
            assert!(opened.index().pages(super::schema::SampleColumn::Mantissas).len() > 1);
            let wanted: Vec<u32> = (0..rows.len() as u32).step_by(step).collect();
            let read = read_rows(&bucket, opened, &wanted, TimeRange::ALL, at_once).await.unwrap();
            for (row, read) in wanted.iter().zip(&read) {
                let expected = all[*row as usize];
                assert_eq!(read.ts, expected.ts);
                assert!(read.values.iter().zip(&expected.values).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
        }
    }
}

#[tokio::test]
async fn rows_beyond_the_first_row_group_are_found() {
    let row = |i: u32| {
        (
            labels(&[("i", &format!("{i:05}"))]),
            SampleColumns { ts: vec![i64::from(i)], values: vec![f64::from(i) / 4.0], ..Default::default() },
        )
    };
    let rows: Rows = (0..66_000).map(row).collect();
    let (summary, file) = write(&rows);
    let bucket = bucket_with(file, Some(summary.index.clone())).await;
    let (opened, _) = DataFile::open(&bucket, &identity(&summary)).await.unwrap();
    let wanted = [0, 65_535, 65_536, 65_999];
    let read = read_rows(&bucket, opened, &wanted, TimeRange::ALL, 2).await.unwrap();
    assert_eq!(read.iter().map(|samples| samples.values[0] * 4.0).collect::<Vec<_>>(), wanted.map(f64::from));
    bucket.delete(&index_key(KEY)).await.unwrap();
    let (rebuilt, _) = DataFile::open(&bucket, &identity(&summary)).await.unwrap();
    assert!(rebuilt.index().encode() == summary.index, "the rebuilt index is another");
}

/// A flipped bit anywhere in the file either changes nothing that is read or is an error. Never another value.
#[tokio::test]
async fn a_flipped_bit_never_gives_another_value() {
    let rows: Rows = many_pages().into_iter().step_by(60).collect();
    let (summary, file) = write(&rows);
    let mut noticed = 0;
    for at in (0..file.len()).step_by(37) {
        for with_index in [true, false] {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << (at % 8);
            let bucket = bucket_with(damaged, with_index.then(|| summary.index.clone())).await;
            match read_all(&bucket, &identity(&summary)).await {
                Ok((read, _)) => assert_eq!(bits(&read), bits(&rows), "byte {at}"),
                Err(error) => {
                    assert!(error.to_string().contains(KEY), "{error}");
                    noticed += 1;
                }
            }
            assert!(with_index || noticed > 0, "without an index the whole file is checked");
        }
    }
    assert!(noticed > file.len() / 37);
}

#[tokio::test]
async fn an_index_that_is_damaged_or_of_another_file_is_made_anew() {
    let rows: Rows = many_pages().into_iter().step_by(10).collect();
    let (summary, file) = write(&rows);
    let (other, _) = write(&many_pages().into_iter().step_by(11).collect());
    let mut damaged = summary.index.clone();
    damaged[20] ^= 1;
    for index in [damaged, other.index, Vec::new()] {
        let bucket = bucket_with(file.clone(), Some(index)).await;
        let (read, origin) = read_all(&bucket, &identity(&summary)).await.unwrap();
        assert_eq!(origin, IndexOrigin::Rebuilt);
        assert_eq!(bits(&read), bits(&rows));
    }
    let bucket = bucket_with(file, None).await;
    let (rebuilt, _) = DataFile::open(&bucket, &identity(&summary)).await.unwrap();
    assert_eq!(rebuilt.index().encode(), Index::open(&summary.index).unwrap().encode());
}

#[test]
fn rows_that_break_the_rules_are_refused() {
    let samples = |ts: &[i64]| SampleColumns { ts: ts.to_vec(), values: vec![0.0; ts.len()], ..Default::default() };
    let (a, b) = (labels(&[("x", "a")]), labels(&[("x", "b")]));
    let mut writer = Writer::new(Vec::new(), Default::default()).unwrap();
    writer.append(&b, &samples(&[1, 2])).unwrap();
    assert!(matches!(writer.append(&a, &samples(&[1])), Err(WriteError::Unsorted { .. })));
    assert!(matches!(writer.append(&b, &samples(&[1])), Err(WriteError::Unsorted { .. })));
    let c = labels(&[("x", "c")]);
    let with_histogram =
        |at: i64| SampleColumns { histogram_ts: vec![at], histograms: vec![Arc::new(counter(1))], ..samples(&[1, 2]) };
    let no_histogram = SampleColumns { histograms: Vec::new(), ..with_histogram(3) };
    let lonely = SampleColumns { ts: vec![1], ..Default::default() };
    let few_starts = SampleColumns { start_ts: vec![1], ..samples(&[1, 2]) };
    for bad in [samples(&[]), samples(&[2, 1]), samples(&[1, 1]), lonely, with_histogram(2), no_histogram, few_starts] {
        assert!(matches!(writer.append(&c, &bad), Err(WriteError::Samples { .. })));
    }
    let started = SampleColumns { start_ts: vec![0, 1], ..samples(&[1, 2]) };
    assert!(matches!(writer.append(&c, &started), Err(WriteError::Starts { .. })));
    let far = samples(&[1 + super::FILE_SPAN_MS_MAX + 1]);
    assert!(matches!(writer.append(&c, &far), Err(WriteError::Span { .. })));
}

#[test]
fn a_file_without_rows_is_valid() {
    let (summary, file) = write(&Rows::new());
    assert_eq!((summary.rows, summary.times), (0, None));
    let read = block_on(async {
        let bucket = bucket_with(file, Some(summary.index.clone())).await;
        read_all(&bucket, &identity(&summary)).await.unwrap()
    });
    assert!(read.0.is_empty());
}

#[test]
fn frequent_labels_get_columns_and_rare_or_odd_ones_do_not() {
    let mut census = LabelCensus::default();
    for i in 0..100 {
        let rare = if i == 0 { "x" } else { "" };
        let upper = if i < 50 { "x" } else { "" };
        census.count(&labels(&[("__name__", "m"), ("job", "a"), ("rare", rare), ("a.b", "odd"), ("JOB", upper)]));
    }
    assert_eq!(Vec::from_iter(census.promoted()), ["job"]);
}

/// What was written once is read for ever: before there were histograms.
#[tokio::test]
async fn the_kept_file_of_version_one_is_read() {
    let file = include_bytes!("../../testdata/v1.parquet");
    check_kept(file, Some(include_bytes!("../../testdata/v1.idx")), &kept_rows()).await;
    check_kept(file, None, &kept_rows()).await;
}

/// Before there were start timestamps; and still what is written where there are none.
#[tokio::test]
async fn the_kept_file_of_version_two_is_read() {
    let file = include_bytes!("../../testdata/v2.parquet");
    check_kept(file, Some(include_bytes!("../../testdata/v2.idx")), &kept_rows_with_histograms()).await;
    check_kept(file, None, &kept_rows_with_histograms()).await;
}

/// The kept file of this version of the format.
#[tokio::test]
async fn the_kept_file_of_version_three_is_read() {
    let file = include_bytes!("../../testdata/v3.parquet");
    check_kept(file, Some(include_bytes!("../../testdata/v3.idx")), &kept_rows_with_starts()).await;
    check_kept(file, None, &kept_rows_with_starts()).await;
}

async fn check_kept(file: &[u8], index: Option<&[u8]>, expected: &Rows) {
    let identity = FileIdentity {
        key: KEY.to_owned(),
        index_key: index_key(KEY),
        bytes: file.len() as u64,
        crc: crc32fast::hash(file),
        rows: expected.len() as u64,
    };
    let bucket = bucket_with(file.to_vec(), index.map(<[u8]>::to_vec)).await;
    let (rows, origin) = read_all(&bucket, &identity).await.unwrap();
    assert_eq!(origin, if index.is_some() { IndexOrigin::Object } else { IndexOrigin::Rebuilt });
    assert_eq!(bits(&rows), bits(expected));
}

/// The rows of the first kept file.
fn kept_rows() -> Rows {
    let ts = || (0..5).map(|i| 1_700_000_000_000 + i * 15_000).collect();
    let row = |pairs: &[(&str, &str)], values: Vec<f64>| {
        (labels(pairs), SampleColumns { ts: ts(), values, ..Default::default() })
    };
    Rows::from([
        row(&[("__name__", "decimal"), ("job", "a"), ("instance", "h:1")], vec![0.25, 1.0, 1.5, 100.75, -3.5]),
        row(&[("__name__", "double"), ("job", "a")], vec![1.0 / 3.0, 2.0 / 7.0, 1e300, f64::MIN_POSITIVE, -0.0]),
        row(&[("__name__", "mixed"), ("job", "b")], vec![1.0, 2.0, f64::INFINITY, 3.0, f64::from_bits(STALE_NAN_BITS)]),
    ])
}

/// The rows of the second kept file.
fn kept_rows_with_histograms() -> Rows {
    let mut rows = kept_rows();
    let (start, mut mixed) = (1_700_000_000_000, rows.values().next().unwrap().clone());
    let gauge = FloatHistogram { counter_reset_hint: CounterResetHint::Gauge, sum: f64::NAN, ..counter(2) };
    let fraction = FloatHistogram { zero_threshold: 0.001, zero_count: 0.5, count: 0.5, ..Default::default() };
    let known = FloatHistogram { counter_reset_hint: CounterResetHint::NotCounterReset, ..counter(3) };
    mixed.histogram_ts = vec![start - 1, start + 1, start + 2, start + 99_000];
    mixed.histograms = [counter(1), known, gauge, fraction].map(Arc::new).to_vec();
    let native = SampleColumns { ts: Vec::new(), values: Vec::new(), ..mixed.clone() };
    rows.insert(labels(&[("__name__", "mixed_with_native"), ("job", "c")]), mixed);
    rows.insert(labels(&[("__name__", "native"), ("job", "c")]), native);
    rows
}

/// The rows of the kept file of this version. To make one for a new version: write these, and keep the old file and its
/// test.
fn kept_rows_with_starts() -> Rows {
    let mut rows = kept_rows_with_histograms();
    for (i, samples) in rows.values_mut().enumerate().skip(1) {
        samples.start_ts = starts_of(&[1_600_000_000_000, 0, i as i64], samples.ts.len());
        samples.histogram_start_ts = starts_of(&[0, 1_600_000_000_000 + i as i64], samples.histogram_ts.len());
    }
    rows
}
