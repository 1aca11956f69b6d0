//! The rows of both sides by match group, and the steps at which anything can match.

use datafusion::common::Result;
use hashbrown::HashMap;
use pharos_model::LabelSet;
use pharos_promql::ast::Cardinality;

use super::Members;
use crate::batch::{RowBuffer, RowId};
use crate::error::QueryError;
use crate::exec::context::fail;
use crate::functions::grid::is_set;
use crate::plan::Matching;

/// One match group: rows with the same values of the labels that are matched on.
#[derive(Default)]
pub(super) struct Group {
    pub many: Members,
    pub one: Members,
}

pub(super) struct Sides<'a> {
    pub many: &'a RowBuffer,
    pub one: &'a RowBuffer,
    groups: HashMap<Vec<u8>, Group>,
    /// Steps at which matching takes place at all. Where a side is empty nothing is computed and nothing is an error,
    /// unless fill values stand in for it.
    active: Vec<u64>,
}

impl<'a> Sides<'a> {
    pub(super) fn new(left: &'a RowBuffer, right: &'a RowBuffer, matching: &Matching, words: usize) -> Self {
        let (many, one) = if matching.card == Cardinality::OneToMany { (right, left) } else { (left, right) };
        let mut groups: HashMap<Vec<u8>, Group> = HashMap::new();
        let mut key = Vec::new();
        for id in many.ids() {
            matching.on.key_of(many.get(id).labels, &mut key);
            groups.entry_ref(key.as_slice()).or_default().many.push(id);
        }
        for id in one.ids() {
            matching.on.key_of(one.get(id).labels, &mut key);
            groups.entry_ref(key.as_slice()).or_default().one.push(id);
        }
        let filled = matching.fill_left.is_some() || matching.fill_right.is_some();
        let (many_any, one_any) = (any(many, words), any(one, words));
        let join = |a: u64, b: u64| if filled { a | b } else { a & b };
        let active = many_any.iter().zip(&one_any).map(|(a, b)| join(*a, *b)).collect();
        Self { many, one, groups, active }
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// Active steps that both bitmaps have.
    pub(super) fn both(&self, a: &[u64], b: &[u64]) -> Vec<u64> {
        a.iter().zip(b).zip(&self.active).map(|((a, b), active)| a & b & active).collect()
    }

    /// Active steps that `a` has and `b` does not.
    pub(super) fn without(&self, a: &[u64], b: &[u64]) -> Vec<u64> {
        a.iter().zip(b).zip(&self.active).map(|((a, b), active)| a & !b & active).collect()
    }

    /// Steps at which any of the rows is present.
    pub(super) fn union(&self, rows: &RowBuffer, members: &Members) -> Vec<u64> {
        let mut union = vec![0; self.active.len()];
        for id in members {
            union.iter_mut().zip(rows.get(*id).present).for_each(|(union, present)| *union |= present);
        }
        union
    }

    /// Refuses two rows of the "one" side at one step.
    pub(super) fn check_one_side(&self, group: &Group, matching: &Matching) -> Result<()> {
        let mut seen = vec![0u64; self.active.len()];
        for id in &group.one {
            for (word, present) in self.one.get(*id).present.iter().enumerate() {
                let present = present & self.active[word];
                let twice = seen[word] & present;
                if twice != 0 {
                    return Err(self.duplicate(group, matching, word * 64 + twice.trailing_zeros() as usize));
                }
                seen[word] |= present;
            }
        }
        Ok(())
    }

    fn duplicate(&self, group: &Group, matching: &Matching, step: usize) -> datafusion::common::DataFusionError {
        let at_step = |id: &&RowId| is_set(self.one.get(**id).present, step);
        let mut found: Vec<LabelSet> = group
            .one
            .iter()
            .filter(at_step)
            .map(|id| LabelSet::from_canonical_trusted(self.one.get(*id).labels))
            .collect();
        // Sorted, so that the text does not depend on the order of reading.
        found.sort();
        let matched = found[0].filter(|name| matching.on.keeps(name));
        let side = if matching.card == Cardinality::OneToMany { "left" } else { "right" };
        fail(QueryError::Execution(format!(
            "found duplicate series for the match group {matched} on the {side} hand-side of the operation: [{}, {}];\
             many-to-many matching not allowed: matching labels must be unique on one side",
            found[0], found[1]
        )))
    }
}

fn any(rows: &RowBuffer, words: usize) -> Vec<u64> {
    let mut any = vec![0u64; words];
    for row in rows.rows() {
        any.iter_mut().zip(row.present).for_each(|(any, present)| *any |= present);
    }
    any
}
