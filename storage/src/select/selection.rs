//! The series that match in head and data files, each once, and their samples batch by batch.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use hashbrown::HashTable;
use parking_lot::Mutex;
use pharos_model::matcher::all_match;
use pharos_model::{LabelSet, Matcher, TimeRange, TimestampMs};

use super::batch::{DecodedSeries, HeadSeries};
use super::histograms::{Form, Wanted};
use super::off_thread::{Caller, off_thread};
use super::pieces::{FilePart, Piece, merge_visible};
use super::{Estimate, ReadError, SampleColumns, SelectRequest, SeriesBatch};
use crate::datafile::{DataFile, RowReader};
use crate::head::HeadSelection;
use crate::object::Bucket;

/// Samples of one batch, reckoned before reading: 1 MiB decoded.
pub const BATCH_SAMPLES_MAX: usize = 65_536;
/// Series of one batch.
pub const BATCH_SERIES_MAX: usize = 4_096;
/// What a series of the head is reckoned to have at most, and how far apart its samples are.
const HEAD_SAMPLES_MAX: usize = 480;
const HEAD_INTERVAL_MS: i64 = 15_000;
/// Files that are fetched from at one time; their pages are the memory that a batch needs.
const FILES_AT_ONCE: usize = 16;
/// Files of a selection whose last pages stay open from batch to batch, some 0.6 MB each. More files than this in one
/// selection cost the opening of a page of each for each batch.
const OPEN_FILES_MAX: usize = 32;
/// Compressed bytes that a batch may need beyond one page of each file: scattered series make smaller batches.
const BATCH_FETCH_BYTES_MAX: u64 = 16 << 20;
/// Compressed bytes fetched ahead for the batches to come, over all files.
const AHEAD_BYTES_MAX: u64 = 8 << 20;
/// How many series ahead are looked at for that.
const AHEAD_SERIES_MAX: usize = 2_048;
/// Rows of an index that are gone through before it is asked whether anybody still waits: a few milliseconds.
pub(super) const ROWS_PER_CHECK: usize = 4_096;
/// The source number of the head.
const HEAD: u32 = u32::MAX;

/// One file that takes part, and what has been deleted from it.
#[derive(Debug)]
pub(super) struct SelectedFile {
    pub file: Arc<DataFile>,
    pub hidden: Vec<(Vec<Matcher>, TimeRange)>,
}

impl SelectedFile {
    /// Ranges of a series that are deleted.
    pub(super) fn hidden_ranges(&self, labels: &LabelSet) -> Vec<TimeRange> {
        self.hidden.iter().filter(|(matchers, _)| all_match(matchers, labels)).map(|(_, range)| *range).collect()
    }

    /// Leaves out the rows of which a deletion hides all that lies within `asked`.
    pub(super) fn drop_deleted(&self, rows: &mut Vec<u32>, asked: TimeRange) {
        if self.hidden.is_empty() {
            return;
        }
        let index = self.file.index();
        let mut bytes = Vec::new();
        rows.retain(|row| {
            index.label_bytes(*row, &mut bytes);
            let hidden = self.hidden_ranges(&LabelSet::from_canonical_trusted(&bytes));
            let TimeRange { start_ms, end_ms } = index.row_range(*row);
            let (first, last) = (start_ms.max(asked.start_ms), end_ms.min(asked.end_ms));
            !hidden.iter().any(|range| range.start_ms <= first && last <= range.end_ms)
        });
    }
}

/// A selection at one moment. It reads what it was made of, whatever becomes of head and manifest; files that were retired
/// meanwhile stay for the manifest's grace.
#[derive(Debug)]
pub struct Selection {
    bucket: Bucket,
    range: TimeRange,
    /// Whether buckets of histograms may be left out.
    totals_only: bool,
    head: Option<Arc<HeadSelection>>,
    files: Arc<Vec<SelectedFile>>,
    /// One for each file. The lock is taken by one blocking task at a time.
    readers: Arc<Mutex<Vec<RowReader>>>,
    /// Where each series is; `None` when all are in the head, and only there.
    places: Option<Places>,
    next_series: usize,
}

