//! Finds parts of a plan that are there more than once, and has each evaluated once.
//!
//! Parts are equal when they compute the same at the same times, wherever in the text they stand. A part's evaluation
//! speaks for its first place: remarks name that one, as they do when each place makes its own.
//!
//! Any part that reads series is shared, the largest equal ones first. Whether its rows can be kept until the last place
//! has had them is only known once they are there, and decided then ([`crate::exec`]). What reads nothing is as cheap as its
//! copy, and an [`Op::Repeat`] larger than what it repeats, which is shared instead.

use hashbrown::{HashMap, HashSet};

use crate::plan::{Op, Plan, RangeCall, Read, Share, SubqueryWindow};

/// Puts an [`Op::Share`] above each part that is evaluated for more than one place.
pub(super) fn share(plan: &Plan) -> Plan {
    let mut known = Known::default();
    let root = known.tag(plan, QUERY);
    let mut places = Places { of: vec![0; known.parts.len()], seen: HashSet::new() };
    places.count(&root, &known);
    let mut rewrite = Rewrite { known: &known, places: &places.of, shares: HashMap::new() };
    rewrite.part(&root)
}

/// The times that a node is evaluated at, as far as they differ from those of the query.
type ScopeId = usize;
const QUERY: ScopeId = 0;

/// What changes the times for the node below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scope {
    Subquery(SubqueryWindow),
    Once,
}

/// Equal parts have equal ids.
type PartId = usize;

/// A node of the plan and the part that it is the top of.
struct Tagged<'a> {
    plan: &'a Plan,
    part: PartId,
    inputs: Vec<Tagged<'a>>,
}

#[derive(Default)]
struct Known<'a> {
    scopes: HashMap<(ScopeId, Scope), ScopeId>,
    ids: HashMap<(Op, Vec<PartId>, ScopeId), PartId>,
    parts: Vec<Part<'a>>,
}

struct Part<'a> {
    /// Where it stands first.
    first: &'a Plan,
    /// Times that it stands in the query.
    written: u32,
    reads_series: bool,
}

impl<'a> Known<'a> {
    fn tag(&mut self, plan: &'a Plan, scope: ScopeId) -> Tagged<'a> {
        let changed = match &plan.op {
            Op::RangeOverSubquery { window, .. } => Some(Scope::Subquery(*window)),
            Op::Repeat => Some(Scope::Once),
            _ => None,
        };
        let below = changed.map_or(scope, |changed| self.scope(scope, changed));
        let scopes = std::iter::once(below).chain(std::iter::repeat(scope));
        let inputs: Vec<Tagged<'a>> =
            plan.inputs.iter().zip(scopes).map(|(input, scope)| self.tag(input, scope)).collect();
        let part = self.part(plan, &inputs, scope);
        Tagged { plan, part, inputs }
    }

    fn scope(&mut self, outer: ScopeId, change: Scope) -> ScopeId {
        let new = self.scopes.len() + 1;
        *self.scopes.entry((outer, change)).or_insert(new)
    }

    fn part(&mut self, plan: &'a Plan, inputs: &[Tagged<'a>], scope: ScopeId) -> PartId {
        let below = inputs.iter().map(|input| input.part).collect();
        let id = *self.ids.entry((without_places(&plan.op), below, scope)).or_insert(self.parts.len());
        if id == self.parts.len() {
            let reads_series = matches!(plan.op, Op::Scan(_)) || inputs.iter().any(|i| self.parts[i.part].reads_series);
            self.parts.push(Part { first: plan, written: 0, reads_series });
        }
        let part = &mut self.parts[id];
        part.written += 1;
        if plan.span < part.first.span {
            part.first = plan;
        }
        id
    }

    fn can_share(&self, tagged: &Tagged<'_>) -> bool {
        self.parts[tagged.part].reads_series && !matches!(tagged.plan.op, Op::Repeat)
    }
}

/// An operator as it would be if all text were at one place.
fn without_places(op: &Op) -> Op {
    let nowhere = pharos_promql::Span::default();
    let mut op = op.clone();
    match &mut op {
        Op::Scan(scan) => {
            if let Read::Range { call, .. } = &mut scan.read {
                call.arg_spans.clear();
            }
        }
        Op::RangeOverSubquery { call: RangeCall { arg_spans, .. }, .. } | Op::Histogram { arg_spans, .. } => {
            arg_spans.clear();
        }
        Op::AggregateK { whole, .. } => *whole = nowhere,
        Op::Quantile { vector, .. } => *vector = nowhere,
        _ => {}
    }
    op
}

/// How many places use each part, when a part that is shared uses what is below it once.
struct Places {
    of: Vec<u32>,
    seen: HashSet<PartId>,
}

impl Places {
    fn count(&mut self, tagged: &Tagged<'_>, known: &Known<'_>) {
        self.of[tagged.part] += 1;
        if self.seen.insert(tagged.part) || !known.can_share(tagged) {
            tagged.inputs.iter().for_each(|input| self.count(input, known));
        }
    }
}

struct Rewrite<'a> {
    known: &'a Known<'a>,
    places: &'a [u32],
    /// What is shared so far.
    shares: HashMap<PartId, Shared>,
}

struct Shared {
    plan: Plan,
    /// For its next place.
    next: Share,
}

impl Rewrite<'_> {
    fn part(&mut self, tagged: &Tagged<'_>) -> Plan {
        let Some(share) = self.next_place(tagged) else { return self.node(tagged) };
        let plan = self.shares[&tagged.part].plan.clone();
        Plan { shape: plan.shape, span: plan.span, op: Op::Share(share), inputs: vec![plan] }
    }

    fn next_place(&mut self, tagged: &Tagged<'_>) -> Option<Share> {
        let places = self.places[tagged.part];
        if places < 2 || !self.known.can_share(tagged) {
            return None;
        }
        if !self.shares.contains_key(&tagged.part) {
            let plan = self.node(tagged);
            let id = u32::try_from(self.shares.len()).expect("a query is not that long");
            let next = Share { id, place: 0, places, written: self.known.parts[tagged.part].written };
            self.shares.insert(tagged.part, Shared { plan, next });
        }
        let next = &mut self.shares.get_mut(&tagged.part).expect("made above").next;
        let place = *next;
        next.place += 1;
        Some(place)
    }

    /// The node, with the text of where its part stands first.
    fn node(&mut self, tagged: &Tagged<'_>) -> Plan {
        let inputs = tagged.inputs.iter().map(|input| self.part(input)).collect();
        let spoken = self.known.parts[tagged.part].first;
        Plan { op: spoken.op.clone(), inputs, shape: spoken.shape, span: spoken.span }
    }
}
