//! Values worked out by hand, and each promise of the module's table as a property.

use proptest::prelude::*;

use super::*;
use crate::gain;
use crate::testing::{any_ranking, close, permutations, shuffled, telling_ranking, tie_breaks};

/// Advantages for an Oracle's ranking; the scores of `zscore` are minus the mid-ranks.
fn of(kind: Advantage, ranking: &Ranking, policy: &[f64]) -> Vec<f64> {
    let scores: Vec<f64> = ranking.mean_positions().iter().map(|p| -p).collect();
    advantages(kind, ranking, policy, Some(&scores)).unwrap()
}

/// A ranking with mean log-probabilities of its candidates, ties among them.
fn with_policy(
    ranking: impl Strategy<Value = Ranking>,
) -> impl Strategy<Value = (Ranking, Vec<f64>)> {
    ranking.prop_flat_map(|ranking| {
        let logprobs = proptest::collection::vec(0_i32..5, ranking.len())
            .prop_map(|values| values.into_iter().map(|v| -f64::from(v)).collect::<Vec<_>>());
        (Just(ranking), logprobs)
    })
}

fn strict(n: usize) -> Ranking {
    Ranking::from_order(&(0..n).collect::<Vec<_>>()).unwrap()
}

/// Mean advantage of each candidate of a strict group over all orders the policy could have.
fn planted(kind: Advantage, n: usize) -> Vec<f64> {
    let orders = permutations(n);
    let mut mean = vec![0.0; n];
    for order in &orders {
        let logprobs: Vec<f64> = order.iter().map(|position| -(*position as f64)).collect();
        for (m, a) in mean.iter_mut().zip(of(kind, &strict(n), &logprobs)) {
            *m += a / orders.len() as f64;
        }
    }
    mean
}

/// Gains of G = 5: 1, 0.3154649, 0.1666667, 0.1076691, 0.0773706; their mean is 0.3334342.
#[test]
fn dcg_matches_a_hand_calculation() {
    let got = of(Advantage::Dcg, &Ranking::from_order(&[3, 0, 4, 2, 1]).unwrap(), &[]);
    let expected = [-0.017_969_4, -0.256_063_7, -0.225_765_1, 0.666_565_8, -0.166_767_6];
    assert!(close(&got, &expected, 1e-6), "{got:?}");
}

#[test]
fn linear_and_normal_match_hand_calculations() {
    let tied = Ranking::parse("[4] > [1] = [2] > [3]", 4).unwrap();
    assert_eq!(of(Advantage::Linear, &tied, &[]), [0.0, 0.0, -1.0, 1.0]);
    let third = 1.0 / 3.0;
    assert!(close(&of(Advantage::Linear, &strict(4), &[]), &[1.0, third, -third, -1.0], 1e-12));
    // Normal scores of 4 (scipy 1.17.1): 1.35878297, 0.39205718 and their negatives.
    let outer = 1.358_782_97;
    assert!(close(&of(Advantage::Normal, &tied, &[]), &[0.0, 0.0, -outer, outer], 1e-8));
}

/// Oracle 0 > 1 > 2, policy 2 > 1 > 0: gains g = (1, 0.3154649, 1/6), h reversed.
/// `paper`: delta = (1 - 1/6, 0, 1 - 6) = (0.8333, 0, -5), mean -1.3889.
/// `paper-bounded`: delta = (0.8333, 0, 0.8333), mean 0.5556.
#[test]
fn members_that_look_at_the_policy_match_hand_calculations() {
    let against = [-3.0, -2.0, -1.0];
    let ninth = 1.0 / 9.0;
    let got = of(Advantage::Paper, &strict(3), &against);
    assert!(close(&got, &[-20.0 * ninth, -12.5 * ninth, 32.5 * ninth], 1e-12), "{got:?}");
    let got = of(Advantage::PaperBounded, &strict(3), &against);
    assert!(close(&got, &[-2.5 * ninth, 5.0 * ninth, -2.5 * ninth], 1e-12), "{got:?}");
    let got = of(Advantage::DcgGap, &strict(3), &against);
    assert!(close(&got, &[5.0 / 6.0, 0.0, -5.0 / 6.0], 1e-12), "{got:?}");
}

