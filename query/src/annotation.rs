//! What a query wants its user to know besides the answer.
//!
//! Operators report to one [`Annotations`] per query and process, beside the data rather than in it: a row says nothing of the
//! operator that met it, and most operators would only pass such rows on. Entries are plain data with a merge that does not depend on order,
//! so a plan fragment that runs on another node sends its collected entries once, when its stream ends, and the
//! receiver merges them into its own.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use pharos_promql::Span;

use crate::functions::notes::Monotonicity;
use crate::functions::{Note, Notes, Severity};

/// One remark and the place in the query it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// `PromQL warning: …` or `PromQL info: …`, without position.
    pub note: Note,
    pub span: Span,
}

impl Annotation {
    pub fn new(severity: Severity, text: String, span: Span) -> Self {
        Self { note: Note { severity, text, argument: 0, monotonicity: None }, span }
    }
}

/// Severity and text, which make a remark what it is.
type Remark = (Severity, String);
/// Where it is shown, and its figures if it has any.
type Place = (Span, Option<Monotonicity>);

/// The remarks of one query. Those with the same text are one, shown with the first place in the query.
#[derive(Debug, Default)]
pub struct Annotations {
    /// Ordered, so that the answer does not depend on which partition spoke first.
    seen: Mutex<BTreeMap<Remark, Place>>,
}

/// Distinct remarks that are kept for each query; the API shows fewer.
const ANNOTATIONS_MAX: usize = 10_000;

impl Annotations {
    pub fn add(&self, annotation: Annotation) {
        let Annotation { note, span } = annotation;
        let mut seen = self.seen.lock();
        let full = seen.len() >= ANNOTATIONS_MAX;
        let key = (note.severity, note.text);
        match seen.get_mut(&key) {
            None if full => {}
            None => drop(seen.insert(key, (span, note.monotonicity))),
            Some((first, details)) => {
                *first = span.min(*first);
                if let (Some(sum), Some(more)) = (details, note.monotonicity) {
                    sum.merge(more);
                }
            }
        }
    }

    pub fn warn(&self, text: impl Into<String>, span: Span) {
        self.add(Annotation::new(Severity::Warning, text.into(), span));
    }

    pub fn info(&self, text: impl Into<String>, span: Span) {
        self.add(Annotation::new(Severity::Info, text.into(), span));
    }

    /// Adds what a function had to say; each note names the argument it is about.
    pub fn add_notes(&self, notes: Notes, arg_spans: &[Span]) {
        for note in notes.into_vec() {
            let span = arg_spans.get(usize::from(note.argument)).copied().unwrap_or_default();
            self.add(Annotation { note, span });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.seen.lock().is_empty()
    }

    /// All remarks so far, for another collection of them to be added to.
    pub fn list(&self) -> Vec<Annotation> {
        let seen = self.seen.lock();
        let entry = |((severity, text), (span, details)): (&Remark, &Place)| {
            let note = Note { severity: *severity, text: text.clone(), argument: 0, monotonicity: *details };
            Annotation { note, span: *span }
        };
        seen.iter().map(entry).collect()
    }

    /// Warnings and infos as the API shows them, positions in `text` included.
    pub fn render(&self, text: &str) -> (Vec<String>, Vec<String>) {
        let (mut warnings, mut infos) = (Vec::new(), Vec::new());
        for Annotation { note, span } in self.list() {
            let shown = format!("{} ({})", note.to_text(), span.position(text));
            match note.severity {
                Severity::Warning => warnings.push(shown),
                Severity::Info => infos.push(shown),
            }
        }
        (warnings, infos)
    }
}
