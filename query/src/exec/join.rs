//! Arithmetic and comparison between two vectors.
//!
//! Prometheus' rules hold for each step by itself: two series of one match group are legal on the "one" side as long as they are
//! never present together. So a hash join on labels will not do. Rows of both sides are gathered by their match group,
//! and each pair works on the steps where both have a value, found by AND of their bitmaps.

mod elements;
mod labels;
mod points;
mod sides;

use datafusion::common::Result;
use hashbrown::HashMap;
use pharos_promql::ast::{BinaryOp, Cardinality};

use self::elements::{Operand, Operands};
use self::labels::ResultLabels;
use self::points::Points;
use self::sides::{Group, Sides};
use super::context::{QueryContext, fail};
use super::input::{Gathered, RowStream, once};
use super::merge::RowMerger;
use super::node::Call;
use crate::batch::{Row, RowId};
use crate::error::QueryError;
use crate::functions::annotations;
use crate::plan::arithmetic::is_trim;
use crate::plan::{Matching, Op};
use crate::value::Point;

pub(super) fn run(call: Call) -> Result<RowStream> {
    Ok(once(async move {
        let left = Gathered::from_input(&call, 0).await?;
        let right = Gathered::from_input(&call, 1).await?;
        let Op::Match { op, matching, return_bool, names } = &*call.op else { unreachable!("planned as a match") };
        let mut sides = Sides::new(&left.rows, &right.rows, matching, call.grid.words());
        let duplicate = sides.first_duplicate();
        if let Some(duplicate) = &duplicate {
            // What else may be wrong counts only if it is so earlier.
            sides.end_before(duplicate.step());
        }
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
            points: Points::new(*op, *return_bool),
            has_collision: false,
        };
        let reservation = QueryContext::reserve(&call.task, "match");
        for group in sides.groups() {
            join.group(group)?;
            reservation.try_resize(join.output.bytes())?;
        }
        if join.has_collision {
            return Err(fail(collision(matching.card)));
        }
        if let Some(duplicate) = duplicate {
            return Err(fail(duplicate.error(matching)));
        }
        call.add_notes(join.points.notes);
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
    points: Points,
    /// Whether two results were one.
    has_collision: bool,
}

impl Join<'_> {
    fn group(&mut self, group: &Group) -> Result<()> {
        // Not swapped with the sides: `fill_left` stands in for the many side even under `group_right`, as in Prometheus.
        let (fill_many, fill_one) =
            (self.matching.fill_left.map(|fill| fill.0), self.matching.fill_right.map(|fill| fill.0));
        let one_present = self.sides.union(self.sides.one, &group.one);
        let mut taken = Taken::of(group, self.matching.card);
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
        if !taken.take(labels, &bits) {
            self.has_collision = true;
            return Ok(());
        }
        let (left, right) = if self.swapped { (one, many) } else { (many, one) };
        if left.has_histograms() || right.has_histograms() {
            self.points.compute([left, right], &mut bits, &mut self.values);
        } else if is_trim(self.op) {
            self.points.notes.add(annotations::incompatible_types("float", self.op.as_str(), "float"));
            return Ok(());
        } else {
            self.points.histograms.clear();
            let operands = Operands { left: left.operand(), right: right.operand() };
            if self.op.is_comparison() && !self.return_bool {
                operands.filter(self.op, &mut bits, &mut self.values);
            } else {
                operands.compute(self.op, &mut self.values);
            }
        }
        if bits.iter().all(|word| *word == 0) {
            return Ok(());
        }
        let (values, histograms) = (&self.values, Some(&self.points.histograms));
        self.output.add(Row { labels, drop_name, present: &bits, values, histograms })
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

    fn operand(self) -> Operand<'a> {
        match self {
            Self::Row(row) => Operand::Values(row.values),
            Self::Fill(value) => Operand::Fill(value),
        }
    }

    fn point(self, step: usize) -> Point {
        match self {
            Self::Row(row) => row.point(step),
            Self::Fill(value) => Point::Float(value),
        }
    }

    fn has_histograms(self) -> bool {
        matches!(self, Self::Row(row) if row.has_histograms())
    }
}

/// Which results of a match group exist at which steps, whether a filter keeps them or not.
enum Taken {
    /// A row on each side at most: their pairs are at steps of their own.
    Single,
    /// Matching one to one does not tell results apart.
    OneToOne(Vec<u64>),
    ByLabels(HashMap<Vec<u8>, Vec<u64>>),
}

impl Taken {
    fn of(group: &Group, card: Cardinality) -> Self {
        match card {
            _ if group.many.len() <= 1 && group.one.len() <= 1 => Self::Single,
            Cardinality::OneToOne => Self::OneToOne(Vec::new()),
            _ => Self::ByLabels(HashMap::new()),
        }
    }

    /// Whether there is no other result at these steps.
    fn take(&mut self, labels: &[u8], bits: &[u64]) -> bool {
        let seen = match self {
            Self::Single => return true,
            Self::OneToOne(seen) => seen,
            Self::ByLabels(seen) => seen.entry_ref(labels).or_default(),
        };
        seen.resize(bits.len(), 0);
        let is_free = seen.iter().zip(bits).all(|(seen, bits)| seen & bits == 0);
        seen.iter_mut().zip(bits).for_each(|(seen, bits)| *seen |= bits);
        is_free
    }
}

/// Of two results that are one.
fn collision(card: Cardinality) -> QueryError {
    QueryError::Execution(match card {
        Cardinality::OneToOne => {
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)".into()
        }
        _ => "multiple matches for labels: grouping labels must ensure unique matches".into(),
    })
}

/// Rows of one side that belong to one match group.
type Members = Vec<RowId>;
