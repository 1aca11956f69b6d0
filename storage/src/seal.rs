//! Moves slices that can take no more samples from the head to data files.
//!
//! What comes next is decided by [`next_step`] from what is there, so a crash at any point needs no memory of it: the
//! step is decided again and repeated. A file's key depends on the slice and the writer's term alone, the manifest takes a slice
//! once, and the head drops only what a committed manifest covers. Readers see each sample once throughout, because
//! [`crate::select`] merges head and files by time.

mod encode;
mod run;

pub use encode::SliceFile;
pub(crate) use run::file_entry;
pub use run::{HeadLog, LogError, SealError, SealReport, Sealer};

use pharos_model::{BlockSpan, TimestampMs};

use crate::head::sealing::{HeadExtent, SealRule, sealable};
use crate::manifest::Manifest;

/// What has to happen to the oldest slice that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealStep {
    /// Tell the head through its log to refuse samples before this time.
    Close { until_ms: TimestampMs },
    /// Write the slice's data file and index, and commit them.
    Write { span: BlockSpan },
    /// Tell the head through its log to drop what is before this time: files cover it, or there was nothing.
    Drop { until_ms: TimestampMs },
}

/// The next step, or `None` when no slice is ready. `empty` are slices found to have no samples.
pub fn next_step(
    extent: &HeadExtent,
    manifest: &Manifest,
    rule: &SealRule,
    empty: &[BlockSpan],
    now_ms: TimestampMs,
) -> Option<SealStep> {
    let span = sealable(extent, rule, now_ms).into_iter().find(|span| extent.dropped_until_ms < span.end_ms)?;
    Some(if extent.sealed_until_ms < span.end_ms {
        SealStep::Close { until_ms: span.end_ms }
    } else if manifest.covers(span, 0) || empty.contains(&span) {
        SealStep::Drop { until_ms: span.end_ms }
    } else {
        SealStep::Write { span }
    })
}

#[cfg(test)]
mod tests;
