//! How far rankings agree: Kendall's tau-b, Spearman's rho, Kendall's W, and the correlation of
//! advantages with the Oracle's order.
//!
//! Candidates that one of the rankings does not place are left out of the comparison: nothing is
//! known of them there. Use [`Ranking::unplaced_last`] where being left out means being worst.
//!
//! A statistic that is not defined is an error, never a 0: a ranking that ties everything neither
//! agrees nor disagrees.

use crate::Ranking;

/// Two rankings that cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgreementError {
    /// The lists are about different numbers of candidates.
    #[error("cannot compare {left} candidates with {right}")]
    DifferentLengths {
        /// Candidates in the first.
        left: usize,
        /// Candidates in the second.
        right: usize,
    },
    /// The statistic has no value here.
    #[error("{statistic} is not defined: {why}")]
    Undefined {
        /// Its name.
        statistic: &'static str,
        /// What is missing.
        why: &'static str,
    },
}

pub(crate) fn same_length(a: &Ranking, b: &Ranking) -> Result<(), AgreementError> {
    if a.len() == b.len() {
        return Ok(());
    }
    Err(AgreementError::DifferentLengths { left: a.len(), right: b.len() })
}

/// The mid-ranks of the candidates that all `rankings` place, one list a ranking.
fn common_positions(rankings: &[&Ranking]) -> Result<Vec<Vec<f64>>, AgreementError> {
    let Some(first) = rankings.first() else { return Ok(Vec::new()) };
    for other in rankings {
        same_length(first, other)?;
    }
    let common: Vec<usize> = (0..first.len())
        .filter(|candidate| rankings.iter().all(|r| r.levels()[*candidate].is_some()))
        .collect();
    // Restricting fails only where nothing is left.
    Ok(rankings
        .iter()
        .map(|r| r.restrict(&common).map_or_else(|_| Vec::new(), |r| r.mean_positions()))
        .collect())
}

/// Kendall's tau-b, in [-1, 1]: 1 for the same order, -1 for the reverse, over the candidates
/// that both place.
///
/// ```text
/// tau_b = (C - D) / sqrt((C + D + T_a) (C + D + T_b))
/// ```
///
/// over pairs: C in the same order, D in opposite order, `T_a` tied in `b` alone, `T_b` tied in
/// `a` alone (Kendall 1945). Two weak orders that are equal reach 1 in spite of their ties.
///
/// # Errors
///
/// When the lengths differ, or one of the rankings ties all the common candidates.
pub fn kendall_tau_b(a: &Ranking, b: &Ranking) -> Result<f64, AgreementError> {
    let positions = common_positions(&[a, b])?;
    let (a, b) = (&positions[0], &positions[1]);
    let (mut balance, mut untied_a, mut untied_b) = (0_i64, 0_i64, 0_i64);
    for i in 0..a.len() {
        for j in 0..i {
            let (sign_a, sign_b) = (order_sign(a[i], a[j]), order_sign(b[i], b[j]));
            balance += sign_a * sign_b;
            untied_a += sign_a.abs();
            untied_b += sign_b.abs();
        }
    }
    if untied_a == 0 || untied_b == 0 {
        return Err(AgreementError::Undefined { statistic: "Kendall's tau-b", why: NO_ORDER });
    }
    // Two square roots, so that huge groups do not overflow the product.
    // Their rounding may carry equal orders a hair beyond 1.
    let tau = balance as f64 / ((untied_a as f64).sqrt() * (untied_b as f64).sqrt());
    Ok(tau.clamp(-1.0, 1.0))
}

const NO_ORDER: &str = "one of the rankings ties every candidate that both place";

fn order_sign(a: f64, b: f64) -> i64 {
    i64::from(a > b) - i64::from(a < b)
}

/// Spearman's rho, in [-1, 1]: the Pearson correlation of the mid-ranks, over the candidates that
/// both place.
///
/// # Errors
///
/// When the lengths differ, or one of the rankings ties all the common candidates.
pub fn spearman_rho(a: &Ranking, b: &Ranking) -> Result<f64, AgreementError> {
    let positions = common_positions(&[a, b])?;
    pearson(&positions[0], &positions[1])
        .ok_or(AgreementError::Undefined { statistic: "Spearman's rho", why: NO_ORDER })
}

