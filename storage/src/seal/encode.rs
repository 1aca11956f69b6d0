//! Writes one slice of a head as a data file and an index object.
//!
//! Encoding runs on a blocking thread, series by series; finished row groups go through a short queue to the upload. Memory is
//! one row group, the queue and one part of the upload, whatever the slice holds.

use std::io::{self, Write};

use bytes::Bytes;
use pharos_model::TimeRange;
use tokio::sync::mpsc;

use super::SealError;
use crate::datafile::{FileColumns, FileSummary, LabelCensus, Writer};
use crate::head::HeadSelection;
use crate::manifest::index_key;
use crate::object::Bucket;
use crate::select::SampleColumns;

/// Pieces of the file that wait for the upload.
const QUEUE_PIECES: usize = 4;
const PIECE_BYTES: usize = 1 << 20;

/// The samples of one head in one slice, to be written under a key.
#[derive(Debug)]
pub struct SliceFile {
    pub key: String,
    /// Sorted by labels.
    pub series: HeadSelection,
    pub range: TimeRange,
}

impl SliceFile {
    /// Writes data file and index, durably. `None` when there was no sample; then no object exists.
    pub async fn write(self, bucket: &Bucket) -> Result<Option<FileSummary>, SealError> {
        let (pieces, mut queue) = mpsc::channel(QUEUE_PIECES);
        let index_key = index_key(&self.key);
        let mut upload = bucket.upload(&self.key);
        let encoding = tokio::task::spawn_blocking(move || self.encode(PieceSink { pieces, piece: Vec::new() }));
        let mut uploaded = Ok(());
        while let Some(piece) = queue.recv().await {
            uploaded = upload.write(&piece).await;
            if uploaded.is_err() {
                break;
            }
        }
        // Lets an encoder that still has pieces see that nobody takes them.
        drop(queue);
        let encoded = encoding.await.unwrap_or_else(|panic| Err(SealError::Encoder(panic.to_string())));
        let summary = match uploaded.map_err(SealError::from).and(encoded) {
            Ok(summary) if summary.rows > 0 => summary,
            other => {
                upload.abort().await;
                return other.map(|_| None);
            }
        };
        upload.finish().await?;
        bucket.put(&index_key, Bytes::from(summary.index.clone())).await?;
        Ok(Some(summary))
    }

    /// CPU work: reads and encodes all series.
    fn encode(&self, sink: PieceSink) -> Result<FileSummary, SealError> {
        let mut census = LabelCensus::default();
        (0..self.series.len()).for_each(|i| census.count(&self.series.labels(i)));
        let columns = FileColumns { promoted: census.promoted(), starts: self.series.has_starts() };
        let mut writer = Writer::new(sink, columns)?;
        let mut samples = SampleColumns::default();
        for i in 0..self.series.len() {
            self.series.read(i, self.range, &mut samples)?;
            if !samples.is_empty() {
                writer.append(&self.series.labels(i), &samples)?;
            }
        }
        let (summary, mut sink) = writer.finish()?;
        sink.flush()?;
        Ok(summary)
    }
}

/// Hands what is written to the upload, a piece at a time.
struct PieceSink {
    pieces: mpsc::Sender<Vec<u8>>,
    piece: Vec<u8>,
}

impl PieceSink {
    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        self.pieces.blocking_send(piece).map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the upload has ended"))
    }
}

impl Write for PieceSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(bytes.len())
    }

    /// Sends what is left. The Parquet writer flushes at its end only.
    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() { Ok(()) } else { self.send() }
    }
}
