//! Batches that some places have had and others have not.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};

use crate::batch::{RowBatch, RowBuffer};
use crate::exec::context::QueryContext;
use crate::exec::node::Call;

pub(super) struct Backlog {
    rows: RowBuffer,
    /// Batches that all places have had.
    gone: usize,
    places: Vec<Place>,
    /// How the evaluation ended.
    end: Option<Result<(), Arc<DataFusionError>>>,
    most: Most,
    query: Arc<QueryContext>,
}

/// How large it may be while a place has not begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub bytes: usize,
    pub points: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    NotBegun,
    /// Has had so many batches.
    Reads(usize),
    /// Needs no batch any more, or reads elsewhere.
    Left,
}

impl Backlog {
    /// For `places` places; those that have not begun are left alone when it is larger than `most`.
    pub(super) fn new(places: usize, most: Most, call: &Call) -> Self {
        Self {
            rows: RowBuffer::new(QueryContext::reserve(&call.task, "shared rows")),
            gone: 0,
            places: vec![Place::NotBegun; places],
            end: None,
            most,
            query: Arc::clone(&call.query),
        }
    }

    /// Lets a place read from here. Not when it was left alone, nor a second time.
    pub(super) fn begin(&mut self, place: usize) -> bool {
        let begins = self.places[place] == Place::NotBegun;
        if begins {
            self.places[place] = Place::Reads(0);
        }
        begins
    }

    /// The next batch of a place, or that there is none; `None` when it is still to be made.
    pub(super) fn next(&mut self, place: usize) -> Option<Result<Option<RowBatch>>> {
        let Place::Reads(had) = self.places[place] else { unreachable!("a place reads between begin and leave") };
        match self.rows.batch(had - self.gone).cloned() {
            Some(batch) => {
                self.places[place] = Place::Reads(had + 1);
                self.trim();
                Some(Ok(Some(batch)))
            }
            None => match &self.end {
                None => None,
                Some(Ok(())) => Some(Ok(None)),
                Some(Err(error)) => Some(Err(DataFusionError::Shared(Arc::clone(error)))),
            },
        }
    }

    /// Whether [`Self::next`] knows what comes next.
    pub(super) fn has_next(&self, place: usize) -> bool {
        matches!(self.places[place], Place::Reads(had) if had < self.gone + self.rows.len()) || self.end.is_some()
    }

    /// Takes what the evaluation has made.
    pub(super) fn push(&mut self, made: Result<Option<RowBatch>>) {
        let kept = match made {
            Ok(Some(batch)) => self.keep(&batch),
            Ok(None) => {
                self.end = Some(Ok(()));
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            self.end = Some(Err(Arc::new(error)));
        }
    }

    fn keep(&mut self, batch: &RowBatch) -> Result<()> {
        let bytes = self.rows.bytes() + batch.bytes();
        if bytes > self.most.bytes || self.rows.points() + batch.points() > self.most.points {
            self.leave_alone();
        }
        self.pay(batch).or_else(|error| {
            // There may be too much of it elsewhere.
            if self.leave_alone() { self.pay(batch) } else { Err(error) }
        })
    }

    fn pay(&mut self, batch: &RowBatch) -> Result<()> {
        let points = batch.points();
        let paid = self.query.hold_samples(points).and_then(|()| self.rows.push(batch.clone()));
        if paid.is_err() {
            self.query.release_samples(points);
        }
        paid
    }

    /// Has places that have not begun evaluate for themselves. Whether there were any.
    fn leave_alone(&mut self) -> bool {
        let mut found = false;
        for place in self.places.iter_mut().filter(|place| **place == Place::NotBegun) {
            *place = Place::Left;
            found = true;
        }
        self.trim();
        found
    }

    /// A place wants no more.
    pub(super) fn leave(&mut self, place: usize) {
        self.places[place] = Place::Left;
        self.trim();
    }

    /// Drops what no place will read.
    fn trim(&mut self) {
        let had = |place: &Place| match place {
            Place::NotBegun => Some(0),
            Place::Reads(had) => Some(*had),
            Place::Left => None,
        };
        let needed = self.places.iter().filter_map(had).min().unwrap_or(usize::MAX);
        while self.gone < needed
            && let Some(batch) = self.rows.pop()
        {
            self.query.release_samples(batch.points());
            self.gone += 1;
        }
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.query.release_samples(self.rows.points());
    }
}
