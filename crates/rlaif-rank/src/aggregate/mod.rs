//! Several rankings of the same candidates become one.
//!
//! Where the evidence for two candidates is even, they come out tied: nothing is decided by the
//! order in which candidates or rankings are listed. A candidate that no ranking places stays
//! unplaced.
//!
//! | [`Aggregator`] | by | source |
//! |---|---|---|
//! | `borda` | share of comparisons won | Borda 1781, mean rank |
//! | `copeland` | pairs won by majority | Copeland 1951 |
//! | `kemeny` | the orders with least disagreement | Kemeny 1959 |
//! | `bradley_terry` | strengths from pairs | Bradley and Terry 1952 |
//! | `plackett_luce` | strengths from whole orders | Plackett 1975, Luce 1959 |

mod kemeny;
mod strength;

use serde::{Deserialize, Serialize};

use crate::{InvalidRanking, Ranking};

/// Most candidates that `kemeny` takes: its time doubles with each.
pub const KEMENY_LIMIT: usize = 16;
/// Scores this near, relative to the largest or to 1, are the same: they come from sums and
/// iterations, and the logarithms of equal strengths are nothing but rounding.
const EVEN: f64 = 1e-6;

/// How rankings become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregator {
    /// Share of a candidate's comparisons that it wins, ties a half: mean rank where all rankings
    /// are complete.
    #[default]
    Borda,
    /// Other candidates that it beats more often than not, an even score a half.
    Copeland,
    /// Mean position over all strict orders that disagree with the fewest comparisons; exact.
    Kemeny,
    /// Maximum likelihood of `P(i beats j) = p_i / (p_i + p_j)`, ties as half a win each.
    BradleyTerry,
    /// Maximum likelihood of choosing the best, then the best of the rest, and so on.
    PlackettLuce,
}

/// Rankings that cannot be made one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AggregateError {
    /// Nothing to go by.
    #[error("there is no ranking to aggregate")]
    Nothing,
    /// The lists are about different numbers of candidates.
    #[error("cannot aggregate rankings of {left} and of {right} candidates")]
    DifferentLengths {
        /// Candidates in the first.
        left: usize,
        /// Candidates in another.
        right: usize,
    },
    /// A weight that is no weight, or not one for each ranking.
    #[error("weights must be one per ranking, finite and not negative, and not all 0")]
    Weights,
    /// Too many candidates for an exact search.
    #[error(
        "`kemeny` searches all orders of at most {KEMENY_LIMIT} candidates, these are {0}; take `borda`"
    )]
    TooMany(usize),
    /// No ranking places any candidate.
    #[error(transparent)]
    Invalid(#[from] InvalidRanking),
}

/// One ranking from several, each with the same weight.
///
/// # Errors
///
/// Without rankings, where they are about different numbers of candidates, or where there are too
/// many candidates for the aggregator.
pub fn aggregate(by: Aggregator, rankings: &[Ranking]) -> Result<Ranking, AggregateError> {
    aggregate_weighted(by, rankings, &vec![1.0; rankings.len()])
}

/// One ranking from several, each as many times as its weight says.
///
/// # Errors
///
/// As [`aggregate`], and where the weights do not fit.
pub fn aggregate_weighted(
    by: Aggregator,
    rankings: &[Ranking],
    weights: &[f64],
) -> Result<Ranking, AggregateError> {
    let first = rankings.first().ok_or(AggregateError::Nothing)?;
    let n = first.len();
    if let Some(other) = rankings.iter().find(|ranking| ranking.len() != n) {
        return Err(AggregateError::DifferentLengths { left: n, right: other.len() });
    }
    let legal = |weight: &f64| weight.is_finite() && *weight >= 0.0;
    if weights.len() != rankings.len()
        || !weights.iter().all(legal)
        || weights.iter().all(|weight| *weight == 0.0)
    {
        return Err(AggregateError::Weights);
    }
    let kept: Vec<(&Ranking, f64)> = rankings
        .iter()
        .zip(weights)
        .filter(|(_, weight)| **weight > 0.0)
        .map(|(ranking, weight)| (ranking, *weight))
        .collect();
    let placed = |i: usize| kept.iter().any(|(ranking, _)| ranking.levels()[i].is_some());
    let placed: Vec<usize> = (0..n).filter(|i| placed(*i)).collect();
    let wins = Wins::count(&kept, &placed);
    let scores = match by {
        Aggregator::Borda => wins.shares(),
        Aggregator::Copeland => wins.majorities(),
        Aggregator::Kemeny if placed.len() > KEMENY_LIMIT => {
            return Err(AggregateError::TooMany(placed.len()));
        }
        Aggregator::Kemeny => kemeny::mean_positions(&wins).into_iter().map(|p| -p).collect(),
        Aggregator::BradleyTerry => strength::bradley_terry(&wins),
        Aggregator::PlackettLuce => strength::plackett_luce(&kept, &placed),
    };
    let levels = levels(&scores);
    let mut ranks = vec![None; n];
    for (candidate, level) in placed.iter().zip(levels) {
        ranks[*candidate] = Some(level);
    }
    Ok(Ranking::from_ranks(ranks)?)
}

/// Levels of scores, larger first; scores that differ by rounding share one.
fn levels(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let scale = scores.iter().fold(1.0_f64, |m, s| m.max(s.abs()));
    let mut levels = vec![0; scores.len()];
    for pair in order.windows(2) {
        let apart = scores[pair[0]] - scores[pair[1]] > EVEN * scale;
        levels[pair[1]] = levels[pair[0]] + usize::from(apart);
    }
    levels
}

/// Weighted comparisons between placed candidates, ties as half a win for each.
struct Wins {
    n: usize,
    /// `[i * n + j]`: how often `i` stood above `j`.
    counts: Vec<f64>,
}

impl Wins {
    fn count(rankings: &[(&Ranking, f64)], placed: &[usize]) -> Wins {
        let n = placed.len();
        let mut counts = vec![0.0; n * n];
        for (ranking, weight) in rankings {
            let levels = ranking.levels();
            for (i, a) in placed.iter().enumerate() {
                for (j, b) in placed.iter().enumerate() {
                    if let (true, Some(a), Some(b)) = (i != j, levels[*a], levels[*b]) {
                        counts[i * n + j] += match a.cmp(&b) {
                            std::cmp::Ordering::Less => *weight,
                            std::cmp::Ordering::Equal => weight / 2.0,
                            std::cmp::Ordering::Greater => 0.0,
                        };
                    }
                }
            }
        }
        Wins { n, counts }
    }

    fn of(&self, i: usize, j: usize) -> f64 {
        self.counts[i * self.n + j]
    }

    /// Share of each candidate's comparisons that it wins; a half where it has none.
    fn shares(&self) -> Vec<f64> {
        let share = |i: usize| {
            let won: f64 = (0..self.n).map(|j| self.of(i, j)).sum();
            let lost: f64 = (0..self.n).map(|j| self.of(j, i)).sum();
            if won + lost > 0.0 { won / (won + lost) } else { 0.5 }
        };
        (0..self.n).map(share).collect()
    }

    fn majorities(&self) -> Vec<f64> {
        let against = |i: usize, j: usize| {
            let (won, lost) = (self.of(i, j), self.of(j, i));
            let even = EVEN * (won + lost);
            match won - lost {
                margin if margin > even => 1.0,
                margin if margin < -even => 0.0,
                _ => 0.5,
            }
        };
        let score = |i| (0..self.n).filter(|j| *j != i).map(|j| against(i, j)).sum();
        (0..self.n).map(score).collect()
    }
}

#[cfg(test)]
mod tests;
