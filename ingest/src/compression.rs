//! Bodies from outside, decompressed within bounds: what arrives, what it claims to become and what it becomes.
//!
//! Leaves reading from the network, timeouts and the choice of limits to callers. Snappy blocks come as a whole, gzip
//! comes in pieces, so that a body without end is refused as soon as it is too long.

use std::fmt;
use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

/// How large a body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes on the wire.
    pub compressed_bytes_max: usize,
    /// Bytes after decompression, or of a body that is not compressed.
    pub decompressed_bytes_max: usize,
}

/// Why a body is refused.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("body size limit exceeded: more than {max} compressed bytes")]
    CompressedSize { max: usize },
    #[error("body size limit exceeded: more than {max} bytes")]
    Size { max: usize },
    #[error("snappy: {0}")]
    Snappy(snap::Error),
    #[error("snappy: {compressed} bytes cannot become the {declared} that are declared")]
    SnappyClaim { compressed: usize, declared: usize },
    #[error("gzip: {0}")]
    Gzip(io::Error),
}

impl BodyError {
    /// Whether the body is only too large, rather than broken.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::CompressedSize { .. } | Self::Size { .. })
    }
}

/// The most a snappy block can grow: a copy of 64 bytes takes 3.
const SNAPPY_EXPANSION_MAX: usize = 22;

/// Decompresses one snappy block into the front of `out`, which only ever grows, and returns that part. `out` is meant
/// to be used again: its bytes are not cleared in between.
pub fn snappy_block<'o>(body: &[u8], limits: &BodyLimits, out: &'o mut Vec<u8>) -> Result<&'o [u8], BodyError> {
    if body.len() > limits.compressed_bytes_max {
        return Err(BodyError::CompressedSize { max: limits.compressed_bytes_max });
    }
    let declared = snap::raw::decompress_len(body).map_err(BodyError::Snappy)?;
    if declared > limits.decompressed_bytes_max {
        return Err(BodyError::Size { max: limits.decompressed_bytes_max });
    }
    // Memory is only given for a size that the block can really have.
    if declared > body.len().saturating_mul(SNAPPY_EXPANSION_MAX) {
        return Err(BodyError::SnappyClaim { compressed: body.len(), declared });
    }
    if out.len() < declared {
        out.resize(declared, 0);
    }
    let produced = snap::raw::Decoder::new().decompress(body, &mut out[..declared]).map_err(BodyError::Snappy)?;
    Ok(&out[..produced])
}

/// The content encodings of a scraped body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// From a Content-Encoding header; everything but `gzip` is taken as it comes, as Prometheus does.
    pub fn from_header(header: Option<&str>) -> Self {
        if header == Some("gzip") { Self::Gzip } else { Self::Identity }
    }
}

/// Collects a body that arrives in pieces.
#[derive(Debug)]
pub struct BodyCollector {
    decoder: Decoder,
    limits: BodyLimits,
    compressed_bytes: usize,
}

enum Decoder {
    Identity(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

impl BodyCollector {
    /// Collects into `buffer`, which is emptied first and keeps its capacity.
    pub fn new(encoding: Encoding, limits: BodyLimits, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        let bounded = Bounded { bytes: buffer, max: limits.decompressed_bytes_max, is_exceeded: false };
        let decoder = match encoding {
            Encoding::Identity => Decoder::Identity(bounded),
            Encoding::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(bounded))),
        };
        Self { decoder, limits, compressed_bytes: 0 }
    }

    /// Takes the next piece. After an error the body is of no use.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        self.compressed_bytes = self.compressed_bytes.saturating_add(piece.len());
        let limits = self.limits;
        match &mut self.decoder {
            Decoder::Identity(bounded) => {
                bounded.write_all(piece).map_err(|_| BodyError::Size { max: limits.decompressed_bytes_max })
            }
            Decoder::Gzip(_) if self.compressed_bytes > limits.compressed_bytes_max => {
                Err(BodyError::CompressedSize { max: limits.compressed_bytes_max })
            }
            Decoder::Gzip(decoder) => {
                let written = decoder.write_all(piece);
                written.map_err(|error| gzip_error(error, decoder.get_ref()))
            }
        }
    }

    /// The whole body. A gzip stream that is not at its end is an error.
    pub fn finish(self) -> Result<Vec<u8>, BodyError> {
        match self.decoder {
            Decoder::Identity(bounded) => Ok(bounded.bytes),
            Decoder::Gzip(mut decoder) => {
                if self.compressed_bytes == 0 {
                    return Err(BodyError::Gzip(io::ErrorKind::UnexpectedEof.into()));
                }
                decoder.try_finish().map_err(|error| gzip_error(error, decoder.get_ref()))?;
                Ok(std::mem::take(&mut decoder.get_mut().bytes))
            }
        }
    }

    /// Bytes that came from the network.
    pub fn compressed_bytes(&self) -> usize {
        self.compressed_bytes
    }
}

fn gzip_error(error: io::Error, bounded: &Bounded) -> BodyError {
    if bounded.is_exceeded { BodyError::Size { max: bounded.max } } else { BodyError::Gzip(error) }
}

/// A buffer that refuses to grow beyond its limit.
#[derive(Debug)]
struct Bounded {
    bytes: Vec<u8>,
    max: usize,
    is_exceeded: bool,
}