/// Kendall's coefficient of concordance W of `m` rankings, in [0, 1]: 1 where all are the same
/// order, over the `n` candidates that all of them place.
///
/// ```text
/// W = 12 S / (m^2 (n^3 - n) - m sum_j T_j)
/// S = sum_i (R_i - mean R)^2,    R_i = sum over rankings of the mid-rank of i
/// T_j = sum over the tie blocks of ranking j of (t^3 - t)
/// ```
///
/// Kendall and Babington Smith 1939, with the correction for ties. It tells how far several
/// verdicts on one group can be trusted together.
///
/// # Errors
///
/// With fewer than two rankings, when their lengths differ, or when all of them tie everything.
pub fn kendall_w(rankings: &[Ranking]) -> Result<f64, AgreementError> {
    let undefined = |why| AgreementError::Undefined { statistic: "Kendall's W", why };
    if rankings.len() < 2 {
        return Err(undefined("it takes two rankings"));
    }
    let positions = common_positions(&rankings.iter().collect::<Vec<_>>())?;
    let (m, n) = (positions.len() as f64, positions[0].len() as f64);
    let sums: Vec<f64> =
        (0..positions[0].len()).map(|i| positions.iter().map(|p| p[i]).sum()).collect();
    let mean = m * (n - 1.0) / 2.0;
    let spread: f64 = sums.iter().map(|sum| (sum - mean).powi(2)).sum();
    let ties: f64 = positions.iter().map(|p| tie_term(p)).sum();
    let most = m * m * (n.powi(3) - n) - m * ties;
    if most <= 0.0 {
        return Err(undefined("the rankings tie every candidate that all of them place"));
    }
    Ok(12.0 * spread / most)
}

/// Sum over tie blocks of `t^3 - t`: each member adds `t^2 - 1`.
fn tie_term(positions: &[f64]) -> f64 {
    let block = |p: &f64| positions.iter().filter(|q| p.total_cmp(q).is_eq()).count() as f64;
    positions.iter().map(|p| block(p).powi(2) - 1.0).sum()
}

/// Pearson correlation, over all candidates of all groups, between the advantage and how high
/// the Oracle placed the candidate, `1 - 2 position / (G - 1)`: the metric
/// `rank/advantage_corr`. Near 1 an update pushes up what the Oracle likes; at 0 or below it does
/// not, whatever the loss says.
///
/// # Errors
///
/// When a list of advantages does not fit its ranking, or when there is no spread: all groups all
/// tied, or all advantages equal.
pub fn advantage_correlation<'a>(
    groups: impl IntoIterator<Item = (&'a Ranking, &'a [f64])>,
) -> Result<f64, AgreementError> {
    let (mut heights, mut all_advantages) = (Vec::new(), Vec::new());
    for (ranking, advantages) in groups {
        if ranking.len() != advantages.len() {
            let (left, right) = (ranking.len(), advantages.len());
            return Err(AgreementError::DifferentLengths { left, right });
        }
        let last = ranking.len().saturating_sub(1).max(1) as f64;
        let top = (ranking.len() - 1) as f64 / last;
        heights.extend(ranking.mean_positions().iter().map(|p| top - 2.0 * p / last));
        all_advantages.extend_from_slice(advantages);
    }
    pearson(&heights, &all_advantages).ok_or(AgreementError::Undefined {
        statistic: "the correlation of advantages and ranks",
        why: "the ranks or the advantages are all equal",
    })
}

