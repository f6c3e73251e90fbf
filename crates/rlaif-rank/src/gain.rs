//! Position gains, and how well one order serves another: DCG and nDCG.
//!
//! ```text
//! relevance(k) = 1 / (1 + k)            what the candidate that the Oracle puts at k is worth
//! discount(k)  = 1 / log2(2 + k)        what a place k in the list is worth
//! gain(k)      = relevance(k) * discount(k) = 1 / ((1 + k) * log2(2 + k))
//!
//! DCG(order | Oracle)  = sum_i relevance(oracle position of i) * discount(position of i in order)
//! nDCG = DCG(order | Oracle) / DCG(Oracle | Oracle)
//! ```
//!
//! Positions count from 0. `gain` is the one of GRPO_rank (Shi et al. 2025, arXiv:2510.02561, as
//! its public reviews transcribe it); DCG is Järvelin and Kekäläinen 2002 with that relevance.
//! Under ties every member of a block gets the mean over the positions that the block spans, which
//! is the expectation when ties are broken by chance (`McSherry` and Najork 2008), so that the sum
//! of gains over a group never depends on ties. Unplaced candidates share the positions left over.

use crate::Ranking;
use crate::agreement::{AgreementError, same_length};

/// `1 / ((1 + k) * log2(2 + k))`: 1 for the first position, then 0.3155, 0.1667, 0.1077, 0.0774.
#[must_use]
pub fn gain(position: usize) -> f64 {
    relevance(position) * discount(position)
}

fn relevance(position: usize) -> f64 {
    1.0 / (1.0 + position as f64)
}

fn discount(position: usize) -> f64 {
    1.0 / (2.0 + position as f64).log2()
}

impl Ranking {
    /// Gain of each candidate, length `G`: the mean of [`gain`] over the positions its tie block
    /// spans.
    ///
    /// ```
    /// # use rlaif_rank::{Ranking, gain};
    /// let gains = Ranking::parse("[2] > [1] = [3]", 3)?.gains();
    /// assert_eq!(gains[1], gain(0));
    /// assert_eq!(gains[0], (gain(1) + gain(2)) / 2.0);
    /// assert_eq!(gains[0], gains[2]);
    /// # Ok::<(), rlaif_rank::ParseRankingError>(())
    /// ```
    #[must_use]
    pub fn gains(&self) -> Vec<f64> {
        self.position_means(gain)
    }

    /// For each candidate the mean of `value` over the positions that its tie block spans: how
    /// any value of positions carries over to ties and gaps.
    #[must_use]
    pub fn position_means(&self, value: impl Fn(usize) -> f64) -> Vec<f64> {
        let mean = |span: std::ops::Range<usize>| {
            let n = span.len() as f64;
            span.map(&value).sum::<f64>() / n
        };
        self.spans().into_iter().map(mean).collect()
    }
}

/// Discounted cumulative gain of showing the candidates in the order of `order`, when they are
/// worth what `oracle` says. Ties in either are averaged over.
///
/// # Errors
///
/// When the two rank different numbers of candidates.
pub fn dcg(oracle: &Ranking, order: &Ranking) -> Result<f64, AgreementError> {
    same_length(oracle, order)?;
    let relevances = oracle.position_means(relevance);
    let discounts = order.position_means(discount);
    Ok(relevances.iter().zip(&discounts).map(|(r, d)| r * d).sum())
}

