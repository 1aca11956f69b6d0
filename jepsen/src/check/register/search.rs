//! Wing and Gong's search for an order that explains a history, with Lowe's memory of what was tried.
//!
//! Calls and returns are one list in order of time. The first call that the register allows is taken out of the list, with its
//! return; a return that is met first belongs to a call that should have come before, so the last choice is undone. A call
//! without a return may happen at any time after it, or never.

use std::collections::HashSet;

use crate::history::RegisterCall;

/// A call with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub call: RegisterCall,
    pub called_ns: u64,
    /// `None`: it may have happened, or not.
    pub returned_ns: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Linearizable,
    /// No order exists; `stuck` is the call whose return could be passed least.
    Impossible {
        stuck: usize,
    },
    GivenUp,
}

type State = Option<u64>;

/// The register after the call; `None` when it could not have answered so.
pub(super) fn step(state: State, call: RegisterCall) -> Option<State> {
    match call {
        RegisterCall::Read(seen) => (seen == state).then_some(state),
        RegisterCall::Write(value) => Some(Some(value)),
        RegisterCall::Cas { from, to, swapped: true } => (state == from).then_some(Some(to)),
        RegisterCall::Cas { from, swapped: false, .. } => (state != from).then_some(state),
    }
}

pub(super) fn search(calls: &[Call], memo_max: usize) -> Answer {
    let mut list = List::new(calls);
    let mut done = Bits::new(calls.len());
    let mut memo: HashSet<(Bits, State)> = HashSet::new();
    let mut taken: Vec<(usize, State)> = Vec::new();
    let mut state: State = None;
    let mut furthest = (0, 0);
    let mut node = list.first();
    while list.returns_left > 0 {
        let Some(at) = node else { unreachable!("a return is in the list, and nothing passes it") };
        match list.nodes[at].event {
            ListEvent::Call(id) => {
                let next = step(state, calls[id].call).filter(|&next| memo.insert((done.with(id), next)));
                if memo.len() > memo_max {
                    return Answer::GivenUp;
                }
                if let Some(next) = next {
                    taken.push((id, std::mem::replace(&mut state, next)));
                    done.flip(id);
                    list.lift(id);
                    node = list.first();
                } else {
                    node = list.nodes[at].next;
                }
            }
            ListEvent::Return(id) => {
                furthest = furthest.max((taken.len() + 1, id));
                let Some((undone, before)) = taken.pop() else { return Answer::Impossible { stuck: furthest.1 } };
                state = before;
                done.flip(undone);
                list.unlift(undone);
                node = list.nodes[list.call_of[undone]].next;
            }
        }
    }
    Answer::Linearizable
}

#[derive(Clone, Copy, Debug)]
enum ListEvent {
    Call(usize),
    Return(usize),
}

#[derive(Clone, Copy, Debug)]
struct ListNode {
    event: ListEvent,
    prev: Option<usize>,
    next: Option<usize>,
}

/// A doubly linked list that gives calls out and takes them back where they were.
#[derive(Debug)]
struct List {
    nodes: Vec<ListNode>,
    head: Option<usize>,
    call_of: Vec<usize>,
    return_of: Vec<Option<usize>>,
    returns_left: usize,
}

impl List {
    fn new(calls: &[Call]) -> Self {
        let called = calls.iter().enumerate().map(|(id, call)| (call.called_ns, 0, ListEvent::Call(id)));
        let returned = calls.iter().enumerate();
        // At the same instant calls come first: then they may overlap.
        let returned = returned.filter_map(|(id, call)| Some((call.returned_ns?, 1, ListEvent::Return(id))));
        let mut events: Vec<_> = called.chain(returned).collect();
        events.sort_by_key(|&(at, order, _)| (at, order));
        let last = events.len().saturating_sub(1);
        let mut list = Self {
            nodes: Vec::with_capacity(events.len()),
            head: (!events.is_empty()).then_some(0),
            call_of: vec![0; calls.len()],
            return_of: vec![None; calls.len()],
            returns_left: 0,
        };
        for (at, (_, _, event)) in events.into_iter().enumerate() {
            match event {
                ListEvent::Call(id) => list.call_of[id] = at,
                ListEvent::Return(id) => {
                    list.return_of[id] = Some(at);
                    list.returns_left += 1;
                }
            }
            list.nodes.push(ListNode { event, prev: at.checked_sub(1), next: (at < last).then_some(at + 1) });
        }
        list
    }

    fn first(&self) -> Option<usize> {
        self.head
    }

    fn lift(&mut self, id: usize) {
        self.unlink(self.call_of[id]);
        if let Some(at) = self.return_of[id] {
            self.unlink(at);
            self.returns_left -= 1;
        }
    }

    /// Undoes the last [`Self::lift`] that was not undone.
    fn unlift(&mut self, id: usize) {
        if let Some(at) = self.return_of[id] {
            self.link(at);
            self.returns_left += 1;
        }
        self.link(self.call_of[id]);
    }

    fn unlink(&mut self, at: usize) {
        let ListNode { prev, next, .. } = self.nodes[at];
        self.join(prev, next);
    }

    fn join(&mut self, prev: Option<usize>, next: Option<usize>) {
        match prev {
            Some(prev) => self.nodes[prev].next = next,
            None => self.head = next,
        }
        if let Some(next) = next {
            self.nodes[next].prev = prev;
        }
    }

    fn link(&mut self, at: usize) {
        let ListNode { prev, next, .. } = self.nodes[at];
        match prev {
            Some(prev) => self.nodes[prev].next = Some(at),
            None => self.head = Some(at),
        }
        if let Some(next) = next {
            self.nodes[next].prev = Some(at);
        }
    }
}

/// Which calls are done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    fn flip(&mut self, at: usize) {
        self.0[at / 64] ^= 1 << (at % 64);
    }

    fn with(&self, at: usize) -> Self {
        let mut bits = self.clone();
        bits.flip(at);
        bits
    }
}