/// Sources grouped by series.
#[derive(Debug)]
struct Places {
    sources: Vec<Source>,
    /// Where each group ends.
    ends: Vec<u32>,
}

impl Places {
    fn of(&self, series: usize) -> &[Source] {
        let start = if series == 0 { 0 } else { self.ends[series - 1] };
        &self.sources[start as usize..self.ends[series] as usize]
    }
}

/// A series in one file (by its place in the list) or in the head.
#[derive(Clone, Copy, Debug)]
struct Source {
    origin: u32,
    row: u32,
}

impl Selection {
    /// Finds the matching series. CPU work in proportion to the series of the files, not their samples.
    pub(super) fn new(
        bucket: Bucket,
        head: Option<HeadSelection>,
        files: Vec<SelectedFile>,
        request: &SelectRequest,
        caller: &Caller,
    ) -> Result<Self, ReadError> {
        let mut grouping = Grouping { head: head.as_ref(), files: &files, ..Grouping::default() };
        for (origin, selected) in files.iter().enumerate() {
            let rows = selected.file.index().select(&request.matchers, request.range);
            grouping.add_all(origin as u32, rows.into_iter(), caller)?;
        }
        // A head has each series once, so without rows of files there is nothing to bring together.
        let places = if head.is_none() || !grouping.is_empty() {
            grouping.add_all(HEAD, 0..head.as_ref().map_or(0, HeadSelection::len) as u32, caller)?;
            Some(grouping.finish())
        } else {
            None
        };
        // Its first sample is compared with the last of a file.
        let head = head.map(|head| if places.is_some() { head.with_buckets() } else { head });
        let readers = files.iter().map(|selected| RowReader::new(Arc::clone(&selected.file), request.starts)).collect();
        Ok(Self {
            bucket,
            range: request.range,
            totals_only: request.totals_only,
            head: head.map(Arc::new),
            files: Arc::new(files),
            readers: Arc::new(Mutex::new(readers)),
            places,
            next_series: 0,
        })
    }

    /// Series that match and may have samples in the range. One whose samples in the range are all deleted, or that has
    /// a hole there, is counted but does not come in a batch.
    pub fn series_count(&self) -> usize {
        match (&self.places, &self.head) {
            (Some(places), _) => places.ends.len(),
            (None, head) => head.as_ref().map_or(0, |head| head.len()),
        }
    }

    /// What reading it is reckoned to take: of files by their indexes, of the head by some of its series.
    pub fn estimate(&self) -> Estimate {
        let of_head = self.head.as_ref().map_or_else(Estimate::default, |head| head.estimate());
        let sources = self.places.iter().flat_map(|places| &places.sources);
        let of_files = sources.filter_map(|source| {
            let index = self.files.get(source.origin as usize)?.file.index();
            Some(index.estimate(source.row, self.range))
        });
        let (samples, bytes) =
            of_files.fold((of_head.samples, of_head.bytes), |sum, (samples, bytes)| (sum.0 + samples, sum.1 + bytes));
        Estimate { series: self.series_count() as u64, samples, bytes }
    }

    /// Bytes held in memory now, batches that were handed out left out.
    pub fn memory_bytes(&self) -> usize {
        let of_places = |places: &Places| places.sources.len() * size_of::<Source>() + places.ends.len() * 4;
        let indexes = self.files.iter().map(|selected| selected.file.memory_bytes());
        let pages = self.readers.lock().iter().map(RowReader::memory_bytes).sum::<usize>();
        let of_head = self.head.as_ref().map_or(0, |head| head.memory_bytes());
        of_head + self.places.as_ref().map_or(0, of_places) + indexes.sum::<usize>() + pages
    }

