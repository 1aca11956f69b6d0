//! Data files: immutable Parquet objects of one tenant, partition and time slice, each with an index object beside it.
//!
//! A row is a series in the slice: its labels, and its samples as a list of timestamps and a list of exact decimal
//! mantissas (or doubles, where a value is no decimal). Any Parquet reader can use a file; ours finds rows and pages through the
//! index and never reads the footer. Formats: `docs/format/data-file.md`, `docs/format/index-object.md`.
//! Which files exist is [`crate::manifest`]'s to know; when they are written, [`crate::seal`]'s.
//!
//! Invariant: what is read is what was written, bit for bit, or an error that names the file.

mod writer;
pub use writer::{FILE_SPAN_MS_MAX, FileSummary, WriteError, Writer};

mod schema;
pub use schema::{FileColumns, LabelCensus, PROMOTED_LABELS_MAX};

mod index;
pub use index::{INDEX_BYTES_MAX, Index, IndexError};

mod reader;
pub(crate) use reader::{DataFile, FileIdentity, RowReader};

mod cache;
pub use cache::{FILE_CACHE_BYTES_MAX, FileCache};

mod rebuild;

mod decimal;
mod page;
mod row_group;
mod split;

#[cfg(test)]
pub(crate) mod exposition;
#[cfg(test)]
mod tests;
