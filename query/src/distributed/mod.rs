//! Queries whose leaves are on several nodes: `datafusion-distributed` behind our own words.
//!
//! - [`placement`]: which worker reads which partitions; a query is planned on one snapshot of that.
//! - [`boundary`], [`unshare`]: which part of a plan runs there, pure functions of the plan.
//! - [`codec`], [`fragment`]: the part on its way, with all that a worker has to know about the query.
//! - [`report`], [`receive`]: what comes back besides rows, remarks, counts and errors, as the last word of each stream.
//! - [`question`]: what workers are asked besides, by [`reliance`] on behalf of kept answers, and for estimates.
//! - [`channel`], [`worker`]: both ends of the way. A transport is a [`Channels`].
//!
//! Joins, sorts and whatever else needs all rows run where the query was asked. A worker that is lost ends the query with
//! [`crate::QueryError::Worker`]; the engine runs it once more without that worker, before anybody has seen an answer.

pub(crate) mod boundary;
pub(crate) mod bytes;
mod channel;
mod codec;
mod fragment;
mod placement;
mod question;
mod receive;
mod reliance;
mod remote;
mod report;
mod stages;
mod unshare;
mod worker;

pub use channel::{Channels, InProcess, NearAndFar, WorkerChannel};
pub use placement::{FixedPlacement, Placement, Share, Snapshot, Unplaced, WorkerId, WorkerIdError};
pub(crate) use question::estimate_on_worker;
pub(crate) use receive::ReceiveExec;
pub use reliance::{Basis, OfWorker};
pub(crate) use reliance::{Relied, rely_on_workers};
pub use remote::{Pieces, Remote, Transport};
pub use report::Report;
pub(crate) use stages::Stages;
pub(crate) use unshare::unshare;
pub use worker::Worker;

#[cfg(test)]
mod tests;
