//! Finds patterns that need no engine: sets of literals, and literals with `.*` or `.+` between them.

use regex_syntax::hir::ClassUnicode;

use super::parser::{Look, Node};

/// Most literals of a plain list `a|b|c`.
const LITERALS_MAX: usize = 16 << 10;
/// Most literals that come from multiplying out, as `[ab][cd]` or `x(1|2|3)y`.
const PRODUCT_MAX: usize = 256;
/// Most alternatives with gaps that are tried one after the other.
const GLOBS_MAX: usize = 16;

/// How values are matched.
#[derive(Debug)]
pub(super) enum Shape {
    /// Exactly these; sorted, without duplicates.
    Literals(Vec<String>),
    AnyOf(Vec<Glob>),
    Engine,
}

/// `first`, then for each gap any characters (at least `at_least`) and a literal, to the end of the value.
#[derive(Debug)]
pub(super) struct Glob {
    first: String,
    gaps: Vec<Gap>,
}

#[derive(Debug)]
struct Gap {
    at_least: usize,
    literal: String,
}

impl Shape {
    /// `node` is matched against whole values.
    pub(super) fn of(node: &Node) -> Self {
        if let Some(mut literals) = literals(node) {
            literals.sort_unstable();
            literals.dedup();
            return Self::Literals(literals);
        }
        let globs: Option<Vec<Glob>> = match uncaptured(node) {
            Node::Alternate(subs) if subs.len() <= GLOBS_MAX => subs.iter().map(Glob::of).collect(),
            other => Glob::of(other).map(|glob| vec![glob]),
        };
        globs.map_or(Self::Engine, Self::AnyOf)
    }

    /// Whether the program of the pattern is bounded by its length, and is not needed to match.
    pub(super) fn is_small(&self, is_short: bool) -> bool {
        match self {
            Self::Literals(_) => true,
            Self::AnyOf(globs) => is_short && globs.iter().all(|glob| glob.gaps.iter().all(|gap| gap.at_least <= 1)),
            Self::Engine => false,
        }
    }
}

impl Glob {
    fn of(node: &Node) -> Option<Self> {
        let mut glob = Self { first: String::new(), gaps: Vec::new() };
        let node = uncaptured(node);
        let parts = match node {
            Node::Concat(subs) => subs.as_slice(),
            other => std::slice::from_ref(other),
        };
        for part in parts {
            match uncaptured(part) {
                Node::Empty => {}
                Node::Literal(text) => {
                    glob.gaps.last_mut().map_or(&mut glob.first, |gap| &mut gap.literal).push_str(text)
                }
                Node::Repeat(repeat) if repeat.max.is_none() && matches!(repeat.sub, Node::Any { newline: true }) => {
                    match glob.gaps.last_mut().filter(|gap| gap.literal.is_empty()) {
                        Some(gap) => gap.at_least += repeat.min as usize,
                        None => glob.gaps.push(Gap { at_least: repeat.min as usize, literal: String::new() }),
                    }
                }
                _ => return None,
            }
        }
        Some(glob)
    }

    pub(super) fn longest_literal(&self) -> &str {
        let literals = self.gaps.iter().map(|gap| gap.literal.as_str());
        literals.fold(&self.first, |longest, literal| if literal.len() > longest.len() { literal } else { longest })
    }

    pub(super) fn is_match(&self, value: &str) -> bool {
        if !has_prefix(value, &self.first) {
            return false;
        }
        let mut rest = &value[self.first.len()..];
        let Some((last, inner)) = self.gaps.split_last() else { return rest.is_empty() };
        // The leftmost place is always as good as any later one, because gaps take anything.
        for gap in inner {
            let Some(tail) = skip_chars(rest, gap.at_least) else { return false };
            let Some(found) = tail.find(gap.literal.as_str()) else { return false };
            rest = &tail[found + gap.literal.len()..];
        }
        let tail = skip_chars(rest, last.at_least);
        tail.is_some_and(|tail| last.literal.is_empty() || tail.ends_with(last.literal.as_str()))
    }
}

/// [`str::starts_with`] that compares nothing with nothing: an empty string lies at no address, and a vector load that is masked
/// out there takes the processor 200 ns.
pub(super) fn has_prefix(value: &str, prefix: &str) -> bool {
    prefix.is_empty() || value.starts_with(prefix)
}

/// What is left after `n` characters; `None` when there are fewer.
fn skip_chars(text: &str, n: usize) -> Option<&str> {
    let mut chars = text.chars();
    for _ in 0..n {
        chars.next()?;
    }
    Some(chars.as_str())
}