/// Pearson correlation; `None` where one of the lists has no spread.
fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let constant =
        |values: &[f64]| values.windows(2).all(|pair| pair[0].total_cmp(&pair[1]).is_eq());
    if constant(a) || constant(b) {
        return None;
    }
    let n = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (x - mean_a, y - mean_b);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    let scale = aa.sqrt() * bb.sqrt();
    (scale > 0.0 && scale.is_finite()).then(|| (ab / scale).clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{any_ranking, shuffled, telling_ranking};

    fn ranks(ranks: &[usize]) -> Ranking {
        Ranking::from_ranks(ranks.iter().copied().map(Some).collect()).unwrap()
    }

    fn assert_close(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-11, "{got} is not {expected}");
    }

    /// `scipy.stats.kendalltau` (tau-b) and `scipy.stats.spearmanr` of scipy 1.17.1.
    #[test]
    fn tau_and_rho_match_scipy() {
        let cases: [(&[usize], &[usize], f64, f64); 4] = [
            (&[0, 1, 2, 3, 4], &[1, 0, 2, 4, 3], 0.6, 0.8),
            (&[0, 1, 1, 2, 3], &[3, 1, 0, 2, 0], -0.444_444_444_444, -0.552_631_578_947),
            (&[0, 0, 1, 1, 2], &[2, 1, 1, 0, 0], -0.75, -0.805_555_555_556),
            (&[4, 2, 2, 0, 1, 3], &[0, 1, 2, 2, 2, 1], -0.805_822_964_025, -0.861_058_400_242),
        ];
        for (a, b, tau, rho) in cases {
            assert_close(kendall_tau_b(&ranks(a), &ranks(b)).unwrap(), tau);
            assert_close(spearman_rho(&ranks(a), &ranks(b)).unwrap(), rho);
        }
    }

    /// `scipy.stats.friedmanchisquare` (corrected for ties) over m (n - 1), scipy 1.17.1.
    #[test]
    fn w_matches_scipy() {
        let clear = [ranks(&[0, 1, 2, 3]), ranks(&[1, 0, 2, 3]), ranks(&[0, 2, 1, 3])];
        assert_close(kendall_w(&clear).unwrap(), 0.777_777_777_778);
        let tied = [ranks(&[0, 0, 1, 2, 3]), ranks(&[0, 1, 1, 2, 2]), ranks(&[3, 2, 1, 1, 0])];
        assert_close(kendall_w(&tied).unwrap(), 0.125);
    }

    #[test]
    fn only_what_both_place_is_compared() {
        let a = Ranking::parse("[1] > [3] > [2]", 4).unwrap();
        let b = Ranking::parse("[1] > [3] > [4]", 4).unwrap();
        assert_close(kendall_tau_b(&a, &b).unwrap(), 1.0);
        // With being left out as being worst: of 6 pairs 4 agree and 2-4 disagrees in the strict
        // rankings 1 3 2 4 and 1 3 4 2, so (5 - 1) / 6.
        assert_close(kendall_tau_b(&a.unplaced_last(), &b.unplaced_last()).unwrap(), 4.0 / 6.0);
    }

    #[test]
    fn what_has_no_value_is_an_error() {
        let (tied, strict) = (Ranking::all_tied(3).unwrap(), ranks(&[0, 1, 2]));
        for error in [kendall_tau_b(&tied, &strict), spearman_rho(&strict, &tied)] {
            assert!(matches!(error, Err(AgreementError::Undefined { .. })), "{error:?}");
        }
        assert!(kendall_w(std::slice::from_ref(&strict)).is_err());
        assert!(kendall_w(&[tied.clone(), tied]).is_err());
        let apart = [Ranking::parse("[1]", 2).unwrap(), Ranking::parse("[2]", 2).unwrap()];
        assert!(kendall_w(&apart).is_err());
        assert_eq!(
            spearman_rho(&strict, &ranks(&[0, 1])).unwrap_err().to_string(),
            "cannot compare 3 candidates with 2"
        );
    }

    #[test]
    fn advantages_correlate_with_the_order_they_were_made_from() {
        let (strict, tied) = (ranks(&[2, 0, 1]), Ranking::all_tied(2).unwrap());
        let along = [(&strict, &[-1.0, 1.0, 0.0][..]), (&tied, &[0.0, 0.0][..])];
        assert_close(advantage_correlation(along).unwrap(), 1.0);
        assert_close(advantage_correlation([(&strict, &[3.0, -3.0, 0.0][..])]).unwrap(), -1.0);
        assert!(advantage_correlation([(&tied, &[0.0, 0.0][..])]).is_err());
        assert!(advantage_correlation([(&tied, &[0.0][..])]).is_err());
    }

    proptest! {
        #[test]
        fn a_ranking_agrees_with_itself_and_not_with_its_reverse(
            r in any_ranking(8).prop_filter("one block", |r| r.blocks().len() > 1)
        ) {
            let back = r.reversed();
            for (got, expected) in [
                (kendall_tau_b(&r, &r), 1.0),
                (spearman_rho(&r, &r), 1.0),
                (kendall_tau_b(&r, &back), -1.0),
                (spearman_rho(&r, &back), -1.0),
                (kendall_w(&[r.clone(), r.clone(), r.clone()]), 1.0),
                (kendall_w(&[r.clone(), back.clone()]), 0.0),
            ] {
                prop_assert!((got.unwrap() - expected).abs() < 1e-9);
            }
        }

        #[test]
        fn renumbering_changes_nothing(
            (a, b, order) in (2_usize..8).prop_flat_map(|n| {
                let ranks = proptest::collection::vec(proptest::option::of(0..n), n)
                    .prop_map(|ranks| Ranking::from_ranks(ranks).unwrap());
                (ranks.clone(), ranks, shuffled(n))
            })
        ) {
            let (c, d) = (a.permute(&order).unwrap(), b.permute(&order).unwrap());
            prop_assert_eq!(kendall_tau_b(&a, &b), kendall_tau_b(&c, &d));
            prop_assert_eq!(kendall_tau_b(&a, &b), kendall_tau_b(&b, &a));
            match (spearman_rho(&a, &b), spearman_rho(&c, &d)) {
                (Ok(x), Ok(y)) => prop_assert!((x - y).abs() < 1e-9 && x.abs() <= 1.0),
                (x, y) => prop_assert_eq!(x, y),
            }
        }

        /// For two rankings W is a function of rho when neither has ties: W = (1 + rho) / 2.
        #[test]
        fn w_of_two_strict_rankings_is_rho(order in (2_usize..8).prop_flat_map(shuffled)) {
            let a = Ranking::from_order(&order).unwrap();
            let b = ranks(&(0..order.len()).collect::<Vec<_>>());
            let rho = spearman_rho(&a, &b).unwrap();
            prop_assert!((kendall_w(&[a, b]).unwrap() - f64::midpoint(1.0, rho)).abs() < 1e-9);
        }

        #[test]
        fn tau_stays_in_its_range(a in telling_ranking(8), other in proptest::collection::vec(0_usize..8, 8)) {
            let b = ranks(&other[..a.len()]);
            if let Ok(tau) = kendall_tau_b(&a, &b) {
                prop_assert!(tau.abs() <= 1.0 + 1e-12);
            }
        }
    }
}
