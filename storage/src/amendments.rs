//! Which samples of the past have changed, for those who keep what they have made of them.
//!
//! A reader says up to which time it relies on samples ([`Amendments::rely`]). From then on each change to a sample at or before
//! that time is noted, whatever makes it: a late sample, a source that catches up, a deletion, retention. Nothing depends on clocks: what
//! is not relied on costs one comparison. Not part of the replicated state: it lives and dies with the process.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;
use pharos_model::{TenantId, TimeRange, TimestampMs};

/// Changes that are told apart for each tenant; of more, the oldest become one that covers them.
const NOTES_MAX: usize = 32;

/// Counts the changes that were noted. Those of a store that was opened later in the same process are larger, so that one of a store
/// that is gone never passes for one of its successor.
pub type Revision = u64;

/// Stores of this process so far.
static STORES: AtomicU64 = AtomicU64::new(0);
/// Revisions of one store: a million changes a second for twelve days.
const STORE_REVISIONS: Revision = 1 << 40;

/// The state that a reader relies on, and what has changed since the one it relied on before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reliance {
    pub revision: Revision,
    /// Samples outside of these ranges are as they were.
    pub amended: Vec<TimeRange>,
}

/// The changes of one store.
#[derive(Debug)]
pub struct Amendments {
    /// Nobody relies on what is later.
    relied_until_ms: AtomicI64,
    notes: Mutex<Notes>,
}

#[derive(Debug)]
struct Notes {
    revision: Revision,
    /// When everything may have changed; at first, when the store was opened.
    everything: Revision,
    /// Of tenants that somebody relies on samples of.
    by_tenant: HashMap<TenantId, TenantNotes>,
}

#[derive(Debug)]
struct TenantNotes {
    relied_until_ms: TimestampMs,
    /// Oldest first.
    changes: VecDeque<(Revision, TimeRange)>,
}

impl Default for Amendments {
    fn default() -> Self {
        let first = STORES.fetch_add(1, Ordering::Relaxed) * STORE_REVISIONS;
        let notes = Notes { revision: first, everything: first, by_tenant: HashMap::new() };
        Self { relied_until_ms: AtomicI64::new(TimestampMs::MIN), notes: Mutex::new(notes) }
    }
}

impl Amendments {
    /// Has changes noted from now on. The caller sees to it that what is read after this has all changes that are not noted.
    pub fn rely(&self, tenant: &TenantId, until_ms: TimestampMs, since: Option<Revision>) -> Reliance {
        self.relied_until_ms.fetch_max(until_ms, Ordering::SeqCst);
        self.notes.lock().rely(tenant, until_ms, since)
    }

    /// Notes that samples in a range may have changed, if anybody relies on them.
    pub fn note(&self, tenant: &TenantId, range: TimeRange) {
        if range.start_ms <= self.relied_until_ms.load(Ordering::SeqCst) && !range.is_empty() {
            self.notes.lock().add(tenant, range);
        }
    }

    /// Notes new samples.
    pub fn note_samples(&self, tenant: &TenantId, times: impl Iterator<Item = TimestampMs>) {
        let relied_until_ms = self.relied_until_ms.load(Ordering::SeqCst);
        if relied_until_ms == TimestampMs::MIN {
            return;
        }
        let none = TimeRange::new(TimestampMs::MAX, TimestampMs::MIN);
        let old = times.filter(|ts| *ts <= relied_until_ms);
        self.note(tenant, old.fold(none, |all, ts| all.union(TimeRange::new(ts, ts))));
    }

    /// Notes that any sample of any tenant may have changed.
    pub fn note_everything(&self) {
        let mut notes = self.notes.lock();
        notes.revision += 1;
        notes.everything = notes.revision;
        notes.by_tenant.values_mut().for_each(|notes| notes.changes.clear());
    }
}

impl Notes {
    fn rely(&mut self, tenant: &TenantId, until_ms: TimestampMs, since: Option<Revision>) -> Reliance {
        let new = TenantNotes { relied_until_ms: until_ms, changes: VecDeque::new() };
        let notes = self.by_tenant.entry(tenant.clone()).or_insert(new);
        notes.relied_until_ms = notes.relied_until_ms.max(until_ms);
        let amended = match since {
            None => Vec::new(),
            Some(since) if self.everything > since => vec![TimeRange::ALL],
            Some(since) => notes.since(since),
        };
        Reliance { revision: self.revision, amended }
    }

