//! What one verdict on a labelled group says of the Oracle.

use rlaif_oracle::{Call, Verdict};
use rlaif_rank::{Ranking, kendall_tau_b, merge_identical, ndcg};

use super::unlisted;

/// Statistics of one verdict. Those that the group cannot have are missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Kendall's tau-b with the label; none where the label ties everything. A verdict that ties
    /// everything has 0.
    pub tau: Option<f64>,
    /// nDCG of the verdict by the label's gains.
    pub ndcg: Option<f64>,
    /// Probability that a candidate drawn from the verdict's top block is in the label's; none where
    /// the label ties everything.
    pub top1: Option<f64>,
    /// Share of the pairs that the label orders which the verdict orders alike; ties count a half.
    pub pairs: Option<f64>,
    /// Share of the pairs of candidates that the verdict ties.
    pub ties: Option<f64>,
    /// By how much more the candidate shown first was placed too high than the one shown last, mean
    /// over the questions: 0 for none, 1 where the first always wins over its opposite.
    pub first_slot: Option<f64>,
    /// For questions about pairs: whether the one shown first won, ties a half; mean over them.
    pub first_of_pair: Option<f64>,
}

/// Measures a verdict on `candidates`, listed as `listing` says, whose order is `label`.
#[must_use]
pub fn measure(
    candidates: &[String],
    listing: &[usize],
    label: &Ranking,
    verdict: &Verdict,
) -> Statistics {
    let Some(order) = unlisted(&verdict.ranking, listing) else { return Statistics::default() };
    let telling = !label.is_all_tied();
    let mut measured = Statistics {
        tau: telling.then(|| kendall_tau_b(label, &order).unwrap_or(0.0)),
        ndcg: ndcg(label, &order).ok(),
        top1: telling.then(|| top1(label, &order)),
        pairs: pairs(label, &order),
        ties: ties(&order),
        ..Statistics::default()
    };
    // Questions are about the distinct candidates, in the order listed.
    let listed: Vec<&str> = listing.iter().map(|i| candidates[*i].trim()).collect();
    let merged = merge_identical(&listed);
    let distinct: Vec<usize> = merged.representatives.iter().map(|i| listing[*i]).collect();
    let whole = [Call {
        shown: (0..distinct.len()).collect(),
        ranking: order.restrict(&distinct).ok(),
        cached: false,
        latency: verdict.latency,
        cost: 0.0,
    }];
    let calls = if verdict.calls.is_empty() { &whole[..] } else { &verdict.calls };
    let (mut slots, mut firsts) = (Vec::new(), Vec::new());
    for call in calls {
        let shown: Option<Vec<usize>> =
            call.shown.iter().map(|i| distinct.get(*i).copied()).collect();
        let (Some(shown), Some(ranking)) = (shown, &call.ranking) else { continue };
        let Ok(truth) = label.restrict(&shown) else { continue };
        if shown.len() < 2 || ranking.len() != shown.len() {
            continue;
        }
        let excess = |slot: usize| height(ranking, slot) - height(&truth, slot);
        slots.push((excess(0) - excess(shown.len() - 1)) / 2.0);
        if shown.len() == 2 {
            firsts.push(f64::midpoint(height(ranking, 0), 1.0));
        }
    }
    measured.first_slot = mean(&slots);
    measured.first_of_pair = mean(&firsts);
    measured
}

/// 1 for the top of the list, -1 for its end, ties in between.
fn height(ranking: &Ranking, candidate: usize) -> f64 {
    let last = (ranking.len() - 1).max(1) as f64;
    1.0 - 2.0 * ranking.mean_positions()[candidate] / last
}

fn top1(label: &Ranking, order: &Ranking) -> f64 {
    let top: Vec<usize> = order.blocks().into_iter().next().unwrap_or_default();
    let right = top.iter().filter(|candidate| label.levels()[**candidate] == Some(0)).count();
    right as f64 / top.len().max(1) as f64
}

fn pairs(label: &Ranking, order: &Ranking) -> Option<f64> {
    let (truth, said) = (label.mean_positions(), order.mean_positions());
    let (mut right, mut all) = (0.0, 0_usize);
    for i in 0..truth.len() {
        for j in 0..i {
            let sign = |positions: &[f64]| positions[i].total_cmp(&positions[j]);
            if sign(&truth).is_eq() {
                continue;
            }
            all += 1;
            right += match sign(&said) {
                same if same == sign(&truth) => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                _ => 0.0,
            };
        }
    }
    (all > 0).then(|| right / all as f64)
}

