//! What is known of the rows of a plan, whatever the data.

use pharos_model::labels::{BUCKET_LABEL, METRIC_NAME};
use pharos_model::{MatchOp, Matcher};
use pharos_promql::ast::Cardinality;

use crate::functions::RangeFunction;
use crate::plan::arithmetic::is_trim;
use crate::plan::names::{METADATA_LABELS, is_metadata_label};
use crate::plan::{
    AggregateKind, Grouping, HistogramCall, MapFunction, NameRule, Op, Plan, Read, Relabel, Scan, SetOp,
};

/// Matchers that all rows satisfy and that an index answers well: `=` and `=~` that ask for a label.
pub(super) fn holds(plan: &Plan) -> Vec<Matcher> {
    let input = |i: usize| holds(&plan.inputs[i]);
    let keeping = |keeps: &dyn Fn(&str) -> bool, mut matchers: Vec<Matcher>| {
        matchers.retain(|matcher| keeps(&matcher.name));
        matchers
    };
    match &plan.op {
        Op::Scan(scan) => {
            let selects =
                |matcher: &&Matcher| matches!(matcher.op, MatchOp::Equal | MatchOp::Regex) && !matcher.matches_empty();
            scan.selector.matchers.iter().filter(selects).cloned().collect()
        }
        Op::Map { .. }
        | Op::RangeOverSubquery { .. }
        | Op::Merge { .. }
        | Op::AggregateK { .. }
        | Op::Sort(_)
        | Op::Repeat
        | Op::Share(_) => input(0),
        Op::Relabel(Relabel::Replace { destination, .. } | Relabel::Join { destination, .. }) => {
            keeping(&|name| name != destination, input(0))
        }
        Op::Aggregate { grouping, .. } | Op::Quantile { grouping, .. } => {
            keeping(&|name| grouping.keeps(name), input(0))
        }
        Op::CountValues { grouping, label } => keeping(&|name| grouping.keeps(name) && name != label, input(0)),
        Op::Histogram { call, .. } => {
            let changed = |name: &str| matches!(call, HistogramCall::Quantiles { label } if label == name);
            keeping(&|name| name != BUCKET_LABEL && !changed(name), input(0))
        }
        Op::Set { op: SetOp::And, grouping } => both(input(0), keeping(&|name| grouping.keeps(name), input(1))),
        Op::Set { op: SetOp::Unless, .. } => input(0),
        Op::Set { op: SetOp::Or, .. } => {
            let right = input(1);
            input(0).into_iter().filter(|matcher| right.contains(matcher)).collect()
        }
        Op::Match { matching, .. } => {
            if matching.fill_left.is_some() || matching.fill_right.is_some() {
                return Vec::new();
            }
            let (many, one) = if matching.card == Cardinality::OneToMany { (1, 0) } else { (0, 1) };
            let on = |name: &str| matching.on.keeps(name);
            let of_one = keeping(&on, input(one));
            let of_many = match matching.card {
                Cardinality::OneToOne => keeping(&on, input(many)),
                _ => input(many),
            };
            keeping(&|name| !matching.include.iter().any(|copied| copied == name), both(of_many, of_one))
        }
        Op::Info(_)
        | Op::Constant(_)
        | Op::Time
        | Op::Values(_)
        | Op::Empty
        | Op::Raw { .. }
        | Op::ScalarBinary(_)
        | Op::ScalarOf
        | Op::VectorOf
        | Op::Absent { .. } => Vec::new(),
    }
}

fn both(mut matchers: Vec<Matcher>, more: Vec<Matcher>) -> Vec<Matcher> {
    for matcher in more {
        if !matchers.contains(&matcher) {
            matchers.push(matcher);
        }
    }
    matchers
}

/// Whether all rows with some value of a label can be left out by leaving out series with that value, and nothing else is
/// changed by that: neither other rows nor what there is to say.
pub(super) fn takes(plan: &Plan, label: &str) -> bool {
    let input = || takes(&plan.inputs[0], label);
    match &plan.op {
        Op::Scan(scan) => is_silent(&scan.read),
        Op::Map { function, .. } => says_nothing(function, &plan.inputs[0]) && input(),
        Op::Repeat => input(),
        Op::Aggregate { kind, grouping } => {
            let counts = matches!(kind, AggregateKind::Count | AggregateKind::Group);
            grouping.keeps(label) && (counts || has_floats_only(&plan.inputs[0])) && input()
        }
        Op::Set { op: SetOp::And | SetOp::Unless, .. } => input(),
        _ => false,
    }
}