/// A policy that ties 1 and 2 at the top spreads its gains: h = (1/6, m, m), m = (1 + 0.3155) / 2.
#[test]
fn ties_of_the_policy_spread_like_any_tie() {
    let got = of(Advantage::DcgGap, &strict(3), &[-3.0, -1.0, -1.0]);
    let m = f64::midpoint(gain(0), gain(1));
    assert!(close(&got, &[gain(0) - gain(2), gain(1) - m, gain(2) - m], 1e-12), "{got:?}");
}

/// (s - 2) / (sqrt(2 / 3) + 1e-4) for s = 1, 3, 2, 2: numpy with `ddof=1` gives 1.22459489.
#[test]
fn zscore_is_grpos() {
    let scores = [1.0, 3.0, 2.0, 2.0];
    let ranking = Ranking::from_scores(&scores).unwrap();
    let got = advantages(Advantage::Zscore, &ranking, &[], Some(&scores)).unwrap();
    assert!(close(&got, &[-1.224_594_89, 1.224_594_89, 0.0, 0.0], 1e-8), "{got:?}");
    assert_eq!(zscore(&scores), got);
}

#[test]
fn zscore_from_scores_alone_is_zero_for_equal_ones_and_nan_for_what_is_no_score() {
    // The mean of three times 0.1 is not 0.1 in floating point.
    assert_eq!(zscore(&[0.1, 0.1, 0.1]), [0.0; 3]);
    assert_eq!(zscore(&[7.0]), [0.0]);
    assert_eq!(zscore(&[]), [0.0; 0]);
    for scores in [[1.0, f64::NAN], [1.0, f64::INFINITY], [f64::INFINITY; 2], [1e300, -1e300]] {
        assert!(zscore(&scores).iter().all(|value| value.is_nan()), "{scores:?}");
    }
    // Two scores 0.2 apart: 0.1 / (0.1 sqrt(2) + 1e-4), and not 0.1 / (0.1 + 1e-4).
    assert!(close(&zscore(&[0.4, 0.6]), &[-0.706_607_13, 0.706_607_13], 1e-8));
}

#[test]
fn members_for_training_raise_the_best_and_lower_the_worst() {
    for kind in Advantage::ALL.into_iter().filter(|kind| kind.is_for_training()) {
        for n in 2..=6 {
            let mean = planted(kind, n);
            assert!(mean[0] > 0.01 && mean[n - 1] < -0.01, "{kind} {n}: {mean:?}");
        }
    }
}

/// The numbers of the specification. When `paper` starts to pass, its warning can go.
#[test]
fn the_papers_formula_pushes_the_best_down_and_the_worst_up() {
    for (kind, best, worst) in [
        (Advantage::Paper, -1.83, 2.15),
        (Advantage::PaperBounded, -0.16, 0.01),
        (Advantage::Dcg, 0.67, -0.26),
    ] {
        let mean = planted(kind, 5);
        assert!((mean[0] - best).abs() < 0.005, "{kind}: {mean:?}");
        assert!((mean[4] - worst).abs() < 0.005, "{kind}: {mean:?}");
        assert_eq!(kind.is_for_training(), mean[0] > 0.0 && mean[4] < 0.0);
    }
}

/// gain(0) / gain(4) = 5 log2 6 = 12.92: the worst answer on top of the policy's list.
#[test]
fn the_papers_formula_is_not_bounded() {
    let got = of(Advantage::Paper, &strict(5), &[-5.0, -4.0, -3.0, -2.0, -1.0]);
    assert!(got[4] > 9.0, "{got:?}");
    assert_eq!(Advantage::Paper.bound(5), None);
}

#[test]
fn dcg_gap_is_exactly_zero_once_the_orders_agree() {
    let tied = Ranking::parse("[2] = [4] > [1] > [3]", 4).unwrap();
    assert_eq!(of(Advantage::DcgGap, &tied, &[-2.0, -1.0, -3.0, -1.0]), [0.0; 4]);
}

