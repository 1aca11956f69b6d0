//! Arithmetic and comparison between two vectors.
//!
//! Prometheus' rules hold for each step by itself: two series of one match group are legal on the "one" side as long as they are
//! never present together. So a hash join on labels will not do. Rows of both sides are gathered by their match group,
//! and each pair works on the steps where both have a value, found by AND of their bitmaps.

mod labels;
mod sides;

use datafusion::common::Result;
use pharos_promql::ast::{BinaryOp, Cardinality};

use self::labels::ResultLabels;
use self::sides::{Group, Sides};
use super::context::{QueryContext, fail};
use super::input::{Gathered, RowStream, once};
use super::merge::RowMerger;
use super::node::Call;
use crate::batch::{Row, RowId};
use crate::error::QueryError;
use crate::functions::grid::set_steps;
use crate::plan::arithmetic::{compare, is_trim, scalar_op};
use crate::plan::{Matching, Op};

pub(super) fn run(call: Call) -> Result<RowStream> {
    Ok(once(async move {
        let left = Gathered::from_input(&call, 0).await?;
        let right = Gathered::from_input(&call, 1).await?;
        let Op::Match { op, matching, return_bool, names } = &*call.op else { unreachable!("planned as a match") };
        let sides = Sides::new(&left.rows, &right.rows, matching, call.grid.words());
        let mut join = Join {
            op: *op,
            return_bool: *return_bool,
            query: &call.query,
            swapped: matching.card == Cardinality::OneToMany,
            matching,
            sides: &sides,
            labels: ResultLabels::new(*op, matching, *names),
            output: RowMerger::new(call.grid.n),
            values: vec![0.0; call.grid.n],
            trimmed_floats: false,
        };
        let reservation = QueryContext::reserve(&call.task, "match");
        for group in sides.groups() {
            join.group(group)?;
            reservation.try_resize(join.output.bytes())?;
        }
        if join.trimmed_floats {
            call.query.annotations.info(super::map::incompatible_floats(*op), call.span);
        }
        join.output.finish(&call.query)
    }))
}

struct Join<'a> {
    op: BinaryOp,
    return_bool: bool,
    query: &'a QueryContext,
    /// Whether the left side is the "one" side.
    swapped: bool,
    matching: &'a Matching,
    sides: &'a Sides<'a>,
    labels: ResultLabels<'a>,
    output: RowMerger,
    /// Of the row under way.
    values: Vec<f64>,
    trimmed_floats: bool,
}

impl Join<'_> {
    fn group(&mut self, group: &Group) -> Result<()> {
        self.sides.check_one_side(group, self.matching)?;
        // Not swapped with the sides: `fill_left` stands in for the many side even under `group_right`, as in Prometheus.
        let (fill_many, fill_one) =
            (self.matching.fill_left.map(|fill| fill.0), self.matching.fill_right.map(|fill| fill.0));
        let one_present = self.sides.union(self.sides.one, &group.one);
        let mut taken = Taken::default();
        for many in &group.many {
            self.query.check_deadline()?;
            let many = self.sides.many.get(*many);
            for one in &group.one {
                let one = self.sides.one.get(*one);
                let bits = self.sides.both(many.present, one.present);
                self.pair(Side::Row(many), Side::Row(one), bits, &mut taken)?;
            }
            if let Some(fill) = fill_one {
                let bits = self.sides.without(many.present, &one_present);
                self.pair(Side::Row(many), Side::Fill(fill), bits, &mut taken)?;
            }
        }
        if let Some(fill) = fill_many {
            let many_present = self.sides.union(self.sides.many, &group.many);
            for one in &group.one {
                self.query.check_deadline()?;
                let one = self.sides.one.get(*one);
                let bits = self.sides.without(one.present, &many_present);
                self.pair(Side::Fill(fill), Side::Row(one), bits, &mut taken)?;
            }
        }
        Ok(())
    }

    /// Computes the steps in `bits` of the two sides.
    fn pair(&mut self, many: Side<'_>, one: Side<'_>, mut bits: Vec<u64>, taken: &mut Taken) -> Result<()> {
        if bits.iter().all(|word| *word == 0) {
            return Ok(());
        }
        let (labels, drop_name) = self.labels.of(many.row(), one.row());
        taken.take(self.matching.card, &labels, &bits)?;
        for (word, bits) in bits.iter_mut().enumerate() {
            for bit in set_steps(&[*bits]) {
                let step = word * 64 + bit;
                let (many, one) = (many.value(step), one.value(step));
                let (left, right) = if self.swapped { (one, many) } else { (many, one) };
                match self.element(left, right) {
                    Some(value) => self.values[step] = value,
                    None => *bits &= !(1 << bit),
                }
            }
        }
        if bits.iter().any(|word| *word != 0) {
            self.output.add(Row { labels: &labels, drop_name, present: &bits, values: &self.values })?;
        }
        Ok(())
    }

    /// The value of two elements; `None` when a filter drops it.
    fn element(&mut self, left: f64, right: f64) -> Option<f64> {
        match self.op {
            op if is_trim(op) => {
                self.trimmed_floats = true;
                None
            }
            op if op.is_comparison() => {
                let holds = compare(op, left, right);
                if self.return_bool { Some(f64::from(holds)) } else { holds.then_some(left) }
            }
            op => Some(scalar_op(op, left, right)),
        }
    }
}

/// One side of a pair: a series, or the value that stands in for one. The labels of a stand-in are those that were matched on.
#[derive(Clone, Copy)]
enum Side<'a> {
    Row(Row<'a>),
    Fill(f64),
}

impl<'a> Side<'a> {
    fn row(self) -> Option<Row<'a>> {
        match self {
            Self::Row(row) => Some(row),
            Self::Fill(_) => None,
        }
    }

    fn value(self, step: usize) -> f64 {
        match self {
            Self::Row(row) => row.values[step],
            Self::Fill(value) => value,
        }
    }
}

/// Which results of a match group exist at which steps, whether a filter keeps them or not.
#[derive(Default)]
struct Taken {
    /// Result labels (none told apart when matching one to one) and steps.
    seen: Vec<(Vec<u8>, Vec<u64>)>,
}

impl Taken {
    fn take(&mut self, card: Cardinality, labels: &[u8], bits: &[u64]) -> Result<()> {
        let one_to_one = card == Cardinality::OneToOne;
        let key = if one_to_one { &[] } else { labels };
        match self.seen.iter_mut().find(|(known, _)| known == key) {
            None => self.seen.push((key.to_vec(), bits.to_vec())),
            Some((_, seen)) => {
                if seen.iter().zip(bits).any(|(seen, bits)| seen & bits != 0) {
                    let why = if one_to_one {
                        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                    } else {
                        "multiple matches for labels: grouping labels must ensure unique matches"
                    };
                    return Err(fail(QueryError::Execution(why.into())));
                }
                seen.iter_mut().zip(bits).for_each(|(seen, bits)| *seen |= bits);
            }
        }
        Ok(())
    }
}

/// Rows of one side that belong to one match group.
type Members = Vec<RowId>;