    /// The next series with their samples; `None` after the last. Each series comes once, in no particular order.
    /// Dropping the future loses nothing: the next call reads the same series.
    pub async fn next_batch(&mut self) -> Result<Option<SeriesBatch>, ReadError> {
        let Some(places) = &self.places else { return Ok(self.next_of_head()) };
        while self.next_series < self.series_count() {
            let end = self.batch_end(places);
            let batch = self.read_batch(places, self.next_series..end).await?;
            self.next_series = end;
            if !batch.is_empty() {
                return Ok(Some(SeriesBatch::Decoded(batch)));
            }
        }
        Ok(None)
    }

    /// Series that are in the head alone. Nothing is fetched for them, and nothing decoded yet.
    fn next_of_head(&mut self) -> Option<SeriesBatch> {
        let head = Arc::clone(self.head.as_ref()?);
        let rows = self.next_series..head.len().min(self.next_series + BATCH_SERIES_MAX);
        self.next_series = rows.end;
        (!rows.is_empty()).then_some(SeriesBatch::Head(HeadSeries { head, rows, range: self.range }))
    }

    /// Where a batch that begins at the next series ends.
    fn batch_end(&self, places: &Places) -> usize {
        let in_head = head_samples(self.range);
        let mut samples = 0;
        let mut fetch_bytes = 0;
        let mut pages = vec![None; self.files.len()];
        let last = self.series_count().min(self.next_series + BATCH_SERIES_MAX);
        for series in self.next_series..last {
            for source in places.of(series) {
                let Some(selected) = self.files.get(source.origin as usize) else {
                    samples += in_head;
                    continue;
                };
                samples += selected.file.index().row_samples(source.row) as usize;
                let (page, bytes) = selected.file.main_page(source.row);
                let before = pages[source.origin as usize].replace(page);
                fetch_bytes += if before.is_some_and(|before| before != page) { bytes } else { 0 };
            }
            if samples >= BATCH_SAMPLES_MAX || fetch_bytes >= BATCH_FETCH_BYTES_MAX {
                return series + 1;
            }
        }
        last
    }

    async fn read_batch(&self, places: &Places, series: std::ops::Range<usize>) -> Result<DecodedSeries, ReadError> {
        let mut parts = Vec::new();
        let mut plans = self.plan(places, series.clone()).into_iter().peekable();
        while plans.peek().is_some() {
            let group: Vec<_> = plans.by_ref().take(FILES_AT_ONCE).collect();
            parts.extend(self.read_files(group).await?);
        }
        let head = self.head.clone();
        let files = Arc::clone(&self.files);
        let sources: Vec<Vec<Source>> = series.map(|series| places.of(series).to_vec()).collect();
        let range = self.range;
        off_thread(move || assemble(head.as_deref(), &files, parts, &sources, range)).await
    }

    /// Which rows of which file the batch needs, and which further ones the next batches will.
    fn plan(&self, places: &Places, series: std::ops::Range<usize>) -> Vec<FilePlan> {
        let ahead = series.end..self.series_count().min(series.end + AHEAD_SERIES_MAX);
        let mut plans: Vec<Option<FilePlan>> = self.files.iter().map(|_| None).collect();
        for (member, series) in series.enumerate() {
            let form = self.form(places.of(series));
            for source in places.of(series).iter().filter(|source| source.origin != HEAD) {
                let file = source.origin as usize;
                let plan = plans[file].get_or_insert_with(|| FilePlan { file, rows: Vec::new(), ahead: Vec::new() });
                plan.rows.push(WantedRow { row: source.row, member, form });
            }
        }
        for series in ahead {
            for source in places.of(series) {
                if let Some(Some(plan)) = plans.get_mut(source.origin as usize) {
                    plan.ahead.push(source.row);
                }
            }
        }
        let mut plans: Vec<_> = plans.into_iter().flatten().collect();
        plans.iter_mut().for_each(|plan| plan.rows.sort_unstable_by_key(|wanted| (wanted.row, wanted.member)));
        plans
    }