#[test]
fn bad_inputs_are_named() {
    use AdvantageError as E;
    let r = strict(2);
    let get = |kind, policy: &[f64], scores| advantages(kind, &r, policy, scores).unwrap_err();
    assert_eq!(get(Advantage::DcgGap, &[], None), E::PolicyLength { got: 0, expected: 2 });
    assert_eq!(
        get(Advantage::Paper, &[f64::NAN, 0.0], None),
        E::Policy(InvalidRanking::NotANumber { candidate: 0 })
    );
    assert_eq!(get(Advantage::Zscore, &[], None), E::ScoresMissing);
    assert_eq!(get(Advantage::Zscore, &[], Some(&[1.0])), E::ScoresLength { got: 1, expected: 2 });
    assert_eq!(
        get(Advantage::Zscore, &[], Some(&[f64::INFINITY, 0.0])),
        E::ScoreNotFinite { candidate: 0, score: f64::INFINITY }
    );
    assert_eq!(
        get(Advantage::Zscore, &[], Some(&[0.0, 1.0])),
        E::ScoresContradict { above: 0, below: 1 }
    );
    let huge = [f64::MAX, -f64::MAX];
    assert!(matches!(get(Advantage::Zscore, &[], Some(&huge)), E::ScoreNotFinite { .. }));
    // Wrong lengths are errors for a verdict that says nothing, too.
    let tied = Ranking::all_tied(2).unwrap();
    assert!(advantages(Advantage::DcgGap, &tied, &[0.0], None).is_err());
}

#[test]
fn names_read_and_print() {
    let names = ["dcg", "linear", "normal", "paper", "paper-bounded", "dcg-gap", "zscore"];
    for (kind, name) in Advantage::ALL.into_iter().zip(names) {
        assert_eq!(kind.to_string(), name);
        assert_eq!(name.parse(), Ok(kind));
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{name}\""));
        assert_eq!(serde_json::from_str::<Advantage>(&format!("\"{name}\"")).unwrap(), kind);
    }
    assert_eq!(Advantage::default(), Advantage::Dcg);
    let error = "dgc".parse::<Advantage>().unwrap_err().to_string();
    assert!(error.contains("`dgc`") && names.iter().all(|name| error.contains(name)), "{error}");
}