    fn add(&mut self, tenant: &TenantId, range: TimeRange) {
        let notes = self.by_tenant.get_mut(tenant).filter(|notes| range.start_ms <= notes.relied_until_ms);
        if let Some(notes) = notes {
            self.revision += 1;
            notes.add(self.revision, range);
        }
    }
}

impl TenantNotes {
    fn add(&mut self, revision: Revision, range: TimeRange) {
        if let Some((newest, known)) = self.changes.back_mut()
            && known.union(range) == *known
        {
            *newest = revision;
            return;
        }
        self.changes.push_back((revision, range));
        if self.changes.len() > NOTES_MAX
            && let (Some((_, oldest)), Some((_, next))) = (self.changes.pop_front(), self.changes.front_mut())
        {
            *next = next.union(oldest);
        }
    }

    fn since(&self, since: Revision) -> Vec<TimeRange> {
        self.changes.iter().filter(|(revision, _)| *revision > since).map(|(_, range)| *range).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start_ms: i64, end_ms: i64) -> TimeRange {
        TimeRange::new(start_ms, end_ms)
    }

    fn since(amendments: &Amendments, revision: Revision) -> Vec<TimeRange> {
        amendments.rely(&TenantId::anonymous(), TimestampMs::MIN, Some(revision)).amended
    }

    #[test]
    fn only_what_is_relied_on_is_noted() {
        let (tenant, amendments) = (TenantId::anonymous(), Amendments::default());
        amendments.note_samples(&tenant, [1, 2].into_iter());
        amendments.note(&tenant, range(1, 5));
        let before = amendments.rely(&tenant, 100, None).revision;
        amendments.note_samples(&tenant, [101, 102].into_iter());
        amendments.note(&tenant, range(101, 200));
        assert_eq!(since(&amendments, before), []);
        amendments.note_samples(&tenant, [101, 90, 100, 95].into_iter());
        amendments.note(&tenant, range(50, 200));
        assert_eq!(since(&amendments, before), [range(90, 100), range(50, 200)]);
        // A later reader that relies on less takes nothing from those before it.
        let after = amendments.rely(&tenant, 10, None).revision;
        amendments.note(&tenant, range(60, 60));
        assert_eq!(since(&amendments, after), [range(50, 200)]);
    }

    #[test]
    fn tenants_do_not_disturb_each_other_unless_everything_changes() {
        let (tenant, amendments) = (TenantId::anonymous(), Amendments::default());
        let other = TenantId::new("other").unwrap();
        let before = amendments.rely(&tenant, 100, None).revision;
        amendments.note(&other, range(1, 2));
        amendments.rely(&other, 100, None);
        amendments.note(&other, range(1, 2));
        assert_eq!((since(&amendments, before), amendments.notes.lock().revision), (vec![], before + 1));
        amendments.note_everything();
        assert_eq!(since(&amendments, before), [TimeRange::ALL]);
        let after = amendments.rely(&tenant, 100, None).revision;
        amendments.note(&tenant, range(1, 2));
        assert_eq!(since(&amendments, after), [range(1, 2)]);
    }

    #[test]
    fn what_relied_on_a_store_that_is_gone_has_changed() {
        let tenant = TenantId::anonymous();
        let gone = Amendments::default();
        let before = gone.rely(&tenant, 100, None).revision;
        gone.note(&tenant, range(1, 2));
        let after = gone.rely(&tenant, 100, None).revision;
        let successor = Amendments::default();
        for earlier in [before, after] {
            assert_eq!(since(&successor, earlier), [TimeRange::ALL]);
        }
        let own = successor.rely(&tenant, 100, None).revision;
        assert_eq!(since(&successor, own), []);
    }

    #[test]
    fn many_changes_are_kept_in_little_room_and_none_is_forgotten() {
        let (tenant, amendments) = (TenantId::anonymous(), Amendments::default());
        let revisions: Vec<Revision> = (0..200)
            .map(|i| {
                let revision = amendments.rely(&tenant, 10_000, None).revision;
                amendments.note(&tenant, range(i * 10, i * 10 + 1));
                revision
            })
            .collect();
        assert_eq!(amendments.notes.lock().by_tenant[&tenant].changes.len(), NOTES_MAX);
        for (i, revision) in revisions.into_iter().enumerate() {
            let amended = since(&amendments, revision);
            for later in i as i64..200 {
                assert!(amended.iter().any(|range| range.contains(later * 10)), "{later} after {revision}");
            }
        }
    }
}
