//! Real processes, real faults, and a judgement of what clients saw.
//!
//! ```text
//! workload (clients) ──┐                         ┌── check: pure functions over the history
//! nemesis (faults) ────┼── history (JSON lines) ─┤
//! targets (scrapes) ───┘                         └── report: one page, one summary
//!            environment: nodes, their network and disks
//! ```
//! A run is drawn from one printed seed. Checkers know nothing of how a history came about, so that any history can be
//! judged again later. What the machine cannot do is left out and said. The promises (W1, Q2, …) are DESIGN's.

pub mod history;

pub mod check;

pub mod client;
pub mod env;
pub mod nemesis;
pub mod targets;
pub mod workload;

pub mod bugs;
pub mod report;
pub mod run;

/// Exit status of a run in which a promise was broken.
pub const VIOLATED: i32 = 1;