proptest! {
    #[test]
    fn all_sum_to_zero((r, policy) in with_policy(any_ranking(9))) {
        for kind in Advantage::ALL {
            let sum: f64 = of(kind, &r, &policy).iter().sum();
            prop_assert!(sum.abs() < 1e-9, "{kind}: {sum}");
        }
    }

    #[test]
    fn all_are_exactly_zero_when_nothing_is_told_apart(
        n in 1_usize..9,
        placed in any::<bool>(),
        policy in proptest::collection::vec(-9.0_f64..0.0, 9),
    ) {
        let r = Ranking::from_ranks(vec![placed.then_some(0); n]).unwrap();
        for kind in Advantage::ALL {
            let scores = &policy[..n];
            let got = advantages(kind, &r, &policy[..n], Some(scores)).unwrap();
            prop_assert_eq!(got, vec![0.0; n], "{}", kind);
        }
        let equal = advantages(Advantage::Zscore, &strict(n), &[], Some(&vec![0.1; n])).unwrap();
        prop_assert_eq!(equal, vec![0.0; n]);
    }

    #[test]
    fn all_but_paper_keep_their_bound((r, policy) in with_policy(any_ranking(12))) {
        for kind in Advantage::ALL {
            let most = of(kind, &r, &policy).into_iter().fold(0.0, |m: f64, a| m.max(a.abs()));
            if let Some(bound) = kind.bound(r.len()) {
                prop_assert!(most <= bound + 1e-12, "{kind}: {most} > {bound}");
            }
        }
    }

    #[test]
    fn zscore_keeps_its_bound_for_any_scores(
        scores in proptest::collection::vec(-1e6_f64..1e6, 1..9)
    ) {
        let r = Ranking::from_scores(&scores).unwrap();
        let bound = Advantage::Zscore.bound(scores.len()).unwrap();
        let got = advantages(Advantage::Zscore, &r, &[], Some(&scores)).unwrap();
        prop_assert!(got.iter().all(|a| a.abs() <= bound + 1e-9), "{got:?}");
        prop_assert!(got.iter().sum::<f64>().abs() < 1e-9);
    }

    #[test]
    fn renumbering_the_candidates_renumbers_the_advantages(
        ((r, policy), order) in with_policy(any_ranking(8))
            .prop_flat_map(|(r, p)| { let s = shuffled(r.len()); (Just((r, p)), s) })
    ) {
        let moved_policy: Vec<f64> = order.iter().map(|i| policy[*i]).collect();
        let moved_ranking = r.permute(&order).unwrap();
        for kind in Advantage::ALL {
            let before = of(kind, &r, &policy);
            let expected: Vec<f64> = order.iter().map(|i| before[*i]).collect();
            let after = of(kind, &moved_ranking, &moved_policy);
            prop_assert!(close(&after, &expected, 1e-12), "{kind}: {after:?} {expected:?}");
        }
    }

    #[test]
    fn candidates_that_tie_get_the_same((r, policy) in with_policy(any_ranking(8))) {
        for kind in Advantage::ALL {
            let got = of(kind, &r, &policy);
            for i in 0..r.len() {
                for j in 0..i {
                    let policy_ties = policy[i].total_cmp(&policy[j]).is_eq();
                    if r.levels()[i] == r.levels()[j] && (policy_ties || !kind.uses_policy()) {
                        prop_assert_eq!(got[i].to_bits(), got[j].to_bits(), "{}", kind);
                    }
                }
            }
        }
    }

    #[test]
    fn a_tie_is_worth_the_mean_over_its_breaks((r, policy) in with_policy(telling_ranking(5))) {
        let breaks = tie_breaks(&r);
        let members =
            [Advantage::Dcg, Advantage::Linear, Advantage::Normal, Advantage::DcgGap];
        for kind in members {
            let mut mean = vec![0.0; r.len()];
            for b in &breaks {
                for (m, a) in mean.iter_mut().zip(of(kind, b, &policy)) {
                    *m += a / breaks.len() as f64;
                }
            }
            prop_assert!(close(&mean, &of(kind, &r, &policy), 1e-12), "{kind}");
        }
    }

    #[test]
    fn better_ranks_get_strictly_more(r in telling_ranking(9)) {
        let positions = r.mean_positions();
        let indifferent = vec![-1.0; r.len()];
        let members =
            [Advantage::Dcg, Advantage::Linear, Advantage::Normal, Advantage::DcgGap];
        for kind in members {
            let got = of(kind, &r, &indifferent);
            for i in 0..r.len() {
                for j in 0..r.len() {
                    if positions[i] < positions[j] {
                        prop_assert!(got[i] > got[j], "{kind}: {got:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn dcg_has_more_weight_at_the_top(n in 3_usize..12) {
        for kind in [Advantage::Dcg, Advantage::DcgGap] {
            let got = of(kind, &strict(n), &vec![-1.0; n]);
            let steps: Vec<f64> = got.windows(2).map(|pair| pair[0] - pair[1]).collect();
            prop_assert!(steps.windows(2).all(|pair| pair[0] > pair[1]), "{steps:?}");
        }
        // `linear` does not promise it: its steps are all equal.
        let even = of(Advantage::Linear, &strict(n), &[]);
        let step = 2.0 / (n - 1) as f64;
        prop_assert!(even.windows(2).all(|pair| (pair[0] - pair[1] - step).abs() < 1e-12));
    }

    #[test]
    fn linear_and_normal_flip_with_the_ranking(r in any_ranking(9)) {
        let complete = r.unplaced_last();
        for kind in [Advantage::Linear, Advantage::Normal] {
            let flipped: Vec<f64> =
                of(kind, &complete.reversed(), &[]).iter().map(|a| -a).collect();
            prop_assert!(close(&of(kind, &complete, &[]), &flipped, 1e-12), "{kind}");
        }
    }

    #[test]
    fn normal_has_unit_root_mean_square(n in 2_usize..40) {
        let squares: f64 = of(Advantage::Normal, &strict(n), &[]).iter().map(|a| a * a).sum();
        prop_assert!((squares / n as f64 - 1.0).abs() < 1e-12);
    }
}
