//! Warnings and infos, as texts with the place they are about.

use std::collections::BTreeMap;

use pharos_model::number::format_g;
use pharos_promql::{Expr, Span};

use super::Plain;

/// What is said of a query: each text once, with the first place it is about if that is looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remarks(BTreeMap<String, Option<Span>>);

impl Remarks {
    /// Texts with `(line:column)`, sorted.
    pub(crate) fn render(&self, query: &str) -> Vec<String> {
        let show = |(text, about): (&String, &Option<Span>)| match about {
            Some(span) => format!("{text} ({})", span.position(query)),
            None => text.clone(),
        };
        self.0.iter().map(show).collect()
    }
}

impl Plain<'_> {
    pub(super) fn warn(&self, about: Span, text: impl Into<String>) {
        self.remark(Some(about), format!("PromQL warning: {}", text.into()));
    }

    pub(super) fn inform(&self, about: Option<Span>, text: impl Into<String>) {
        self.remark(about, format!("PromQL info: {}", text.into()));
    }

    fn remark(&self, about: Option<Span>, text: String) {
        let mut remarks = self.remarks.borrow_mut();
        let first = remarks.0.entry(text).or_insert(about);
        *first = about.min(*first);
    }

    /// Complains of a quantile that is none.
    pub(super) fn check_quantile(&self, phi: f64, arg: &Expr) {
        if !(0.0..=1.0).contains(&phi) {
            let text = format!("quantile value should be between 0 and 1, got {}", format_g(phi));
            self.warn(arg.without_parens().span, text);
        }
    }
}
