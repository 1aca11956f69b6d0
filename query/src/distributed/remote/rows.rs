//! The batches of one partition as bytes: Arrow's stream format, cut into pieces.

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use bytes::Bytes;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, exec_err};
use datafusion::execution::SendableRecordBatchStream;
use futures::{Stream, StreamExt, stream};

use super::Pieces;

/// Largest piece. A batch of a million series' labels is more than a connection should carry at once.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// Writes batches as they come.
pub(super) fn write(batches: SendableRecordBatchStream) -> impl Stream<Item = Result<Bytes, String>> {
    let schema = batches.schema();
    let writer = StreamWriter::try_new(Vec::new(), &schema).map_err(DataFusionError::from);
    let batches = batches.map(Some).chain(stream::once(std::future::ready(None)));
    let pieces = batches.scan(Some(writer), |state, batch| {
        let written = state.take().map(|writer| {
            let mut writer = writer?;
            match batch {
                Some(batch) => writer.write(&batch?)?,
                None => writer.finish()?,
            }
            let bytes = std::mem::take(writer.get_mut());
            *state = Some(Ok(writer));
            Ok(bytes)
        });
        std::future::ready(written)
    });
    pieces.flat_map(|written: Result<Vec<u8>>| {
        let cut: Vec<_> = match written {
            Ok(bytes) => cut(bytes.into()).map(Ok).collect(),
            Err(error) => vec![Err(error.to_string())],
        };
        stream::iter(cut)
    })
}

fn cut(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES_MAX));
        (!piece.is_empty()).then_some(piece)
    })
}

/// Reads what [`write`] wrote. Pieces that end before the last word of the format are an error.
pub(super) fn read(pieces: Pieces) -> impl Stream<Item = Result<RecordBatch>> {
    let reader = Reader { pieces, decoder: StreamDecoder::new(), rest: Buffer::from(Vec::<u8>::new()) };
    stream::try_unfold(reader, |mut reader| async move { Ok(reader.next().await?.map(|batch| (batch, reader))) })
}

struct Reader {
    pieces: Pieces,
    decoder: StreamDecoder,
    /// What has come and is not read yet.
    rest: Buffer,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.decoder.decode(&mut self.rest)? {
                return Ok(Some(batch));
            }
            match self.pieces.next().await {
                Some(Ok(piece)) => self.rest = Buffer::from(piece),
                Some(Err(reason)) => return exec_err!("{reason}"),
                None => {
                    return self
                        .decoder
                        .finish()
                        .map(|()| None)
                        .map_err(|_| exec_datafusion_err!("it stopped within a batch"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, Float64Array};
    use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use futures::TryStreamExt;
    use futures::executor::block_on;

    use super::*;

    fn schema() -> SchemaRef {
        let fields = vec![Field::new("labels", DataType::Binary, false), Field::new("value", DataType::Float64, true)];
        Arc::new(Schema::new(fields))
    }

    fn batch(rows: usize, label_bytes: usize) -> RecordBatch {
        let labels = BinaryArray::from_iter_values((0..rows).map(|row| vec![row as u8; label_bytes]));
        let values = Float64Array::from_iter((0..rows).map(|row| (row % 3 > 0).then_some(row as f64)));
        RecordBatch::try_new(schema(), vec![Arc::new(labels), Arc::new(values)]).unwrap()
    }

    fn pieces(batches: Vec<Result<RecordBatch>>) -> Vec<Result<Bytes, String>> {
        let batches = RecordBatchStreamAdapter::new(schema(), stream::iter(batches));
        block_on(write(Box::pin(batches)).collect())
    }

    fn came(pieces: Vec<Result<Bytes, String>>) -> Result<Vec<RecordBatch>> {
        block_on(read(stream::iter(pieces).boxed()).try_collect())
    }

    #[test]
    fn batches_come_as_they_were_sent() {
        for sent in [vec![], vec![batch(0, 3)], vec![batch(5, 3), batch(1, 0)], vec![batch(200, 50_000), batch(7, 9)]] {
            let pieces = pieces(sent.iter().cloned().map(Ok).collect());
            assert!(pieces.iter().flatten().all(|piece| piece.len() <= PIECE_BYTES_MAX));
            assert_eq!(came(pieces).unwrap(), sent);
        }
    }

    #[test]
    fn an_error_comes_behind_what_was_before_it() {
        let mut pieces = pieces(vec![Ok(batch(2, 2)), exec_err!("no more")]);
        let last = pieces.pop().unwrap();
        assert!(last.unwrap_err().contains("no more"));
        assert_eq!(came(pieces).unwrap(), [batch(2, 2)]);
    }

    #[test]
    fn bytes_that_were_changed_on_the_way_make_an_error_or_other_batches() {
        let whole: Vec<u8> = pieces(vec![Ok(batch(3, 4))]).into_iter().flatten().flatten().collect();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            let _ = came(vec![Ok(damaged.into())]);
            let _ = came(vec![Ok(Bytes::copy_from_slice(&whole[..at]))]);
        }
    }
}