    /// What is read of the histograms of a series. Buckets are needed where a sample may get another before it, by merging
    /// sources that overlap or by deletions, because its hint is taken back then.
    fn form(&self, sources: &[Source]) -> Form {
        let complete_from_ms = self.head.as_ref().map_or(TimestampMs::MAX, |head| head.complete_from_ms());
        let mut newest_ms = None;
        let in_order = sources.iter().all(|source| {
            let Some(selected) = self.files.get(source.origin as usize) else {
                return newest_ms.is_none_or(|newest_ms| newest_ms < complete_from_ms);
            };
            let times = selected.file.index().row_range(source.row);
            let follows = newest_ms.is_none_or(|newest_ms| newest_ms < times.start_ms);
            newest_ms = Some(times.end_ms);
            follows && selected.hidden.is_empty()
        });
        if self.totals_only && in_order { Form::Totals } else { Form::Whole }
    }

    /// Fetches and decodes the rows of some files.
    async fn read_files(&self, plans: Vec<FilePlan>) -> Result<Vec<FilePart>, ReadError> {
        let ahead_bytes = AHEAD_BYTES_MAX / self.files.len() as u64;
        let wanted: Vec<_> = {
            let readers = self.readers.lock();
            let missing = plans.iter().map(|plan| {
                let rows: Vec<_> =
                    plan.rows.iter().map(|wanted| wanted.row).chain(plan.ahead.iter().copied()).collect();
                let reader = &readers[plan.file];
                (Arc::clone(reader.file()), reader.missing(&rows, plan.rows.len(), ahead_bytes))
            });
            missing.collect()
        };
        let fetches = wanted.into_iter().map(|(file, wanted)| async move { file.fetch(&self.bucket, wanted).await });
        let pages: Vec<_> = stream::iter(fetches).buffered(FILES_AT_ONCE).try_collect().await?;
        let readers = Arc::clone(&self.readers);
        let range = self.range;
        off_thread(move || {
            let mut readers = readers.lock();
            let mut parts = Vec::with_capacity(plans.len());
            for (plan, pages) in plans.into_iter().zip(pages) {
                let reader = &mut readers[plan.file];
                reader.supply(pages);
                let mut part = FilePart::new(plan.file);
                for WantedRow { row, member, form } in plan.rows {
                    part.add(member, |samples| reader.read(row, Wanted { range, form }, samples))?;
                }
                if plan.file >= OPEN_FILES_MAX {
                    reader.close_pages();
                }
                parts.push(part);
            }
            Ok(parts)
        })
        .await
    }
}

/// What a batch wants of one file.
#[derive(Debug)]
struct FilePlan {
    file: usize,
    /// Ascending by row.
    rows: Vec<WantedRow>,
    /// Rows of later batches.
    ahead: Vec<u32>,
}

#[derive(Debug)]
struct WantedRow {
    row: u32,
    /// The series' place in the batch.
    member: usize,
    form: Form,
}

/// Samples that a series of the head is reckoned to have in a range.
fn head_samples(range: TimeRange) -> usize {
    let span_ms = range.end_ms.saturating_sub(range.start_ms).max(0);
    HEAD_SAMPLES_MAX.min((span_ms / HEAD_INTERVAL_MS) as usize + 1)
}

/// Merges the parts series by series: files in order of time, then the head.
fn assemble(
    head: Option<&HeadSelection>,
    files: &[SelectedFile],
    parts: Vec<FilePart>,
    sources: &[Vec<Source>],
    range: TimeRange,
) -> Result<DecodedSeries, ReadError> {
    let mut of_series: Vec<Vec<(usize, Piece)>> = vec![Vec::new(); sources.len()];
    for (i, part) in parts.iter().enumerate() {
        for (member, piece) in &part.rows {
            of_series[*member].push((i, piece.clone()));
        }
    }
    let mut batch = DecodedSeries::default();
    let mut scratch = SampleColumns::default();
    for (sources, pieces) in sources.iter().zip(of_series) {
        let labels = labels_of(head, files, sources[0], &mut Vec::new());
        for (part, piece) in pieces {
            let part = &parts[part];
            merge_visible(&mut batch, part.samples(&piece), &files[part.file].hidden_ranges(&labels));
        }
        let in_head = sources.last().filter(|source| source.origin == HEAD);
        if let Some((head, source)) = head.zip(in_head) {
            head.read(source.row as usize, range, &mut scratch)?;
            batch.merge(scratch.slices());
        }
        batch.end_series(&labels);
    }
    Ok(batch)
}

