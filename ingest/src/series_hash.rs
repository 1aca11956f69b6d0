//! The keyed hash under which raw series bytes are remembered.
//!
//! Invariant: nobody outside the process knows the secret, so nobody can make two series collide on purpose; by
//! accident two of 10^9 series do with probability 10^-20.

/// Bytes of XXH3's secret; its default has the same length.
const SECRET_BYTES: usize = 192;

/// XXH3-128 under a secret. Equal within one process only: never store its output.
#[derive(Clone)]
pub struct SeriesHasher {
    secret: Box<[u8; SECRET_BYTES]>,
}

impl SeriesHasher {
    /// `seed` has to be random and private; equal seeds give equal hashes.
    pub fn new(seed: u128) -> Self {
        let mut secret = Box::new([0; SECRET_BYTES]);
        let mut state = [seed as u64, (seed >> 64) as u64];
        for (i, word) in secret.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&split_mix(&mut state[i % 2]).to_le_bytes());
        }
        Self { secret }
    }

    pub fn hash(&self, bytes: &[u8]) -> u128 {
        twox_hash::XxHash3_128::oneshot_with_secret(&*self.secret, bytes)
            .expect("the secret is longer than the shortest one allowed, 136 bytes")
    }
}

/// The next output of the SplitMix64 generator.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The secret stays out of logs.
impl std::fmt::Debug for SeriesHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SeriesHasher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_the_hash() {
        let (a, b) = (SeriesHasher::new(1), SeriesHasher::new(1 << 64));
        for len in [0, 1, 16, 17, 128, 129, 240, 241, 1000] {
            let bytes = vec![7; len];
            assert_eq!(a.hash(&bytes), SeriesHasher::new(1).hash(&bytes));
            assert_ne!(a.hash(&bytes), b.hash(&bytes), "{len}");
        }
    }
}
