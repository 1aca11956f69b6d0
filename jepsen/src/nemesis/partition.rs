//! Who does not hear whom. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// How a cluster is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Two parts that do not hear each other, one of them with a majority.
    Halves,
    /// A minority is heard, but hears nothing.
    Deaf,
    /// A minority hears, but is not heard.
    Mute,
    /// Each node hears its two neighbours only.
    Ring,
    /// One node alone.
    Alone,
    /// Two halves, cut and joined again and again.
    Flapping,
}

impl Shape {
    pub const ALL: [Self; 6] = [Self::Halves, Self::Deaf, Self::Mute, Self::Ring, Self::Alone, Self::Flapping];
}

/// For each node those whose packets it drops.
pub type Grudges = BTreeMap<usize, BTreeSet<usize>>;

/// The cut of nodes in this order: the first ones are in the minority.
pub fn grudges(shape: Shape, order: &[usize]) -> Grudges {
    let minority = match shape {
        Shape::Alone => 1,
        _ => (order.len() - 1) / 2,
    };
    let place = |node: usize| order.iter().position(|&other| other == node).unwrap_or(0);
    let near = |a: usize, b: usize| {
        let distance = place(a).abs_diff(place(b));
        distance.min(order.len() - distance) <= 1
    };
    let few = |node: usize| place(node) < minority;
    let deaf = |to: usize, from: usize| match shape {
        Shape::Halves | Shape::Alone | Shape::Flapping => few(to) != few(from),
        Shape::Deaf => few(to) && !few(from),
        Shape::Mute => !few(to) && few(from),
        Shape::Ring => !near(to, from),
    };
    order.iter().map(|&to| (to, order.iter().copied().filter(|&from| deaf(to, from)).collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(shape: Shape, order: &[usize]) -> Vec<(usize, Vec<usize>)> {
        grudges(shape, order).into_iter().map(|(to, from)| (to, from.into_iter().collect())).collect()
    }

    #[test]
    fn halves_do_not_hear_each_other() {
        let expected = [(0, vec![1, 2]), (1, vec![0]), (2, vec![0])];
        assert_eq!(cut(Shape::Halves, &[0, 1, 2]), expected);
        assert_eq!(cut(Shape::Flapping, &[0, 1, 2]), expected);
        let five = cut(Shape::Halves, &[4, 2, 0, 1, 3]);
        assert_eq!(five[4], (4, vec![0, 1, 3]));
        assert_eq!(five[0], (0, vec![2, 4]));
    }

    #[test]
    fn one_way_leaves_the_other_way_open() {
        assert_eq!(cut(Shape::Deaf, &[1, 0, 2]), [(0, vec![]), (1, vec![0, 2]), (2, vec![])]);
        assert_eq!(cut(Shape::Mute, &[1, 0, 2]), [(0, vec![1]), (1, vec![]), (2, vec![1])]);
    }

    #[test]
    fn a_ring_of_five_hears_neighbours() {
        assert_eq!(cut(Shape::Ring, &[0, 1, 2, 3, 4])[0], (0, vec![2, 3]));
    }

    #[test]
    fn alone_is_one_node() {
        let cut = cut(Shape::Alone, &[3, 0, 1, 2, 4]);
        assert_eq!(cut[3], (3, vec![0, 1, 2, 4]));
        assert_eq!(cut[0], (0, vec![3]));
    }
}