/// Whether a way of reading never has something to say.
fn is_silent(read: &Read) -> bool {
    use RangeFunction as F;
    match read {
        Read::Instant { .. } | Read::SampleTime { .. } | Read::StartTime { .. } => true,
        // Of floats and histograms in one place there is a warning; `info` refuses histograms.
        Read::Smoothed { .. } | Read::FloatTime { .. } => false,
        Read::Range { call, .. } => matches!(
            call.function,
            F::CountOverTime
                | F::PresentOverTime
                | F::LastOverTime
                | F::FirstOverTime
                | F::TsOfLastOverTime
                | F::TsOfFirstOverTime
                | F::Changes
                | F::Resets
        ),
    }
}

fn says_nothing(function: &MapFunction, input: &Plan) -> bool {
    match function {
        MapFunction::WithScalar { op, .. } => !is_trim(*op) && has_floats_only(input),
        MapFunction::Negate
        | MapFunction::Math(_)
        | MapFunction::Date(_)
        | MapFunction::EvaluationTime
        | MapFunction::HistogramStat(_) => true,
    }
}

/// Whether no value is a native histogram. `false` where that hangs on the data.
fn has_floats_only(plan: &Plan) -> bool {
    use RangeFunction as F;
    let input = || has_floats_only(&plan.inputs[0]);
    match &plan.op {
        Op::Scan(scan) => match &scan.read {
            Read::SampleTime { .. } | Read::StartTime { .. } => true,
            Read::Range { call, .. } => !matches!(
                call.function,
                F::Rate
                    | F::Increase
                    | F::Delta
                    | F::Irate
                    | F::Idelta
                    | F::SumOverTime
                    | F::AvgOverTime
                    | F::LastOverTime
                    | F::FirstOverTime
            ),
            Read::Instant { .. } | Read::Smoothed { .. } | Read::FloatTime { .. } => false,
        },
        Op::Map { function: MapFunction::Negate | MapFunction::WithScalar { .. }, .. } | Op::Repeat => input(),
        Op::Map { .. } => true,
        Op::Aggregate { kind: AggregateKind::Sum | AggregateKind::Avg, .. } => input(),
        Op::Aggregate { .. } | Op::Quantile { .. } | Op::CountValues { .. } => true,
        Op::Set { op: SetOp::And | SetOp::Unless, .. } => input(),
        _ => false,
    }
}

/// Whether no two rows have the same values of the labels that `on` keeps.
pub(super) fn is_unique_on(plan: &Plan, on: &Grouping) -> bool {
    let input = || is_unique_on(&plan.inputs[0], on);
    match &plan.op {
        Op::Aggregate { grouping, .. } | Op::Quantile { grouping, .. } => keeps_all_of(on, grouping),
        // Where names are dropped and rows could become equal, there is a merge above, and this is not asked.
        Op::Scan(Scan { names: NameRule::Drop, .. }) => keeps_all_but_name(on),
        // A name that all series share does not tell them apart.
        Op::Scan(scan) => {
            let one_name = |m: &Matcher| m.name == METRIC_NAME && m.op == MatchOp::Equal && !m.value.is_empty();
            scan.selector.matchers.iter().any(one_name) && keeps_all_but_name(on)
        }
        Op::Map { names, .. } if names.drops() => keeps_all_but_name(on) || is_unique_on(&plan.inputs[0], &lasting(on)),
        Op::Map { .. } => input(),
        Op::AggregateK { .. } | Op::Sort(_) | Op::Repeat => input(),
        Op::Set { op: SetOp::And | SetOp::Unless, .. } => input(),
        _ => false,
    }
}

fn keeps_all_but_name(on: &Grouping) -> bool {
    on.without && on.labels.is_empty()
}

/// Without labels that go with the name.
fn lasting(on: &Grouping) -> Grouping {
    let metadata = METADATA_LABELS.map(str::to_owned);
    let labels = match on.without {
        true => [on.labels.as_slice(), metadata.as_slice()].concat(),
        false => on.labels.iter().filter(|label| !is_metadata_label(label)).cloned().collect(),
    };
    Grouping::new(on.without, &labels)
}

/// Whether `on` keeps each label that rows of a grouping may have.
fn keeps_all_of(on: &Grouping, grouping: &Grouping) -> bool {
    match (on.without, grouping.without) {
        (_, false) => grouping.labels.iter().all(|label| on.keeps(label)),
        (true, true) => on.labels.iter().all(|label| grouping.labels.contains(label)),
        (false, true) => false,
    }
}
