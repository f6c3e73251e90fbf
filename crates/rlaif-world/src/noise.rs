//! Noise on a true order, of a stated size.
//!
//! A judge that errs is simulated by the Plackett-Luce model over the true order (Luce 1959,
//! Plackett 1975): block `k` of the order, counted from the best, has the weight
//! `exp(-strength k)`, and blocks are drawn one after another in proportion to their weights. Equal
//! answers (one block) move together and keep tying; unplaced ones stay unplaced.
//!
//! In this model block `i` comes before block `j` with probability
//! `1 / (1 + exp(-strength (j - i)))`, whatever else there is. So the expected Kendall tau-b to
//! the true order has a closed form:
//!
//! ```text
//! E[tau] = sum_(i<j) n_i n_j tanh(strength (j - i) / 2)  /  sum_(i<j) n_i n_j
//! ```
//!
//! with `n_i` candidates in block `i`; for strict orders it is the mean over pairs. It rises with
//! the strength from 0 to 1 and is solved for the strength by bisection.

use rand::Rng;
use rlaif_rank::Ranking;

/// The perturbed order of `truth`: `f64::INFINITY` leaves it as it is, 0 is any order of its
/// blocks with equal probability.
///
/// ```
/// use rand::SeedableRng;
/// use rlaif_rank::Ranking;
/// use rlaif_world::{perturb, strength_for_tau};
///
/// let truth = Ranking::from_order(&[2, 0, 1]).unwrap();
/// let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
/// assert_eq!(perturb(&truth, strength_for_tau(1.0, 3), &mut rng), truth);
/// ```
#[must_use]
pub fn perturb(truth: &Ranking, strength: f64, rng: &mut impl Rng) -> Ranking {
    // The largest sum of log-weight and Gumbel noise is a draw in proportion to the weights, and
    // the order of the sums is the order of draws without replacement.
    let n_blocks = truth.blocks().len();
    let keys: Vec<f64> = (0..n_blocks)
        .map(|block| {
            // In (0, 1]; the smallest positive number in place of 0 keeps the logarithm finite.
            let uniform = (1.0 - rng.random::<f64>()).max(f64::MIN_POSITIVE);
            let exponential = (-uniform.ln()).max(f64::MIN_POSITIVE);
            let log_weight = if block == 0 { 0.0 } else { -strength * block as f64 };
            log_weight - exponential.ln()
        })
        .collect();
    if strength.is_infinite() {
        return truth.clone();
    }
    let mut order: Vec<usize> = (0..n_blocks).collect();
    order.sort_by(|a, b| keys[*b].total_cmp(&keys[*a]));
    let mut place = vec![0; n_blocks];
    for (position, block) in order.into_iter().enumerate() {
        place[block] = position;
    }
    let levels = truth.levels().iter().map(|level| level.map(|block| place[block])).collect();
    // As many candidates as `truth` has, and that is at least one.
    Ranking::from_ranks(levels).unwrap_or_else(|_| truth.clone())
}

/// Expected Kendall tau-b between `truth` and its [`perturb`]ed order; 1 for a `truth` that ties
/// everything, which noise cannot change.
#[must_use]
pub fn expected_tau(truth: &Ranking, strength: f64) -> f64 {
    let sizes: Vec<usize> = truth.blocks().iter().map(Vec::len).collect();
    expected(&sizes, strength)
}

/// The strength at which the expected Kendall tau-b between `truth` and its perturbed order is
/// `tau`. Values outside of [0, 1] count as the nearest of the two.
#[must_use]
pub fn strength_for(truth: &Ranking, tau: f64) -> f64 {
    let sizes: Vec<usize> = truth.blocks().iter().map(Vec::len).collect();
    solve(&sizes, tau)
}

/// The same for strict orders of `group_size` candidates.
///
/// ```
/// use rlaif_world::strength_for_tau;
///
/// // Two candidates: tanh(strength / 2) = 0.5.
/// assert!((strength_for_tau(0.5, 2) - 3_f64.ln()).abs() < 1e-9);
/// assert_eq!(strength_for_tau(0.0, 5), 0.0);
/// assert_eq!(strength_for_tau(1.0, 5), f64::INFINITY);
/// ```
#[must_use]
pub fn strength_for_tau(tau: f64, group_size: usize) -> f64 {
    solve(&vec![1; group_size], tau)
}

