//! How far several orders of one group agree.

use rlaif_rank::{Ranking, kendall_tau_b, kendall_w};

use crate::Vote;

/// Agreement of the votes on a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Mean Kendall tau-b over all pairs of votes, in [-1, 1]: 0 is what chance gives, whatever their
    /// number. A vote that ties everything says nothing and agrees with none: its pairs count 0.
    pub tau: f64,
    /// Kendall's W, in [0, 1]: for `m` votes without ties chance gives `1 / m`.
    pub w: f64,
}

/// The agreement of `votes`; none with fewer than two.
#[must_use]
pub fn agreement(votes: &[Vote]) -> Option<Agreement> {
    let mut taus = Vec::new();
    for (index, vote) in votes.iter().enumerate() {
        taus.extend(votes[..index].iter().map(|other| tau(&vote.ranking, &other.ranking)));
    }
    if taus.is_empty() {
        return None;
    }
    let rankings: Vec<Ranking> = votes.iter().map(|vote| vote.ranking.clone()).collect();
    // Undefined where every vote ties everything: no order was agreed upon.
    let w = kendall_w(&rankings).unwrap_or(0.0);
    Some(Agreement { tau: taus.iter().sum::<f64>() / taus.len() as f64, w })
}

/// Mean tau-b of each vote with the others, in the order of the votes; empty with fewer than two.
#[must_use]
pub fn with_the_others(votes: &[Vote]) -> Vec<f64> {
    if votes.len() < 2 {
        return Vec::new();
    }
    let others = (votes.len() - 1) as f64;
    let mean = |index: usize| {
        let pairs = votes.iter().enumerate().filter(|(other, _)| *other != index);
        pairs.map(|(_, other)| tau(&votes[index].ranking, &other.ranking)).sum::<f64>() / others
    };
    (0..votes.len()).map(mean).collect()
}

/// Kendall's tau-b; 0 where one of the two has no order.
fn tau(a: &Ranking, b: &Ranking) -> f64 {
    kendall_tau_b(a, b).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn votes(orders: &[&str]) -> Vec<Vote> {
        let vote = |text: &&str| Vote {
            voter: String::new(),
            ranking: Ranking::parse(text, 3).unwrap(),
            weight: 1.0,
        };
        orders.iter().map(vote).collect()
    }

    /// tau-b of an order with its reverse is -1, with itself 1: (1 - 1 - 1) / 3.
    #[test]
    fn agreement_is_the_mean_over_pairs() {
        let votes = votes(&["[1] > [2] > [3]", "[1] > [2] > [3]", "[3] > [2] > [1]"]);
        let both = agreement(&votes).unwrap();
        assert!((both.tau + 1.0 / 3.0).abs() < 1e-12, "{both:?}");
        // Rank sums 2, 3, 4 less 1 each: S = 2, W = 12 * 2 / (9 * 24).
        assert!((both.w - 1.0 / 9.0).abs() < 1e-12, "{both:?}");
        let each = with_the_others(&votes);
        assert_eq!(each, [0.0, 0.0, -1.0]);
    }

    #[test]
    fn one_vote_agrees_with_nobody_and_a_tie_of_all_with_none() {
        assert_eq!(agreement(&votes(&["[1] > [2] > [3]"])), None);
        assert!(with_the_others(&votes(&["[1] > [2] > [3]"])).is_empty());
        let tied = agreement(&votes(&["[1] = [2] = [3]", "[1] > [2] > [3]"])).unwrap();
        assert!(tied.tau.abs() < 1e-12);
        assert!(
            agreement(&votes(&["[1] = [2] = [3]", "[1] = [2] = [3]"])).unwrap().w.abs() < 1e-12
        );
    }
}