fn labels_of(head: Option<&HeadSelection>, files: &[SelectedFile], source: Source, scratch: &mut Vec<u8>) -> LabelSet {
    match (files.get(source.origin as usize), head) {
        (Some(selected), _) => {
            selected.file.index().label_bytes(source.row, scratch);
            LabelSet::from_canonical_trusted(scratch)
        }
        (None, Some(head)) => head.labels(source.row as usize),
        (None, None) => unreachable!("a source is in a file or in the head"),
    }
}

/// Brings the sources of one series together, by hash and then by the label bytes themselves.
#[derive(Default)]
struct Grouping<'a> {
    head: Option<&'a HeadSelection>,
    files: &'a [SelectedFile],
    table: HashTable<u32>,
    /// First source and hash of each series.
    series: Vec<(Source, u64)>,
    /// Every source with its series, in order of arrival.
    members: Vec<(u32, Source)>,
    bytes: Vec<u8>,
    other: Vec<u8>,
}

impl Grouping<'_> {
    fn add_all(&mut self, origin: u32, rows: impl Iterator<Item = u32>, caller: &Caller) -> Result<(), ReadError> {
        for (at, row) in rows.enumerate() {
            if at % ROWS_PER_CHECK == 0 {
                caller.check()?;
            }
            self.add(Source { origin, row });
        }
        Ok(())
    }

    fn add(&mut self, source: Source) {
        let Self { head, files, table, series, bytes, other, .. } = self;
        fill_label_bytes(*head, files, source, bytes);
        let hash = twox_hash::XxHash3_64::oneshot(bytes);
        let same = |known: &u32| {
            let (first, known_hash) = series[*known as usize];
            known_hash == hash && {
                fill_label_bytes(*head, files, first, other);
                other == bytes
            }
        };
        let found = table.find(hash, same).copied();
        let number = found.unwrap_or_else(|| {
            let number = series.len() as u32;
            series.push((source, hash));
            table.insert_unique(hash, number, |known| series[*known as usize].1);
            number
        });
        self.members.push((number, source));
    }

    fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn finish(self) -> Places {
        let mut ends = vec![0_u32; self.series.len()];
        self.members.iter().for_each(|(number, _)| ends[*number as usize] += 1);
        let mut total = 0;
        let mut next: Vec<u32> = Vec::with_capacity(ends.len());
        for end in &mut ends {
            next.push(total);
            total += *end;
            *end = total;
        }
        let mut sources = vec![Source { origin: HEAD, row: 0 }; self.members.len()];
        for (number, source) in self.members {
            let place = &mut next[number as usize];
            sources[*place as usize] = source;
            *place += 1;
        }
        Places { sources, ends }
    }
}

fn fill_label_bytes(head: Option<&HeadSelection>, files: &[SelectedFile], source: Source, out: &mut Vec<u8>) {
    match files.get(source.origin as usize) {
        Some(selected) => selected.file.index().label_bytes(source.row, out),
        None => {
            out.clear();
            out.extend_from_slice(head.expect("a source is in a file or in the head").label_bytes(source.row as usize));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_that_nobody_waits_for_are_not_brought_together() {
        let mut grouping = Grouping::default();
        assert!(grouping.add_all(HEAD, 0..1, &Caller::gone()).is_err());
        assert!(grouping.is_empty());
    }
}