impl Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if piece.len() > self.max - self.bytes.len() {
            self.is_exceeded = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity(_) => "Identity",
            Self::Gzip(_) => "Gzip",
        })
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    const LIMITS: BodyLimits = BodyLimits { compressed_bytes_max: 10_000, decompressed_bytes_max: 100_000 };

    fn snappy(bytes: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(bytes).unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn collect(encoding: Encoding, body: &[u8], piece_bytes: usize) -> Result<Vec<u8>, BodyError> {
        let mut collector = BodyCollector::new(encoding, LIMITS, Vec::new());
        for piece in body.chunks(piece_bytes.max(1)) {
            collector.push(piece)?;
        }
        collector.finish()
    }

    #[test]
    fn snappy_blocks_are_bounded_in_every_size() {
        let text = |body: &[u8]| snappy_block(body, &LIMITS, &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(text(&[0; 10_001]), "body size limit exceeded: more than 10000 compressed bytes");
        assert_eq!(text(&snappy(&[0; 100_001])), "body size limit exceeded: more than 100000 bytes");
        assert_eq!(text(&[0xa0, 0x8d, 0x06, 0]), "snappy: 4 bytes cannot become the 100000 that are declared");
        assert_eq!(text(&[0xff; 10]), "snappy: snappy: corrupt input (invalid header)");
        assert_eq!(text(&snappy(b"hello world")[..6]).get(..8), Some("snappy: "));
        assert_eq!(text(b""), "snappy: snappy: corrupt input (empty)");
    }

    #[test]
    fn a_used_buffer_does_not_leak_into_the_next_block() {
        let mut buffer = Vec::new();
        assert_eq!(snappy_block(&snappy(&[7; 90_000]), &LIMITS, &mut buffer).unwrap(), [7; 90_000]);
        assert_eq!(snappy_block(&snappy(b"short"), &LIMITS, &mut buffer).unwrap(), b"short");
    }

    #[test]
    fn a_gzip_bomb_is_refused_while_it_unfolds() {
        let bomb = gzip(&vec![0; 8 << 20]);
        assert!(bomb.len() > LIMITS.compressed_bytes_max);
        let mut collector = BodyCollector::new(Encoding::Gzip, LIMITS, Vec::new());
        let error = bomb.chunks(100).find_map(|piece| collector.push(piece).err()).unwrap();
        assert_eq!(error.to_string(), "body size limit exceeded: more than 100000 bytes");
        assert!(collector.compressed_bytes() < 2_000, "{}", collector.compressed_bytes());
        assert!(error.is_too_large());
    }

    #[test]
    fn a_body_without_end_is_refused() {
        let mut state = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(50_000)
        .collect();
        let error = collect(Encoding::Gzip, &gzip(&noise), 1_000).unwrap_err();
        assert_eq!(error.to_string(), "body size limit exceeded: more than 10000 compressed bytes");
        let error = collect(Encoding::Identity, &[b'a'; 100_001], 1_000).unwrap_err();
        assert_eq!(error.to_string(), "body size limit exceeded: more than 100000 bytes");
    }

    #[test]
    fn a_cut_or_changed_gzip_stream_is_an_error() {
        let whole = gzip(b"a 1\nb 2\n");
        assert_eq!(collect(Encoding::Gzip, &whole, 3).unwrap(), b"a 1\nb 2\n");
        for end in 0..whole.len() {
            assert!(matches!(collect(Encoding::Gzip, &whole[..end], 3), Err(BodyError::Gzip(_))), "cut at {end}");
        }
        let mut changed = whole.clone();
        let crc = whole.len() - 8;
        changed[crc] ^= 1;
        assert!(matches!(collect(Encoding::Gzip, &changed, 3), Err(BodyError::Gzip(_))));
    }

    #[test]
    fn several_gzip_members_are_one_body() {
        let body = [gzip(b"a 1\n"), gzip(b"b 2\n")].concat();
        assert_eq!(collect(Encoding::Gzip, &body, 5).unwrap(), b"a 1\nb 2\n");
    }

    #[test]
    fn only_gzip_is_taken_for_an_encoding() {
        assert_eq!(Encoding::from_header(Some("gzip")), Encoding::Gzip);
        assert_eq!(Encoding::from_header(Some("identity")), Encoding::Identity);
        assert_eq!(Encoding::from_header(None), Encoding::Identity);
    }

    proptest! {
        #[test]
        fn bodies_come_back_as_they_were(bytes in prop::collection::vec(any::<u8>(), 0..5_000), piece in 1..2_000usize) {
            let mut buffer = Vec::new();
            prop_assert_eq!(snappy_block(&snappy(&bytes), &LIMITS, &mut buffer).unwrap(), &bytes[..]);
            prop_assert_eq!(&collect(Encoding::Gzip, &gzip(&bytes), piece).unwrap(), &bytes);
            prop_assert_eq!(&collect(Encoding::Identity, &bytes, piece).unwrap(), &bytes);
        }

        #[test]
        fn no_bytes_are_more_than_the_limits_allow(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = snappy_block(&bytes, &LIMITS, &mut Vec::new());
            let _ = collect(Encoding::Gzip, &[&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0], &bytes[..]].concat(), 7);
        }
    }
}