fn ties(order: &Ranking) -> Option<f64> {
    let pairs_of = |n: usize| n * n.saturating_sub(1) / 2;
    let all = pairs_of(order.len());
    let tied: usize = order.blocks().iter().map(|block| pairs_of(block.len())).sum();
    (all > 0).then(|| tied as f64 / all as f64)
}

/// Mean of some numbers; none of none.
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn texts(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("answer {i}")).collect()
    }

    fn verdict(text: &str, n: usize) -> Verdict {
        Verdict::new(Ranking::parse(text, n).unwrap(), Duration::ZERO)
    }

    fn measured(label: &str, said: &str) -> Statistics {
        let label = Ranking::parse(label, 3).unwrap();
        measure(&texts(3), &[0, 1, 2], &label, &verdict(said, 3))
    }

    fn is(value: Option<f64>, expected: f64) {
        assert!((value.unwrap() - expected).abs() < 1e-12, "{value:?} is not {expected}");
    }

    /// Of three pairs the last is swapped: tau (2 - 1) / 3, two pairs right.
    #[test]
    fn a_swap_costs_what_it_costs() {
        let swapped = measured("[1] > [2] > [3]", "[1] > [3] > [2]");
        is(swapped.tau, 1.0 / 3.0);
        is(swapped.pairs, 2.0 / 3.0);
        is(swapped.top1, 1.0);
        is(swapped.ties, 0.0);
        let right = measured("[1] > [2] > [3]", "[1] > [2] > [3]");
        is(right.ndcg, 1.0);
        is(right.first_slot, 0.0);
    }

    #[test]
    fn ties_count_half_and_a_top_block_is_drawn_from() {
        let tied = measured("[1] > [2] > [3]", "[1] = [2] > [3]");
        is(tied.top1, 0.5);
        is(tied.pairs, 2.5 / 3.0);
        is(tied.ties, 1.0 / 3.0);
        let all = measured("[1] > [2] > [3]", "[1] = [2] = [3]");
        is(all.tau, 0.0);
        let untold = measured("[1] = [2] = [3]", "[1] > [2] > [3]");
        assert_eq!((untold.tau, untold.top1, untold.pairs), (None, None, None));
    }

    /// The label puts the first last: it stands 2 too high, the last 2 too low: (2 + 2) / 2.
    #[test]
    fn a_judge_who_prefers_the_first_is_found() {
        is(measured("[3] > [2] > [1]", "[1] > [2] > [3]").first_slot, 2.0);
        is(measured("[1] > [2] > [3]", "[1] > [2] > [3]").first_slot, 0.0);
        let call = Call {
            shown: vec![2, 0],
            ranking: Some(Ranking::parse("[1] > [2]", 2).unwrap()),
            cached: false,
            latency: Duration::ZERO,
            cost: 0.0,
        };
        let label = Ranking::parse("[1] > [2] > [3]", 3).unwrap();
        let asked = Verdict { calls: vec![call], ..verdict("[1] > [2] > [3]", 3) };
        let pair = measure(&texts(3), &[0, 1, 2], &label, &asked);
        is(pair.first_of_pair, 1.0);
        is(pair.first_slot, 2.0);
    }

    #[test]
    fn questions_about_a_listing_with_copies_find_their_candidates() {
        let candidates: Vec<String> = ["x", "y", " x"].map(str::to_owned).to_vec();
        let label = Ranking::parse("[1] = [3] > [2]", 3).unwrap();
        // Listed as x, y, x, which are shown as x, y; y stands first and wins.
        let call = Call {
            shown: vec![1, 0],
            ranking: Some(Ranking::parse("[1] > [2]", 2).unwrap()),
            cached: false,
            latency: Duration::ZERO,
            cost: 0.0,
        };
        let asked = Verdict { calls: vec![call], ..verdict("[2] > [1] = [3]", 3) };
        is(measure(&candidates, &[2, 1, 0], &label, &asked).first_slot, 2.0);
    }
}
