//! Functions that look at labels rather than values.

use pharos_model::labels::METRIC_NAME;
use pharos_model::{LabelSet, LabelSetBuilder, MatchOp, Matcher};
use pharos_promql::ast::Call;
use pharos_promql::{Expr, ExprKind};

use super::rows::{Element, Grid, Rows, merge};
use super::{Plain, Refusal, Result};

impl Plain<'_> {
    pub(super) fn label_replace(&self, call: &Call, grid: &Grid) -> Result<Rows> {
        let [destination, replacement, source, pattern] = [1, 2, 3, 4].map(|i| text_of(&call.args[i]));
        let Ok(matcher) = Matcher::new(MatchOp::Regex, source.as_str(), pattern.as_str()) else {
            return Err(Refusal::new(format!("invalid regular expression in label_replace(): {pattern}")));
        };
        check_name("destination", "label_replace", &destination)?;
        let regex = matcher.regex().expect("made with a pattern");
        let mut rows = self.vector(&call.args[0], grid)?;
        for row in &mut rows {
            if let Some(captures) = regex.captures(row.labels.get_or_empty(&source)) {
                row.labels = with_label(&row.labels, &destination, &captures.expand(&replacement));
                row.drop_name &= destination != METRIC_NAME;
            }
        }
        merge(rows)
    }

    pub(super) fn label_join(&self, call: &Call, grid: &Grid) -> Result<Rows> {
        let (destination, separator) = (text_of(&call.args[1]), text_of(&call.args[2]));
        let sources: Vec<String> = call.args[3..].iter().map(text_of).collect();
        sources.iter().try_for_each(|source| check_name("source", "label_join", source))?;
        check_name("destination", "label_join", &destination)?;
        let mut rows = self.vector(&call.args[0], grid)?;
        for row in &mut rows {
            let values: Vec<&str> = sources.iter().map(|source| row.labels.get_or_empty(source)).collect();
            row.labels = with_label(&row.labels, &destination, &values.join(&separator));
            row.drop_name &= destination != METRIC_NAME;
        }
        merge(rows)
    }
}

fn check_name(what: &str, function: &str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Refusal::new(format!("invalid {what} label name in {function}(): {name}")));
    }
    Ok(())
}

fn with_label(labels: &LabelSet, name: &str, value: &str) -> LabelSet {
    let mut builder = labels.to_builder();
    builder.set(name, value);
    builder.build()
}

pub(super) fn unlabelled(value: f64) -> Element {
    Element { labels: LabelSet::empty(), drop_name: false, value }
}

/// The text of a string argument.
pub(super) fn text_of(arg: &Expr) -> String {
    match &arg.without_parens().kind {
        ExprKind::String(literal) => literal.text().into_owned(),
        other => unreachable!("no string: {other:?}"),
    }
}

/// The labels that whatever an argument selects must have: those that `=` fixes, unless a later matcher of the label takes
/// that back.
pub(super) fn certain(arg: &Expr) -> LabelSet {
    let matchers = arg.without_parens().selector().map_or(&[][..], |selector| &selector.matchers);
    let mut builder = LabelSetBuilder::default();
    let mut fixed: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| matcher.name != METRIC_NAME) {
        if matcher.op == MatchOp::Equal && !fixed.contains(&matcher.name.as_str()) {
            builder.set(&matcher.name, &matcher.value);
            fixed.push(&matcher.name);
        } else {
            builder.remove(&matcher.name);
        }
    }
    builder.build()
}