fn uncaptured(mut node: &Node) -> &Node {
    while let Node::Capture(_, sub) = node {
        node = sub;
    }
    node
}

/// The whole language of a node, if it is finite and small.
fn literals(node: &Node) -> Option<Vec<String>> {
    match node {
        Node::Empty => Some(vec![String::new()]),
        Node::Literal(text) => Some(vec![text.clone()]),
        Node::Class(class) => chars(class),
        Node::Capture(_, sub) => literals(sub),
        Node::Repeat(repeat) => match (repeat.min, repeat.max) {
            (_, Some(0)) => Some(vec![String::new()]),
            (1, Some(1)) => literals(&repeat.sub),
            (0, Some(1)) => {
                let mut set = literals(&repeat.sub)?;
                set.push(String::new());
                Some(set)
            }
            _ => None,
        },
        Node::Concat(subs) => {
            let mut product = vec![String::new()];
            for sub in subs {
                let set = literals(sub)?;
                let size = product.len() * set.len();
                if size > PRODUCT_MAX && product.len() > 1 && set.len() > 1 || size > LITERALS_MAX {
                    return None;
                }
                product = product.iter().flat_map(|head| set.iter().map(move |tail| format!("{head}{tail}"))).collect();
            }
            Some(product)
        }
        Node::Alternate(subs) => {
            let mut union = Vec::with_capacity(subs.len());
            for sub in subs {
                union.append(&mut literals(sub)?);
                if union.len() > LITERALS_MAX {
                    return None;
                }
            }
            Some(union)
        }
        Node::Any { .. } | Node::Look(_) => None,
    }
}

fn chars(class: &ClassUnicode) -> Option<Vec<String>> {
    let count: usize = class.ranges().iter().map(|range| range.len()).sum();
    (count <= PRODUCT_MAX)
        .then(|| class.ranges().iter().flat_map(|range| range.start()..=range.end()).map(String::from).collect())
}

/// The longest text that every match begins with, as far as it is easily seen.
pub(super) fn prefix(node: &Node) -> String {
    let mut out = String::new();
    push_prefix(node, &mut out);
    out
}

/// Appends the prefix of a node; whether the node matches exactly what was appended.
fn push_prefix(node: &Node, out: &mut String) -> bool {
    match node {
        Node::Empty => true,
        Node::Literal(text) => {
            out.push_str(text);
            true
        }
        Node::Capture(_, sub) => push_prefix(sub, out),
        Node::Concat(subs) => subs.iter().all(|sub| push_prefix(sub, out)),
        Node::Repeat(repeat) if repeat.min > 0 => {
            push_prefix(&repeat.sub, out);
            false
        }
        Node::Alternate(subs) => {
            let mut prefixes = subs.iter().map(prefix);
            let mut common = prefixes.next().unwrap_or_default();
            for other in prefixes {
                let same = common.char_indices().zip(other.chars()).find(|((_, a), b)| a != b).map(|((at, _), _)| at);
                common.truncate(same.unwrap_or(common.len().min(other.len())));
            }
            out.push_str(&common);
            false
        }
        // A position takes no text, so what follows it is still at the front; but the pattern may fail there.
        Node::Look(_) => true,
        Node::Repeat(_) | Node::Class(_) | Node::Any { .. } => false,
    }
}

/// Drops `^` where only the start of the value can be, and `$` at its end: the pattern is anchored anyway.
pub(super) fn without_outer_anchors(node: Node) -> Node {
    strip(node, true, true)
}

fn strip(node: Node, at_start: bool, at_end: bool) -> Node {
    match node {
        Node::Look(Look::TextStart) if at_start => Node::Empty,
        Node::Look(Look::TextEnd) if at_end => Node::Empty,
        Node::Capture(number, sub) => Node::Capture(number, Box::new(strip(*sub, at_start, at_end))),
        Node::Alternate(subs) => Node::Alternate(subs.into_iter().map(|sub| strip(sub, at_start, at_end)).collect()),
        Node::Concat(subs) => {
            let last = subs.len() - 1;
            let strip_one = |(i, sub)| strip(sub, at_start && i == 0, at_end && i == last);
            Node::Concat(subs.into_iter().enumerate().map(strip_one).collect())
        }
        // Once is not more than once.
        Node::Repeat(repeat) if repeat.min == 1 && repeat.max == Some(1) => strip(repeat.sub, at_start, at_end),
        other => other,
    }
}
