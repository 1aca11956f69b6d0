//! What was answered is on every replica (W1, W2), nothing else than what was proposed, all in the same order, each once (W4).

use std::collections::BTreeSet;

use super::super::history::Elements;
use super::super::store::Element;
use crate::peers::NodeId;

/// `replicas` have come to rest: what each has, in its order.
pub(in super::super) fn check(partition: u16, elements: &Elements, replicas: &[(NodeId, Vec<Element>)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let proposed: BTreeSet<Element> = elements.proposed.iter().copied().collect();
    for (node, kept) in replicas {
        let set: BTreeSet<Element> = kept.iter().copied().collect();
        let lost: Vec<Element> = elements.answered.iter().copied().filter(|element| !set.contains(element)).collect();
        if !lost.is_empty() {
            wrong.push(format!("partition {partition} on node {node:x} lost {lost:?}"));
        }
        let phantoms: Vec<Element> = set.difference(&proposed).copied().collect();
        if !phantoms.is_empty() {
            wrong.push(format!("partition {partition} on node {node:x} has {phantoms:?}, which nobody proposed"));
        }
        if set.len() != kept.len() {
            wrong.push(format!("partition {partition} on node {node:x} has something twice"));
        }
    }
    if let Some(((first, kept), others)) = replicas.split_first() {
        for (node, other) in others.iter().filter(|(_, other)| other != kept) {
            let at = kept.iter().zip(other).take_while(|(one, other)| one == other).count();
            wrong.push(format!("partition {partition}: nodes {first:x} and {node:x} differ from element {at} on"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(replicas: &[&[Element]]) -> Vec<String> {
        let elements = Elements { proposed: vec![1, 2, 3], answered: vec![2, 1] };
        let replicas: Vec<(NodeId, Vec<Element>)> = (10..).zip(replicas.iter().map(|kept| kept.to_vec())).collect();
        check(0, &elements, &replicas)
    }

    #[test]
    fn what_nobody_was_told_of_may_be_there_or_not() {
        assert_eq!(checked(&[&[2, 1], &[2, 1]]), [""; 0]);
        assert_eq!(checked(&[&[2, 3, 1], &[2, 3, 1]]), [""; 0]);
    }

    #[test]
    fn losses_phantoms_repetitions_and_other_orders_are_told() {
        assert_eq!(checked(&[&[2]]), ["partition 0 on node a lost [1]"]);
        assert_eq!(checked(&[&[1, 2, 4]]), ["partition 0 on node a has [4], which nobody proposed"]);
        assert_eq!(checked(&[&[1, 2, 1]]), ["partition 0 on node a has something twice"]);
        assert_eq!(checked(&[&[1, 2], &[2, 1]]), ["partition 0: nodes a and b differ from element 0 on"]);
    }
}
