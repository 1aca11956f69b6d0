//! Makes a failing case small: fewer steps, fewer series, fewer samples, a part of the expression.

use pharos_promql::{Expr, ParserOptions, ValueType, parse_expr};

use crate::case::{Case, Verdict};
use crate::data::Data;

/// Smaller cases that are tried at most.
const TRIES_MAX: usize = 5000;

/// The smallest case found that still fails, and how it fails.
pub(crate) async fn shrink(mut case: Case, mut data: Data, mut verdict: Verdict) -> (Case, Data, Verdict) {
    let mut tries = 0;
    'again: loop {
        for (smaller_case, smaller_data) in candidates(&case, &data) {
            tries += 1;
            if tries > TRIES_MAX {
                return (case, data, verdict);
            }
            let found = smaller_case.verdict(&smaller_data).await;
            if matches!(found, Verdict::Differs { .. }) {
                (case, data, verdict) = (smaller_case, smaller_data, found);
                continue 'again;
            }
        }
        return (case, data, verdict);
    }
}

/// Cases one step smaller, the boldest first.
fn candidates(case: &Case, data: &Data) -> Vec<(Case, Data)> {
    let with_text = |text| (Case { text, ..case.clone() }, data.clone());
    let mut list: Vec<(Case, Data)> = parts(&case.text).into_iter().map(with_text).collect();
    list.extend(fewer_steps(case).into_iter().map(|case| (case, data.clone())));
    list.extend(fewer_series(data).into_iter().map(|data| (case.clone(), data)));
    list.extend(fewer_samples(data).into_iter().map(|data| (case.clone(), data)));
    if case.partitions > 1 {
        list.push((Case { partitions: 1, ..case.clone() }, data.clone()));
    }
    list
}

/// Expressions in which one node gave way to a node of the same type below it.
fn parts(text: &str) -> Vec<String> {
    let expr = parse_expr(text, &ParserOptions::ALL).expect("it was evaluated");
    let mut nodes = Vec::new();
    expr.walk(&mut |node| nodes.push(node.clone()));
    let mut smaller = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let mut below = Vec::new();
        node.walk(&mut |inner| below.push(inner));
        for inner in below.into_iter().skip(1).filter(|inner| is_exchangeable(node, inner)) {
            let mut whole = expr.clone();
            let mut index = 0;
            whole.walk_mut(&mut |visited| {
                if index == at {
                    *visited = inner.clone();
                }
                index += 1;
            });
            smaller.push(whole.to_string());
        }
    }
    smaller.retain(|other| parse_expr(other, &ParserOptions::ALL).is_ok() && other.len() < text.len());
    smaller.sort_by_key(String::len);
    smaller.dedup();
    smaller
}

fn is_exchangeable(node: &Expr, inner: &Expr) -> bool {
    let of = |expr: &Expr| expr.value_type();
    of(node) == of(inner) && matches!(of(node), ValueType::Vector | ValueType::Scalar | ValueType::Matrix)
}

fn fewer_steps(case: &Case) -> Vec<Case> {
    let Some(step_ms) = case.step_ms else { return Vec::new() };
    let steps = (case.end_ms - case.start_ms) / step_ms;
    if steps == 0 {
        return vec![Case { end_ms: case.start_ms, step_ms: None, ..case.clone() }];
    }
    let mut shorter = Vec::new();
    for (from, to) in [(0, steps / 2), ((steps + 1) / 2, steps), (1, steps), (0, steps - 1)] {
        let (start_ms, end_ms) = (case.start_ms + from * step_ms, case.start_ms + to * step_ms);
        shorter.push(Case { start_ms, end_ms, ..case.clone() });
    }
    shorter
}

fn fewer_series(data: &Data) -> Vec<Data> {
    pieces(data.series.len())
        .into_iter()
        .map(|(from, to)| {
            let mut fewer = data.clone();
            fewer.series.drain(from..to);
            fewer
        })
        .collect()
}

fn fewer_samples(data: &Data) -> Vec<Data> {
    let mut list = Vec::new();
    for (at, series) in data.series.iter().enumerate() {
        for (from, to) in pieces(series.samples.len()) {
            let mut fewer = data.clone();
            fewer.series[at].samples.drain(from..to);
            list.push(fewer);
        }
        for (from, to) in pieces(series.histograms.len()) {
            let mut fewer = data.clone();
            fewer.series[at].histograms.drain(from..to);
            list.push(fewer);
        }
    }
    list
}

/// What to leave out of a list: each half, each quarter, and so on to each item.
fn pieces(len: usize) -> Vec<(usize, usize)> {
    let sizes = std::iter::successors(Some(len.div_ceil(2)), |size| (*size > 1).then(|| size.div_ceil(2)));
    let of_size = |size: usize| (0..len).step_by(size).map(move |from| (from, len.min(from + size)));
    sizes.filter(|size| *size > 0).flat_map(of_size).collect()
}
