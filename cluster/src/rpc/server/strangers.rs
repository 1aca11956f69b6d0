//! Accepted connections on which no node has said yet who it is. When there are too many, the oldest goes: a node says who it is at
//! once, so whoever floods the port with silent connections pushes out its own.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio_util::sync::CancellationToken;

pub(super) struct Strangers {
    max: usize,
    gauge: IntGauge,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    next: u64,
    taken: BTreeMap<u64, CancellationToken>,
}

/// A stranger, until dropped.
pub(super) struct Place<'a> {
    strangers: &'a Strangers,
    id: u64,
    /// Somebody else needs the place.
    pub(super) taken_away: CancellationToken,
}

impl Strangers {
    pub(super) fn new(max: usize, gauge: IntGauge) -> Self {
        Self { max, gauge, places: Mutex::default() }
    }

    pub(super) fn enter(&self) -> Place<'_> {
        let mut places = self.places.lock();
        while places.taken.len() >= self.max
            && let Some((_, oldest)) = places.taken.pop_first()
        {
            oldest.cancel();
        }
        let (id, taken_away) = (places.next, CancellationToken::new());
        places.next += 1;
        places.taken.insert(id, taken_away.clone());
        self.gauge.set(places.taken.len() as i64);
        Place { strangers: self, id, taken_away }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut places = self.strangers.places.lock();
        places.taken.remove(&self.id);
        self.strangers.gauge.set(places.taken.len() as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let gauge = IntGauge::new("strangers", "test").expect("a metric");
        let strangers = Strangers::new(2, gauge.clone());
        let (first, second) = (strangers.enter(), strangers.enter());
        drop(second);
        let second = strangers.enter();
        assert!(!first.taken_away.is_cancelled());
        let third = strangers.enter();
        assert!(first.taken_away.is_cancelled());
        assert!(!second.taken_away.is_cancelled() && !third.taken_away.is_cancelled());
        drop(first);
        assert_eq!(gauge.get(), 2);
    }
}