fn expected(sizes: &[usize], strength: f64) -> f64 {
    let (mut agreement, mut pairs) = (0.0, 0.0);
    for (j, second) in sizes.iter().enumerate() {
        for (i, first) in sizes[..j].iter().enumerate() {
            let weight = (first * second) as f64;
            agreement += weight * (strength * (j - i) as f64 / 2.0).tanh();
            pairs += weight;
        }
    }
    if pairs > 0.0 { agreement / pairs } else { 1.0 }
}

fn solve(sizes: &[usize], tau: f64) -> f64 {
    if tau <= 0.0 || tau.is_nan() {
        return 0.0;
    }
    // tanh(32) is 1 in 64 bits, so that no tau below 1 needs more than a strength of 64.
    let (mut low, mut high) = (0.0, 64.0);
    if tau >= 1.0 || sizes.len() < 2 || expected(sizes, high) <= tau {
        return f64::INFINITY;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if expected(sizes, middle) < tau { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rlaif_rank::kendall_tau_b;

    use super::*;

    fn mean_tau(truth: &Ranking, strength: f64) -> f64 {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let n = 20_000;
        let tau =
            |rng: &mut ChaCha8Rng| kendall_tau_b(truth, &perturb(truth, strength, rng)).unwrap();
        (0..n).map(|_| tau(&mut rng)).sum::<f64>() / f64::from(n)
    }

    #[test]
    fn the_mean_tau_is_the_stated_one() {
        let strict = Ranking::from_order(&[3, 0, 4, 1, 2]).unwrap();
        let tied = Ranking::parse("[1] = [2] > [3] > [4] = [5] = [6]", 6).unwrap();
        for tau in [0.9, 0.7, 0.4, 0.1, 0.0] {
            // Standard error below 0.006.
            let mean = mean_tau(&strict, strength_for_tau(tau, 5));
            assert!((mean - tau).abs() < 0.02, "{mean} is not {tau}");
            let mean = mean_tau(&tied, strength_for(&tied, tau));
            assert!((mean - tau).abs() < 0.025, "{mean} is not {tau} with ties");
        }
    }

    #[test]
    fn without_strength_all_orders_are_equally_likely() {
        let truth = Ranking::from_order(&[0, 1, 2]).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..6000 {
            *counts.entry(perturb(&truth, 0.0, &mut rng).to_string()).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn what_cannot_be_perturbed_stays() {
        let tied = Ranking::all_tied(4).unwrap();
        assert!(strength_for(&tied, 0.3).is_infinite());
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        assert_eq!(perturb(&tied, 0.0, &mut rng), tied);
        assert!((expected_tau(&tied, 0.0) - 1.0).abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn blocks_and_gaps_stay_whole(
            ranks in proptest::collection::vec(proptest::option::of(0_usize..5), 1..8), seed: u64,
            strength in 0.0..3.0,
        ) {
            let truth = Ranking::from_ranks(ranks).unwrap();
            let noisy = perturb(&truth, strength, &mut ChaCha8Rng::seed_from_u64(seed));
            let sorted = |ranking: &Ranking| {
                let mut blocks = ranking.blocks();
                blocks.sort();
                blocks
            };
            prop_assert_eq!(sorted(&noisy), sorted(&truth));
            prop_assert_eq!(noisy.unplaced(), truth.unplaced());
        }

        #[test]
        fn the_strength_solves_its_equation(
            ranks in proptest::collection::vec(0_usize..6, 2..9), tau in 0.0..0.999,
        ) {
            let truth = Ranking::from_ranks(ranks.into_iter().map(Some).collect()).unwrap();
            prop_assume!(!truth.is_all_tied());
            prop_assert!((expected_tau(&truth, strength_for(&truth, tau)) - tau).abs() < 1e-9);
        }
    }
}
