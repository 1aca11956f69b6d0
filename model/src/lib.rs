//! The vocabulary of every other crate: label sets, samples, histograms, matchers, time, tenants.
//!
//! No IO and no async runtime here. A type belongs in this crate when two others exchange it.

pub mod labels;
pub mod matcher;
pub mod regex;

pub mod histogram;
pub mod metadata;
pub mod sample;

pub mod byte_size;
pub mod duration;
pub mod number;
pub mod time;

pub mod clock;
pub mod partition;
pub mod summary;
pub mod tenant;
pub mod texts;

pub use clock::Clock;
pub use histogram::{CounterResetHint, FloatHistogram};
pub use labels::{Label, LabelSet, LabelSetBuilder, LabelsError};
pub use matcher::{MatchOp, Matcher};
pub use metadata::{Exemplar, Metadata, MetricType};
pub use partition::PartitionId;
pub use sample::Sample;
pub use tenant::{TenantId, TenantIdError};
pub use texts::Texts;
pub use time::{BlockSpan, TimeRange, TimestampMs};
