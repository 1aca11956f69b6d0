//! What clients did and saw. Moments are counted, in the order in which things really happened: what ended before something else began
//! has the smaller number.

use std::collections::BTreeMap;

use super::store::Element;

pub(super) type Moment = u64;

/// One partition's elements.
#[derive(Clone, Debug, Default)]
pub(super) struct Elements {
    /// All that were proposed.
    pub proposed: Vec<Element>,
    /// Those that were answered, in that order: the first `n` were when the `n`-th answer came.
    pub answered: Vec<Element>,
}

/// A read or a write of a document that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub began: Moment,
    /// `None` when no answer came, or none that tells whether it was done.
    pub ended: Option<Moment>,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The version that was seen, 0 when there was none, and its content.
    Read { version: u64, content: String },
    /// Written as this version.
    Wrote { version: u64, content: String },
    /// Refused because the document was at another version than `expected`.
    Conflict { expected: u64, current: u64, content: String },
    /// Nobody knows whether it was written.
    Unknown { content: String },
}

/// All of a run.
#[derive(Debug, Default)]
pub(super) struct History {
    moments: Moment,
    elements_made: Element,
    pub elements: BTreeMap<u16, Elements>,
    /// By document.
    pub registers: BTreeMap<String, Vec<Access>>,
    pub reads: u64,
    /// What must not have been seen.
    pub violations: Vec<String>,
}

impl History {
    pub(super) fn moment(&mut self) -> Moment {
        self.moments += 1;
        self.moments
    }

    /// A new element that a client is about to propose.
    pub(super) fn propose(&mut self, partition: u16) -> Element {
        self.elements_made += 1;
        self.elements.entry(partition).or_default().proposed.push(self.elements_made);
        self.elements_made
    }

    pub(super) fn answered(&mut self, partition: u16, element: Element) {
        self.elements.entry(partition).or_default().answered.push(element);
    }

    pub(super) fn answers(&self, partition: u16) -> usize {
        self.elements.get(&partition).map_or(0, |elements| elements.answered.len())
    }

    pub(super) fn answered_first(&self, partition: u16, count: usize) -> Vec<Element> {
        self.elements.get(&partition).map_or_else(Vec::new, |elements| elements.answered[..count].to_vec())
    }

    /// Something is about to be written to a document: what becomes of it is told by [`History::end`].
    pub(super) fn begin(&mut self, document: &str, content: &str) -> usize {
        let began = self.moment();
        let accesses = self.registers.entry(document.to_owned()).or_default();
        accesses.push(Access { began, ended: None, what: What::Unknown { content: content.to_owned() } });
        accesses.len() - 1
    }

    pub(super) fn end(&mut self, document: &str, at: usize, what: What) {
        let ended = self.moment();
        let access = &mut self.registers.get_mut(document).expect("it was begun")[at];
        (access.ended, access.what) = (Some(ended), what);
    }

    pub(super) fn violated(&mut self, what: String) {
        // The first tell the cause.
        if self.violations.len() < 10 && !self.violations.contains(&what) {
            self.violations.push(what);
        }
    }
}
