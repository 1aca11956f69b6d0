//! The batches of one partition as bytes: Arrow's stream format, cut into frames, with length and checksum in front of each. A transport may
//! cut the bytes anew, and join them.
//!
//! The checksum is not for what TCP lets through alone: Arrow's reader panics where lengths in its headers are wrong.

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use bytes::{Bytes, BytesMut};
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::execution::SendableRecordBatchStream;
use futures::{Stream, StreamExt, stream};
use twox_hash::XxHash3_64;

use super::Pieces;

/// Largest frame. A batch of a million series' labels is more than a connection should carry at once.
const FRAME_BYTES_MAX: usize = 128 << 10;
/// Bytes before a frame's content: its length (4), its checksum (8), both little endian.
const HEADER_BYTES: usize = 12;

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
            Ok(bytes) => bytes.chunks(FRAME_BYTES_MAX - HEADER_BYTES).map(|part| Ok(framed(part))).collect(),
            Err(error) => vec![Err(error.to_string())],
        };
        stream::iter(cut)
    })
}

fn framed(part: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(HEADER_BYTES + part.len());
    frame.extend_from_slice(&(part.len() as u32).to_le_bytes());
    frame.extend_from_slice(&XxHash3_64::oneshot(part).to_le_bytes());
    frame.extend_from_slice(part);
    frame.into()
}

/// Takes the content of the next frame from what has come, if all of it is there.
fn take_frame(came: &mut BytesMut) -> Result<Option<Bytes>> {
    let Some((header, content)) = came.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let [length @ .., _, _, _, _, _, _, _, _] = header;
    let length = u32::from_le_bytes(*length) as usize;
    if length > FRAME_BYTES_MAX - HEADER_BYTES {
        return exec_err!("a frame of {length} bytes");
    }
    if content.len() < length {
        return Ok(None);
    }
    let frame = came.split_to(HEADER_BYTES + length).freeze();
    let content = frame.slice(HEADER_BYTES..);
    match XxHash3_64::oneshot(&content).to_le_bytes() == frame[HEADER_BYTES - 8..HEADER_BYTES] {
        true => Ok(Some(content)),
        false => exec_err!("a frame was changed on its way"),
    }
}

/// Reads what [`write`] wrote. Pieces that end before the last word of the format are an error.
pub(super) fn read(pieces: Pieces) -> impl Stream<Item = Result<RecordBatch>> {
    let rest = Buffer::from(Vec::<u8>::new());
    let reader = Reader { pieces, came: BytesMut::new(), decoder: StreamDecoder::new(), rest };
    stream::try_unfold(reader, |mut reader| async move { Ok(reader.next().await?.map(|batch| (batch, reader))) })
}

struct Reader {
    pieces: Pieces,
    /// What has come and is no whole frame yet.
    came: BytesMut,
    decoder: StreamDecoder,
    /// Of frames, what is not read yet.
    rest: Buffer,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.decoder.decode(&mut self.rest)? {
                return Ok(Some(batch));
            }
            if let Some(frame) = take_frame(&mut self.came)? {
                self.rest = Buffer::from(frame);
                continue;
            }
            match self.pieces.next().await {
                Some(Ok(piece)) => self.came.extend_from_slice(&piece),
                Some(Err(reason)) => return exec_err!("{reason}"),
                None if self.came.is_empty() && self.decoder.finish().is_ok() => return Ok(None),
                None => return exec_err!("it stopped within a batch"),
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
            assert!(pieces.iter().flatten().all(|piece| piece.len() <= FRAME_BYTES_MAX));
            assert_eq!(came(pieces.clone()).unwrap(), sent);
            let whole = pieces.into_iter().map(Result::unwrap).collect::<Vec<_>>().concat();
            for cut in [1, 5, 4096, whole.len()].into_iter().filter(|cut| whole.len() / cut < 100_000) {
                let anew = whole.chunks(cut.max(1)).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
                assert_eq!(came(anew).unwrap(), sent, "pieces of {cut}");
            }
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
    fn a_frame_that_was_changed_on_the_way_is_an_error() {
        let sent = pieces(vec![Ok(batch(3, 4))]);
        for (place, piece) in sent.iter().flatten().enumerate() {
            for at in 0..piece.len() {
                let damaged_at = |damaged: Vec<u8>| {
                    let mut sent = sent.clone();
                    sent[place] = Ok(damaged.into());
                    came(sent)
                };
                let mut damaged = piece.to_vec();
                damaged[at] ^= 0x40;
                assert!(damaged_at(damaged).is_err());
                // A whole frame that is missing is no damage here: then the last word is, or a batch.
                assert!(at == 0 || damaged_at(piece[..at].to_vec()).is_err());
            }
        }
    }

    #[test]
    fn pieces_that_end_within_a_batch_are_an_error() {
        let mut sent = pieces(vec![Ok(batch(200, 50_000))]);
        assert!(sent.len() > 3);
        sent.truncate(3);
        assert!(came(sent).unwrap_err().to_string().contains("stopped within a batch"));
    }
}
