//! Orders the rows of an instant query.

use std::cmp::Ordering;

use datafusion::common::Result;
use pharos_model::LabelSet;

use super::input::{Gathered, Output, RowStream, once};
use super::node::Call;
use super::order::sort_by;
use crate::batch::RowId;
use crate::plan::{Op, SortBy};

/// Labels and value of a row, and the row.
type Entry = (LabelSet, f64, RowId);

pub(super) fn run(call: Call) -> Result<RowStream> {
    Ok(once(async move {
        let Op::Sort(by) = &*call.op else { unreachable!("planned as a sort") };
        let input = Gathered::from_input(&call, 0).await?;
        let mut order: Vec<Entry> = input
            .rows
            .ids()
            .map(|id| (LabelSet::from_canonical_trusted(input.rows.get(id).labels), input.rows.get(id).values[0], id))
            .collect();
        match by {
            SortBy::Value { descending } => {
                // Histograms have no order.
                order.retain(|(_, _, id)| !input.rows.get(*id).has_histograms());
                let compare = |(a_labels, a, _): &Entry, (b_labels, b, _): &Entry| {
                    by_value(*a, *b, *descending).then_with(|| a_labels.cmp(b_labels))
                };
                sort_by(&mut order, compare, || call.query.check_deadline())?;
            }
            SortBy::Labels { names, descending } => {
                let compare = |(a, ..): &Entry, (b, ..): &Entry| {
                    let ordering = by_labels(a, b, names);
                    if *descending { ordering.reverse() } else { ordering }
                };
                sort_by(&mut order, compare, || call.query.check_deadline())?;
            }
        }
        let mut output = Output::new(call.grid.n);
        for (_, _, id) in order {
            call.query.check_deadline()?;
            output.builder()?.push(input.rows.get(id));
        }
        output.finish()
    }))
}

/// NaN comes last, whatever the direction.
fn by_value(a: f64, b: f64, descending: bool) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) if descending => b.partial_cmp(&a).expect("no NaN here"),
        (false, false) => a.partial_cmp(&b).expect("no NaN here"),
        (a_nan, b_nan) => a_nan.cmp(&b_nan),
    }
}

/// Label by label in natural order, then the whole label sets.
fn by_labels(a: &LabelSet, b: &LabelSet, names: &[String]) -> Ordering {
    names
        .iter()
        .map(|name| natural(a.get_or_empty(name), b.get_or_empty(name)))
        .find(|ordering| ordering.is_ne())
        .unwrap_or_else(|| a.cmp(b))
}

/// Natural order: runs of digits compare as numbers, all else by bytes.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let (Some(x), Some(y)) = (a.first(), b.first()) {
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (left, right) = (digits(&mut a), digits(&mut b));
            let ordering = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
            if ordering.is_ne() {
                return ordering;
            }
            continue;
        }
        if x != y {
            return x.cmp(y);
        }
        (a, b) = (&a[1..], &b[1..]);
    }
    a.len().cmp(&b.len())
}

/// Takes a run of digits, leading zeros left out.
fn digits<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    let zeros = run.iter().take_while(|byte| **byte == b'0').count();
    &run[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_inside_names_sort_by_value() {
        let mut names = ["node-10", "node-2", "node-1", "node", "node-02b", "a"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["a", "node", "node-1", "node-2", "node-02b", "node-10"]);
    }

    #[test]
    fn nan_is_last_in_both_directions() {
        for descending in [false, true] {
            assert_eq!(by_value(f64::NAN, 1.0, descending), Ordering::Greater);
            assert_eq!(by_value(1.0, f64::NAN, descending), Ordering::Less);
        }
    }
}
