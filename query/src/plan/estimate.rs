//! How much an operator may give, reckoned from how much its inputs may give. No data is looked at.
//!
//! Series and samples are upper bounds, so they add up wrong where filters and labels that are grouped by thin them out;
//! measured figures beside them show where.

use super::op::{Grouping, KKind, Matching, Op, Param, SetOp};
use pharos_promql::ast::Cardinality;

/// An amount of series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub series: u64,
    /// A native histogram counts as many as take its place.
    pub samples: u64,
    /// Of an operator: of its rows in memory. Of a read: as they are stored.
    pub bytes: u64,
}

/// What the labels of a row are reckoned to take.
const LABEL_BYTES: u64 = 128;

impl Figures {
    /// Of both together.
    pub fn plus(self, more: Self) -> Self {
        Self {
            series: self.series.saturating_add(more.series),
            samples: self.samples.saturating_add(more.samples),
            bytes: self.bytes.saturating_add(more.bytes),
        }
    }

    /// Rows that have a value at each step.
    pub fn full(series: u64, steps: usize) -> Self {
        let steps = steps as u64;
        let row_bytes = LABEL_BYTES + steps * 8 + steps.div_ceil(64) * 8;
        Self { series, samples: series.saturating_mul(steps), bytes: series.saturating_mul(row_bytes) }
    }
}

impl Op {
    /// What the operator gives at most on a grid of `steps` steps when it runs in so many partitions. `inputs` are those of its
    /// inputs in their order; a scan's first input is what it reads.
    pub fn estimate(&self, inputs: &[Figures], steps: usize, partitions: usize) -> Figures {
        let series = |input: usize| inputs.get(input).map_or(0, |figures| figures.series);
        match self {
            Self::Empty => Figures::default(),
            Self::Constant(_)
            | Self::Time
            | Self::Values(_)
            | Self::ScalarBinary(_)
            | Self::ScalarOf
            | Self::Absent { .. } => Figures::full(1, steps),
            Self::Aggregate { grouping, .. } | Self::Quantile { grouping, .. } if is_one_group(grouping) => {
                Figures::full(series(0).min(partitions as u64), steps)
            }
            Self::AggregateK { kind, grouping, k: Param::Constant(k), .. } => {
                let all = Figures::full(series(0), steps);
                let kept = if k.0 >= 1.0 { (k.0 as u64).saturating_mul(partitions as u64) } else { 0 };
                match kind {
                    KKind::LimitRatio => all,
                    KKind::Limitk | KKind::Topk | KKind::Bottomk if is_one_group(grouping) => {
                        Figures { samples: all.samples.min(kept.saturating_mul(steps as u64)), ..all }
                    }
                    KKind::Limitk | KKind::Topk | KKind::Bottomk => all,
                }
            }
            // A row for each value that a step may have.
            Self::CountValues { .. } => Figures::full(inputs.first().map_or(0, |figures| figures.samples), steps),
            Self::Match { matching, .. } => Figures::full(matched(matching, series(0), series(1)), steps),
            Self::Set { op: SetOp::Or, .. } => Figures::full(series(0).saturating_add(series(1)), steps),
            _ => Figures::full(series(0), steps),
        }
    }
}

fn is_one_group(grouping: &Grouping) -> bool {
    !grouping.without && grouping.labels.is_empty()
}

fn matched(matching: &Matching, left: u64, right: u64) -> u64 {
    match matching.card {
        Cardinality::ManyToOne => left,
        Cardinality::OneToMany => right,
        Cardinality::OneToOne | Cardinality::ManyToMany => match (matching.fill_left, matching.fill_right) {
            (None, None) => left.min(right),
            (None, Some(_)) => left,
            (Some(_), None) => right,
            (Some(_), Some(_)) => left.saturating_add(right),
        },
    }
}

#[cfg(test)]
mod tests {
    use pharos_promql::{ParserOptions, parse_expr};

    use super::*;
    use crate::lower::{Settings, lower};
    use crate::plan::{Plan, Query, passes};

    const STEPS: usize = 10;
    const SETTINGS: Settings = Settings {
        start_ms: 0,
        end_ms: 90_000,
        step_ms: Some(10_000),
        lookback_ms: 300_000,
        subquery_step_ms: 60_000,
        delayed_names: false,
        type_and_unit_labels: false,
        use_start_timestamps: false,
    };

    /// Each selector reads seven series.
    fn estimated(plan: &Plan) -> Figures {
        let read = Figures { series: 7, samples: 700, bytes: 900 };
        let below = plan.inputs.iter().map(estimated);
        let inputs: Vec<_> = matches!(plan.op, Op::Scan(_)).then_some(read).into_iter().chain(below).collect();
        plan.op.estimate(&inputs, STEPS, 1)
    }

    #[test]
    fn no_operator_is_reckoned_to_give_more_than_it_can() {
        for (text, series, samples) in [
            ("x", 7, 70),
            ("rate(x[5m])", 7, 70),
            ("sum(x)", 1, 10),
            ("sum by (a) (x)", 7, 70),
            ("topk(2, x)", 7, 20),
            ("topk by (a) (2, x)", 7, 70),
            ("limit_ratio(0.5, x)", 7, 70),
            ("count_values(\"v\", x)", 70, 700),
            ("x / y", 7, 70),
            ("x / on (a) group_right () sum(y)", 1, 10),
            ("x or y", 14, 140),
            ("x and y", 7, 70),
            ("absent(x)", 1, 10),
            ("1 + scalar(x)", 1, 10),
        ] {
            let parsed = parse_expr(text, &ParserOptions::ALL).unwrap();
            let Query::Rows(plan) = lower(&parsed, &SETTINGS).unwrap().query else { panic!("{text} has rows") };
            let got = estimated(&passes::rewrite(plan));
            assert_eq!((got.series, got.samples), (series, samples), "{text}");
            assert!(got.bytes >= got.samples * 8, "{text}");
        }
    }
}
