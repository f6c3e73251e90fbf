//! The order in which a run visits its data: a fresh permutation per epoch, known from the seed
//! and the position alone, so that a resumed run needs nothing but its step number.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::TrainError;

/// Mixes numbers into one seed (`SplitMix64` finaliser over each).
#[must_use]
pub fn mix(parts: &[u64]) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for part in parts {
        state = state.wrapping_add(*part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
    }
    state
}

/// Indices of the items at positions `start..start + count` of an endless stream that shuffles
/// `len` items anew every epoch. Empty where `len` is 0.
#[must_use]
pub fn stream(len: usize, start: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut out = Vec::with_capacity(count);
    if len == 0 {
        return out;
    }
    let mut position = start;
    while out.len() < count {
        let (epoch, offset) = (position / len, position % len);
        let permutation = permutation(len, seed, epoch as u64);
        let take = (count - out.len()).min(len - offset);
        out.extend_from_slice(&permutation[offset..offset + take]);
        position += take;
    }
    out
}

/// The items of a step that takes `count` at a time.
///
/// # Errors
///
/// The first that cannot be built.
pub fn batch<T>(
    len: usize,
    step: u64,
    count: usize,
    seed: u64,
    item: &dyn Fn(usize) -> Result<T, TrainError>,
) -> Result<Vec<T>, TrainError> {
    let start = usize::try_from(step).unwrap_or(usize::MAX).saturating_mul(count);
    stream(len, start, count, seed).into_iter().map(item).collect()
}

fn permutation(len: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(mix(&[seed, epoch])));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_visits_every_item_once_and_any_cut_gives_the_same_stream() {
        let whole = stream(7, 0, 21, 3);
        for epoch in whole.chunks(7) {
            let mut seen = epoch.to_vec();
            seen.sort_unstable();
            assert_eq!(seen, (0..7).collect::<Vec<_>>());
        }
        assert_ne!(whole[..7], whole[7..14]);
        let mut parts = stream(7, 0, 5, 3);
        parts.extend(stream(7, 5, 16, 3));
        assert_eq!(parts, whole);
    }
}
