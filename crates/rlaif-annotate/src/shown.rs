//! In which order an annotator sees the answers.

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

/// The candidates `0..candidates` in the order in which `annotator` sees them on `task`: another one
/// for each annotator and task, the same whenever the page is opened again.
#[must_use]
pub fn shown_order(annotator: &str, task: &str, candidates: usize) -> Vec<usize> {
    let seed = Sha256::new()
        .chain_update(annotator.len().to_le_bytes())
        .chain_update(annotator)
        .chain_update(task)
        .finalize();
    let mut order: Vec<usize> = (0..candidates).collect();
    order.shuffle(&mut ChaCha8Rng::from_seed(seed.into()));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_a_permutation_of_ones_own_and_stays() {
        let order = shown_order("ann", "t", 6);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4, 5]);
        assert_eq!(shown_order("ann", "t", 6), order);
        assert_ne!(shown_order("bob", "t", 6), order);
        assert_ne!(shown_order("ann", "u", 6), order);
    }

    #[test]
    fn every_candidate_stands_first_about_as_often() {
        let mut first = [0_u32; 4];
        for task in 0..400 {
            first[shown_order("ann", &task.to_string(), 4)[0]] += 1;
        }
        // 100 expected, standard deviation 8.7.
        assert!(first.iter().all(|n| (60..=140).contains(n)), "{first:?}");
    }
}
