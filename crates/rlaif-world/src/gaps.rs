//! Gaps in an order, of a stated size: candidates that a judge does not place.

use rand::Rng;
use rlaif_rank::Ranking;

/// `ranking` with each candidate left unplaced with `probability`, independently of where it
/// stands.
///
/// Two candidates stay placed whatever is drawn (all of them where there are no more), so that
/// the order still says something: those of the largest draws. Among few candidates fewer than
/// the stated share are therefore left out. One number is drawn a candidate, and a candidate that
/// is left out at one probability is left out at every larger one. Gaps that are there stay.
///
/// ```
/// use rand::SeedableRng;
/// use rlaif_rank::Ranking;
/// use rlaif_world::leave_unplaced;
///
/// let ranking = Ranking::from_order(&[2, 0, 1])?;
/// let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
/// assert_eq!(leave_unplaced(&ranking, 0.0, &mut rng), ranking);
/// assert_eq!(leave_unplaced(&ranking, 1.0, &mut rng).n_placed(), 2);
/// # Ok::<(), rlaif_rank::InvalidRanking>(())
/// ```
#[must_use]
pub fn leave_unplaced(ranking: &Ranking, probability: f64, rng: &mut impl Rng) -> Ranking {
    const FEWEST: usize = 2;
    let draws: Vec<f64> = (0..ranking.len()).map(|_| rng.random()).collect();
    let levels = ranking.levels();
    let mut placed: Vec<usize> = (0..draws.len()).filter(|i| levels[*i].is_some()).collect();
    placed.sort_by(|a, b| draws[*b].total_cmp(&draws[*a]));
    let stay = placed.iter().filter(|i| draws[**i] >= probability).count();
    placed.truncate(stay.max(FEWEST));
    let stays = |i: usize| levels[i].filter(|_| placed.contains(&i));
    // As many candidates as `ranking` has, and that is at least one.
    Ranking::from_ranks((0..draws.len()).map(stays).collect()).unwrap_or_else(|_| ranking.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Of five candidates with p = 0.3 each, the expected number left out is 1.5, less 1 where it
    /// would be four (5 * 0.3^4 * 0.7 = 0.02835) and less 2 where it would be all (0.00243):
    /// 1.46679.
    #[test]
    fn as_many_are_left_out_as_stated() {
        let order = Ranking::from_order(&[3, 0, 4, 1, 2]).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let n = 40_000;
        let mut left_out = [0_u32; 5];
        for _ in 0..n {
            for candidate in leave_unplaced(&order, 0.3, &mut rng).unplaced() {
                left_out[candidate] += 1;
            }
        }
        // Each of the five equally often, wherever it stands; standard error 0.0023.
        for count in left_out {
            let share = f64::from(count) / f64::from(n);
            assert!((share - 1.466_79 / 5.0).abs() < 0.01, "{left_out:?}");
        }
    }

    #[test]
    fn two_stay_and_of_two_both() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for n in 1..6 {
            let order = Ranking::from_order(&(0..n).collect::<Vec<_>>()).unwrap();
            for _ in 0..50 {
                assert_eq!(leave_unplaced(&order, 0.999, &mut rng).n_placed(), n.min(2));
            }
        }
    }

    proptest! {
        #[test]
        fn those_that_stay_keep_their_order(
            ranks in proptest::collection::vec(proptest::option::of(0_usize..5), 1..8), seed: u64,
            (low, high) in (0.0..1.0, 0.0..1.0),
        ) {
            let ranking = Ranking::from_ranks(ranks).unwrap();
            let gaps = |p: f64| leave_unplaced(&ranking, p, &mut ChaCha8Rng::seed_from_u64(seed));
            let partial = gaps(low);
            prop_assert!(partial.n_placed() >= ranking.n_placed().min(2));
            let placed: Vec<usize> =
                (0..ranking.len()).filter(|i| partial.levels()[*i].is_some()).collect();
            for a in &placed {
                for b in &placed {
                    prop_assert_eq!(
                        partial.levels()[*a].cmp(&partial.levels()[*b]),
                        ranking.levels()[*a].cmp(&ranking.levels()[*b])
                    );
                }
            }
            // More is left out at a larger probability, never something else.
            let (few, many) = (gaps(low.min(high)), gaps(low.max(high)));
            prop_assert!(few.unplaced().iter().all(|i| many.unplaced().contains(i)));
        }
    }
}
