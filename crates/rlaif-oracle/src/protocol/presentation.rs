//! The orders in which candidates are shown.
//!
//! ```text
//! repeat k of R, candidate in slot s = base[(s + floor(k n / R)) mod n]      R != 2
//! ```
//!
//! `base` is a seeded shuffle. With `R = n` the repeats are a Latin square: each candidate stands in
//! each slot once. Two repeats are the shuffle and its reverse.

use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

/// The shuffle of `candidates` that the others are made of.
pub(super) fn base(candidates: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order
}

/// The order of repeat `repeat` of `repeats`.
pub(super) fn shown(base: &[usize], repeat: u32, repeats: u32) -> Vec<usize> {
    let mut order = base.to_vec();
    if repeats == 2 {
        if repeat == 1 {
            order.reverse();
        }
        return order;
    }
    order.rotate_left(repeat as usize * base.len() / repeats as usize);
    order
}

/// Which candidate of a pair is shown first where it is shown once.
///
/// Around the circle of `base` each candidate is first against the half that follows it, so that a
/// judge who prefers the first prefers nobody; every second repeat turns all pairs around.
pub(super) struct Turns {
    slot: Vec<usize>,
    turned: bool,
}

impl Turns {
    pub(super) fn new(base: &[usize], repeat: u32) -> Self {
        let mut slot = vec![0; base.len()];
        for (at, candidate) in base.iter().enumerate() {
            slot[*candidate] = at;
        }
        Turns { slot, turned: repeat % 2 == 1 }
    }

    /// The pair in the order shown.
    pub(super) fn pair(&self, a: usize, b: usize) -> [usize; 2] {
        let n = self.slot.len();
        let ahead = (self.slot[b] + n - self.slot[a]) % n;
        let first = match (2 * ahead).cmp(&n) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => self.slot[a] < self.slot[b],
            std::cmp::Ordering::Greater => false,
        };
        if first == self.turned { [b, a] } else { [a, b] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_repeats_as_candidates_are_a_latin_square() {
        for n in 3..8_u32 {
            let base = base(n as usize, 7);
            for slot in 0..n as usize {
                let mut seen: Vec<usize> = (0..n).map(|k| shown(&base, k, n)[slot]).collect();
                seen.sort_unstable();
                assert_eq!(seen, (0..n as usize).collect::<Vec<_>>(), "{n} {slot}");
            }
        }
    }

    #[test]
    fn fewer_repeats_spread_over_the_slots_and_two_are_mirrored() {
        let base = [3, 1, 4, 0, 2, 5];
        let three: Vec<Vec<usize>> = (0..3).map(|k| shown(&base, k, 3)).collect();
        assert_eq!(three, [[3, 1, 4, 0, 2, 5], [4, 0, 2, 5, 3, 1], [2, 5, 3, 1, 4, 0]]);
        assert_eq!(shown(&base, 0, 2), base);
        assert_eq!(shown(&base, 1, 2), [5, 2, 0, 4, 1, 3]);
        assert_eq!(shown(&base, 0, 1), base);
    }

    #[test]
    fn a_seed_is_an_order() {
        assert_eq!(base(20, 1), base(20, 1));
        assert_ne!(base(20, 1), base(20, 2));
    }

    #[test]
    fn everyone_is_shown_first_about_equally_often_and_repeats_turn_pairs_around() {
        for n in 2..10 {
            let base = base(n, 3);
            let mut first = vec![0; n];
            let (even, odd) = (Turns::new(&base, 0), Turns::new(&base, 1));
            for a in 0..n {
                for b in 0..a {
                    first[even.pair(a, b)[0]] += 1;
                    assert_eq!(even.pair(a, b), even.pair(b, a));
                    let [x, y] = odd.pair(a, b);
                    assert_eq!(even.pair(a, b), [y, x]);
                }
            }
            let (least, most) = (first.iter().min().unwrap(), first.iter().max().unwrap());
            assert!(most - least <= usize::from(n % 2 == 0), "{first:?}");
        }
    }
}
