//! The rows of both sides by match group, and the steps at which anything can match.

use hashbrown::HashMap;
use pharos_model::LabelSet;
use pharos_promql::ast::Cardinality;

use super::Members;
use crate::batch::{RowBuffer, RowId};
use crate::error::QueryError;
use crate::functions::grid::{is_set, set_steps};
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

    /// Where two rows of the "one" side first meet: at the earliest step, there the pair that comes first in the order of labels.
    pub(super) fn first_duplicate(&self) -> Option<Duplicate> {
        let mut first: Option<Duplicate> = None;
        for group in self.groups.values().filter(|group| group.one.len() > 1) {
            let Some(step) = self.first_step_twice(group) else { continue };
            if first.as_ref().is_none_or(|first| step <= first.step) {
                let found = self.pair_at(group, step);
                first = Some(first.map_or(found.clone(), |first| first.min(found)));
            }
        }
        first
    }

    fn first_step_twice(&self, group: &Group) -> Option<usize> {
        let mut seen = vec![0u64; self.active.len()];
        let mut twice = vec![0u64; self.active.len()];
        for id in &group.one {
            for (word, present) in self.one.get(*id).present.iter().enumerate() {
                twice[word] |= seen[word] & present & self.active[word];
                seen[word] |= present;
            }
        }
        set_steps(&twice).next()
    }

    fn pair_at(&self, group: &Group, step: usize) -> Duplicate {
        let at_step = |id: &&RowId| is_set(self.one.get(**id).present, step);
        let labels = |id: &RowId| LabelSet::from_canonical_trusted(self.one.get(*id).labels);
        let mut found: Vec<LabelSet> = group.one.iter().filter(at_step).map(labels).collect();
        // Sorted, so that the text does not depend on the order of reading.
        found.sort();
        let mut found = found.into_iter();
        let (Some(known), Some(second)) = (found.next(), found.next()) else { unreachable!("two rows have the step") };
        Duplicate { step, second, known }
    }

    /// Leaves out `step` and all after it.
    pub(super) fn end_before(&mut self, step: usize) {
        for (word, active) in self.active.iter_mut().enumerate() {
            *active &= match step.saturating_sub(word * 64) {
                steps @ 0..64 => (1 << steps) - 1,
                _ => u64::MAX,
            };
        }
    }
}

/// Two rows of the "one" side in one match group at one step. Ordered as Prometheus meets them, which looks at one step after the
/// other and finds a pair when it comes to the second of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Duplicate {
    step: usize,
    second: LabelSet,
    known: LabelSet,
}

impl Duplicate {
    pub(super) fn step(&self) -> usize {
        self.step
    }

    pub(super) fn error(&self, matching: &Matching) -> QueryError {
        let matched = self.known.filter(|name| matching.on.keeps(name));
        let side = if matching.card == Cardinality::OneToMany { "left" } else { "right" };
        QueryError::Execution(format!(
            "found duplicate series for the match group {matched} on the {side} hand-side of the operation: [{}, {}];\
             many-to-many matching not allowed: matching labels must be unique on one side",
            self.known, self.second
        ))
    }
}

fn any(rows: &RowBuffer, words: usize) -> Vec<u64> {
    let mut any = vec![0u64; words];
    for row in rows.rows() {
        any.iter_mut().zip(row.present).for_each(|(any, present)| *any |= present);
    }
    any
}
