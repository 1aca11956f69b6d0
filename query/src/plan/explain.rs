//! One line for each node, as `EXPLAIN` shows it.

use std::fmt;

use super::op::{Grouping, Op, Read};

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(value) => write!(f, "Constant {}", value.0),
            Self::Time => f.write_str("Time"),
            Self::Empty => f.write_str("Empty"),
            Self::Scan(scan) => {
                f.write_str("Scan {")?;
                for (i, matcher) in scan.selector.matchers.iter().enumerate() {
                    write!(f, "{}{matcher}", if i > 0 { "," } else { "" })?;
                }
                write!(f, "}} {:?}", scan.selector.shift)?;
                match &scan.read {
                    Read::Range { range_ms, call, .. } => write!(f, " {:?}[{range_ms}ms]", call.function),
                    other => write!(f, " {other:?}"),
                }
            }
            Self::RangeOverSubquery { window, call, .. } => {
                write!(f, "RangeOverSubquery {:?}[{}ms:{}ms]", call.function, window.range_ms, window.step_ms)
            }
            Self::Map { function, .. } => write!(f, "Map {function:?}"),
            Self::Relabel(relabel) => write!(f, "Relabel {relabel:?}"),
            Self::Merge { strict } => write!(f, "Merge strict={strict}"),
            Self::ScalarBinary(function) => write!(f, "ScalarBinary {function:?}"),
            Self::ScalarOf => f.write_str("ScalarOf"),
            Self::VectorOf => f.write_str("VectorOf"),
            Self::Aggregate { kind, grouping } => write!(f, "Aggregate {kind:?} {grouping}"),
            Self::AggregateK { kind, grouping, .. } => write!(f, "AggregateK {kind:?} {grouping}"),
            Self::Quantile { grouping, .. } => write!(f, "Quantile {grouping}"),
            Self::CountValues { grouping, label } => write!(f, "CountValues {label} {grouping}"),
            Self::Match { op, matching, .. } => {
                write!(f, "Match {} {} on {}", op.as_str(), matching.card.as_str(), matching.on)
            }
            Self::Set { op, grouping } => write!(f, "Set {op:?} on {grouping}"),
            Self::Histogram { call, .. } => write!(f, "Histogram {call:?}"),
            Self::Absent { labels } => write!(f, "Absent {labels}"),
            Self::Info(_) => f.write_str("Info"),
            Self::Sort(by) => write!(f, "Sort {by:?}"),
            Self::Repeat => f.write_str("Repeat"),
            Self::Share(share) => write!(f, "Share #{} place={} of {}", share.id, share.place + 1, share.places),
        }
    }
}

impl fmt::Display for Grouping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", if self.without { "without" } else { "by" }, self.labels.join(", "))
    }
}