/// [`dcg`] over the best that any order reaches, so in (0, 1]: 1 where `order` never puts a worse
/// candidate in front of, or level with, a better one. Everything is 1 against an all-tied Oracle.
///
/// # Errors
///
/// When the two rank different numbers of candidates.
pub fn ndcg(oracle: &Ranking, order: &Ranking) -> Result<f64, AgreementError> {
    Ok(dcg(oracle, order)? / dcg(oracle, oracle)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{any_ranking, close, shuffled, tie_breaks};

    #[test]
    fn gains_are_those_of_the_specification() {
        let gains: Vec<f64> = (0..5).map(gain).collect();
        // 1; 1 / (2 log2 3); 1 / (3 * 2); 1 / (4 log2 5); 1 / (5 log2 6).
        let expected = [1.0, 0.315_464_876_8, 1.0 / 6.0, 0.107_669_139_5, 0.077_370_561_4];
        assert!(close(&gains, &expected, 1e-9), "{gains:?}");
    }

    #[test]
    fn unplaced_candidates_share_what_is_left() {
        let r = Ranking::parse("[2]", 3).unwrap();
        let left = f64::midpoint(gain(1), gain(2));
        assert_eq!(r.gains(), [left, gain(0), left]);
    }

    /// Oracle c > a > b, relevances 1/2, 1/3, 1; the policy's order a > b > c has discounts
    /// 1, 1/log2(3), 1/2. DCG = 1/2 + 0.63093/3 + 1/2 = 1.21031; the best is
    /// 1 + 0.63093/2 + 1/6 = 1.48213.
    #[test]
    fn dcg_matches_a_hand_calculation() {
        let oracle = Ranking::from_order(&[2, 0, 1]).unwrap();
        let policy = Ranking::from_order(&[0, 1, 2]).unwrap();
        assert!((dcg(&oracle, &policy).unwrap() - 1.210_309_92).abs() < 1e-8);
        assert!((dcg(&oracle, &oracle).unwrap() - 1.482_131_54).abs() < 1e-8);
        assert!((ndcg(&oracle, &policy).unwrap() - 1.210_309_92 / 1.482_131_54).abs() < 1e-8);
    }

    /// `sklearn.metrics.ndcg_score([relevances], [scores])` of scikit-learn 1.9.1, which averages
    /// over ties of the scores; ties of the Oracle enter as equal (mean) relevances.
    #[test]
    fn ndcg_matches_scikit_learn() {
        let cases = [
            ("[1] > [2] > [3] > [4] > [5]", [0.1, 0.4, -2.0, 3.0, 0.2], 0.734_832_954_147),
            ("[3] > [1] = [5] > [2]", [0.5, 0.5, -1.0, 2.0, -1.0], 0.697_994_024_901),
            ("[4] = [2] > [1]", [1.0, 2.0, 2.0, 2.0, 0.0], 0.925_071_711_578),
        ];
        for (oracle, policy, expected) in cases {
            let oracle = Ranking::parse(oracle, 5).unwrap();
            let policy = Ranking::from_scores(&policy).unwrap();
            let got = ndcg(&oracle, &policy).unwrap();
            assert!((got - expected).abs() < 1e-9, "{got} {expected}");
        }
    }

    #[test]
    fn different_groups_are_refused() {
        let (two, three) = (Ranking::all_tied(2).unwrap(), Ranking::all_tied(3).unwrap());
        assert_eq!(ndcg(&two, &three), Err(AgreementError::DifferentLengths { left: 2, right: 3 }));
    }

    proptest! {
        #[test]
        fn ties_and_gaps_keep_the_sum_of_gains(r in any_ranking(9)) {
            let strict: f64 = (0..r.len()).map(gain).sum();
            prop_assert!((r.gains().iter().sum::<f64>() - strict).abs() < 1e-12);
        }

        #[test]
        fn a_tie_is_the_mean_over_its_breaks(r in any_ranking(5)) {
            let breaks = tie_breaks(&r);
            let mut mean = vec![0.0; r.len()];
            for b in &breaks {
                for (m, g) in mean.iter_mut().zip(b.gains()) {
                    *m += g / breaks.len() as f64;
                }
            }
            prop_assert!(close(&mean, &r.gains(), 1e-12));
        }

        #[test]
        fn ndcg_is_at_most_one_and_one_for_the_oracles_order(
            (oracle, order) in any_ranking(7).prop_flat_map(|r| { let s = shuffled(r.len()); (Just(r), s) })
        ) {
            let order = Ranking::from_order(&order).unwrap();
            let value = ndcg(&oracle, &order).unwrap();
            prop_assert!(value > 0.0 && value <= 1.0 + 1e-12, "{}", value);
            for refined in tie_breaks(&oracle) {
                prop_assert!((ndcg(&oracle, &refined).unwrap() - 1.0).abs() < 1e-12);
            }
        }

        #[test]
        fn ndcg_falls_short_of_one_where_a_worse_candidate_goes_first(
            (oracle, order) in any_ranking(7).prop_flat_map(|r| { let s = shuffled(r.len()); (Just(r), s) })
        ) {
            let positions = oracle.mean_positions();
            let agrees = order.windows(2).all(|pair| positions[pair[0]] <= positions[pair[1]]);
            let value = ndcg(&oracle, &Ranking::from_order(&order).unwrap()).unwrap();
            prop_assert_eq!(agrees, value > 1.0 - 1e-9, "{}", value);
        }
    }
}
