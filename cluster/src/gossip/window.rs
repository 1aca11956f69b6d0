//! Which counters of a process were seen: a datagram counts once, however often it comes.

/// The newest counters, one bit each. Older ones count as seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// One more than the highest counter that was seen.
    next: u64,
    /// Bit `n` is the counter `next - 1 - n`.
    seen: u128,
}

impl Window {
    /// Whether a datagram of this counter may be taken.
    pub(super) fn is_new(self, counter: u64) -> bool {
        match self.next.checked_sub(1).and_then(|highest| highest.checked_sub(counter)) {
            None => true,
            Some(age) => age < u64::from(u128::BITS) && self.seen & (1 << age) == 0,
        }
    }

    /// The counter was that of a datagram that is who it says.
    pub(super) fn take(&mut self, counter: u64) {
        let next = counter.saturating_add(1);
        if next > self.next {
            let ahead = u32::try_from(next - self.next).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.next = next;
        } else if let age @ 0..128 = self.next - next {
            self.seen |= 1 << age;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_counter_is_taken_once_and_an_old_one_never() {
        let mut window = Window::default();
        for counter in [0, 5, 3, 4, 200] {
            assert!(window.is_new(counter), "{counter}");
            window.take(counter);
            assert!(!window.is_new(counter), "{counter}");
        }
        assert!(window.is_new(199) && window.is_new(73) && !window.is_new(72) && !window.is_new(1));
        assert!(window.is_new(u64::MAX - 1));
    }

    proptest! {
        #[test]
        fn nothing_is_taken_twice(counters in prop::collection::vec(0_u64..400, 1..300)) {
            let (mut window, mut taken) = (Window::default(), BTreeSet::new());
            for counter in counters {
                if window.is_new(counter) {
                    prop_assert!(taken.insert(counter));
                    window.take(counter);
                } else {
                    let highest = taken.last().copied().unwrap_or_default();
                    prop_assert!(taken.contains(&counter) || highest - counter >= 128);
                }
            }
        }
    }
}
