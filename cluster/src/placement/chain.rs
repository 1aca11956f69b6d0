//! Chains of hand-overs that make two nodes more alike.
//!
//! Node loads are as even as the rules of who may hold what allow exactly when there is no such chain: it would be a cycle of
//! negative cost in the flow of partitions to nodes, with the square of a node's load as its cost.

/// One thing handed from a node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    pub partition: usize,
    pub from: usize,
    pub to: usize,
}

/// The shortest chain from a node to one that has at least two less, begun at the fullest node that has one. `best` says what
/// a node should hand to another, if it can hand anything.
pub(super) fn shortest(loads: &[usize], best: impl Fn(usize, usize) -> Option<usize>) -> Option<Vec<Hop>> {
    let least = loads.iter().min()?;
    let mut sources: Vec<usize> = (0..loads.len()).filter(|at| loads[*at] >= least + 2).collect();
    sources.sort_by_key(|at| (usize::MAX - loads[*at], *at));
    sources.into_iter().find_map(|source| from(source, loads, &best))
}

fn from(source: usize, loads: &[usize], best: impl Fn(usize, usize) -> Option<usize>) -> Option<Vec<Hop>> {
    let mut reached_by: Vec<Option<Hop>> = vec![None; loads.len()];
    let mut queue = std::collections::VecDeque::from([source]);
    while let Some(from) = queue.pop_front() {
        let fresh: Vec<usize> = (0..loads.len()).filter(|to| *to != source && reached_by[*to].is_none()).collect();
        let mut found: Vec<usize> = Vec::new();
        for to in fresh {
            if let Some(partition) = best(from, to) {
                reached_by[to] = Some(Hop { partition, from, to });
                found.push(to);
            }
        }
        let emptiest = found.iter().copied().min_by_key(|to| (loads[*to], *to));
        if let Some(end) = emptiest.filter(|to| loads[*to] + 2 <= loads[source]) {
            return Some(back(source, end, &reached_by));
        }
        queue.extend(found);
    }
    None
}

fn back(source: usize, end: usize, reached_by: &[Option<Hop>]) -> Vec<Hop> {
    let mut hops = Vec::new();
    let mut at = end;
    while at != source {
        let hop = reached_by[at].expect("every node on the way was reached by a hop");
        hops.push(hop);
        at = hop.from;
    }
    hops
}
