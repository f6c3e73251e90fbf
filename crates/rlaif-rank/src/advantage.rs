//! Advantages made from ranks: one family of formulas under the names that recipes use.
//!
//! Notation: `rank_i` is the position the Oracle gives candidate i (0 best), `policy_rank_i` its
//! position when the group is sorted by the policy's own mean token log-probability (highest
//! first), `G` the group size, `gain` that of [`crate::gain`](mod@crate::gain). `A_i` is
//! `mean_j(delta_j) - delta_i` unless it is given.
//!
//! | name | formula | origin |
//! |---|---|---|
//! | `dcg` | `delta_i = 1 - gain(rank_i) / gain(0)` | our reading of GRPO_rank: the nDCG shortfall of the Oracle's position |
//! | `linear` | `A_i = (G - 1 - 2 rank_i) / (G - 1)` | Borda; GOPO (arXiv:2602.03876) up to a factor |
//! | `normal` | `A_i` = normal score of `rank_i` | rank-based inverse normal transform, see [`normal_scores`] |
//! | `paper` | `delta_i = 1 - gain(policy_rank_i) / gain(rank_i)` | Shi et al. 2025 (arXiv:2510.02561) as its public reviews transcribe it |
//! | `paper-bounded` | `delta_i = 1 - min(g, h) / max(g, h)`, `g = gain(rank_i)`, `h = gain(policy_rank_i)` | the same, kept within the bound that the paper claims |
//! | `dcg-gap` | `A_i = gain(rank_i) - gain(policy_rank_i)` | ours: signed disagreement, zero once the orders agree |
//! | `zscore` | `A_i = (s_i - mean s) / (std s + 1e-4)` | GRPO (Shao et al. 2024, arXiv:2402.03300), for scores of a scalar reward |
//!
//! Under ties the value of a position becomes the mean over the positions of the block, for the
//! Oracle's ties and for those of the policy's log-probabilities; unplaced candidates share the
//! positions left over. So `dcg`, `linear`, `normal` and `dcg-gap` give what breaking the ties by
//! chance gives on average.
//!
//! # What each member promises
//!
//! | promise | which |
//! |---|---|
//! | sums to 0 within the group | all |
//! | exactly 0 for everyone when the Oracle ties all (a rule of its own for `paper`, `paper-bounded` and `dcg-gap`, whose formulas would go on rewarding the policy's order) | all |
//! | renumbering the candidates renumbers the advantages | all |
//! | candidates that tie (for the members that look at the policy: there too) get the same | all |
//! | a better rank gets strictly more | `dcg`, `linear`, `normal`; `dcg-gap` where the policy ties them |
//! | bounded by [`Advantage::bound`] | all but `paper` |
//! | top-heavy: the step from rank k to k + 1 shrinks with k | `dcg`; `dcg-gap` in the Oracle's rank |
//! | reversing a complete ranking flips the sign | `linear`, `normal` |
//! | on average over everything that the policy could have preferred, the best gets more than 0 and the worst less | `dcg`, `linear`, `normal`, `dcg-gap`, `zscore` |
//!
//! **`paper` and `paper-bounded` break the last one**: they reward agreement of the two orders,
//! not quality. For G = 5 the best candidate gets -1.83 on average and the worst +2.15 (`paper`),
//! -0.16 and +0.01 (`paper-bounded`), where `dcg` gives +0.67 and -0.26: a good answer that the
//! policy thinks unlikely is pushed down. They are here to be compared with, not to train with.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::normal::normal_scores;
use crate::{InvalidRanking, Ranking};

/// How ranks become advantages. See the [module](self) for formulas and promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Advantage {
    /// `dcg`: nDCG shortfall of the Oracle's position; bounded, most of its weight at the top.
    #[default]
    Dcg,
    /// `linear`: equal steps; keeps more signal than `dcg` under a noisy Oracle.
    Linear,
    /// `normal`: normal scores, unit root mean square.
    Normal,
    /// `paper`: the transcribed formula. Rewards agreement, not quality, and is not bounded: do
    /// not train with it.
    Paper,
    /// `paper-bounded`: the same within a bound. Rewards agreement, not quality.
    PaperBounded,
    /// `dcg-gap`: gain of the Oracle's position less gain of the policy's.
    DcgGap,
    /// `zscore`: standardised scores of a scalar reward. Oracles only order, so that this member
    /// needs scores beside the ranking and is an error without.
    Zscore,
}

impl Advantage {
    /// All members, in the order of the table.
    pub const ALL: [Advantage; 7] = [
        Advantage::Dcg,
        Advantage::Linear,
        Advantage::Normal,
        Advantage::Paper,
        Advantage::PaperBounded,
        Advantage::DcgGap,
        Advantage::Zscore,
    ];

    /// The name in recipes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Advantage::Dcg => "dcg",
            Advantage::Linear => "linear",
            Advantage::Normal => "normal",
            Advantage::Paper => "paper",
            Advantage::PaperBounded => "paper-bounded",
            Advantage::DcgGap => "dcg-gap",
            Advantage::Zscore => "zscore",
        }
    }

    /// Whether the policy's mean log-probabilities enter.
    #[must_use]
    pub fn uses_policy(self) -> bool {
        matches!(self, Advantage::Paper | Advantage::PaperBounded | Advantage::DcgGap)
    }

    /// Whether scores enter.
    #[must_use]
    pub fn uses_scores(self) -> bool {
        self == Advantage::Zscore
    }

    /// Whether it is meant for training: on average it raises the best candidate and lowers the
    /// worst. Not so `paper` and `paper-bounded`.
    #[must_use]
    pub fn is_for_training(self) -> bool {
        !matches!(self, Advantage::Paper | Advantage::PaperBounded)
    }

    /// The most that `|A_i|` can be in a group of `candidates`; `None` where nothing is promised.
    ///
    /// 1 for `dcg`, `linear`, `paper-bounded` and `dcg-gap`; `sqrt(G - 1)` for `normal` (they sum
    /// to 0 and their squares to G at most); `(G - 1) / sqrt(G)` for `zscore`; none for `paper`,
    /// whose delta grows as `G log2 G`.
    #[must_use]
    pub fn bound(self, candidates: usize) -> Option<f64> {
        let g = candidates as f64;
        match self {
            Advantage::Dcg | Advantage::Linear | Advantage::PaperBounded | Advantage::DcgGap => {
                Some(1.0)
            }
            Advantage::Normal => Some((g - 1.0).max(0.0).sqrt()),
            Advantage::Zscore => Some((g - 1.0).max(0.0) / g.max(1.0).sqrt()),
            Advantage::Paper => None,
        }
    }
}

impl fmt::Display for Advantage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no member of the family has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown advantage `{0}`, expected one of `dcg`, `linear`, `normal`, `paper`, \
     `paper-bounded`, `dcg-gap`, `zscore`"
)]
pub struct UnknownAdvantage(pub String);

impl FromStr for Advantage {
    type Err = UnknownAdvantage;
    fn from_str(name: &str) -> Result<Self, UnknownAdvantage> {
        let found = Advantage::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| UnknownAdvantage(name.to_owned()))
    }
}

/// Inputs from which no advantages can be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AdvantageError {
    /// As many log-probabilities as candidates are needed.
    #[error("{got} mean log-probabilities of the policy for {expected} candidates")]
    PolicyLength {
        /// Given.
        got: usize,
        /// Candidates in the ranking.
        expected: usize,
    },
    /// The policy's order cannot be told.
    #[error("the policy's mean log-probabilities have no order")]
    Policy(#[source] InvalidRanking),
    /// `zscore` was asked for and only ranks are at hand.
    #[error(
        "`zscore` standardises scores of a scalar reward, and an Oracle gives an order only; \
         use `dcg`, `linear` or `normal` with an Oracle"
    )]
    ScoresMissing,
    /// As many scores as candidates are needed.
    #[error("{got} scores for {expected} candidates")]
    ScoresLength {
        /// Given.
        got: usize,
        /// Candidates in the ranking.
        expected: usize,
    },
    /// A score is infinite or NaN, or so large that its square is.
    #[error("the score {score} of candidate {candidate} cannot be standardised")]
    ScoreNotFinite {
        /// The candidate with the score.
        candidate: usize,
        /// The score.
        score: f64,
    },
    /// The ranking puts one candidate above another and the scores the other way round.
    #[error("the ranking puts candidate {above} above {below}, the scores put it below")]
    ScoresContradict {
        /// Ranked higher, scored lower.
        above: usize,
        /// Ranked lower, scored higher.
        below: usize,
    },
}

/// Advantages of a group, length `G`, summing to 0; all exactly 0 when the Oracle ties everyone.
///
/// `policy_mean_logprobs` (nats a token, length `G`) gives the policy's own order; members that
/// do not look at it ([`Advantage::uses_policy`]) take an empty slice. Negative infinity, the
/// value of an empty completion, is legal. `scores` (length `G`) is for `zscore` alone, where the
/// ranking is the order of the same scores; the other members ignore it.
///
/// ```
/// use rlaif_rank::{Advantage, Ranking, advantages};
///
/// let oracle = Ranking::parse("[2] > [1] = [3]", 3)?;
/// assert_eq!(advantages(Advantage::Linear, &oracle, &[], None)?, [-0.5, 1.0, -0.5]);
///
/// // The policy likes the third best, and its first and second the same.
/// let gap = advantages(Advantage::DcgGap, &oracle, &[-2.0, -2.0, -1.0], None)?;
/// assert!(gap[1] > 0.0 && gap[2] < 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// When a list that the member needs is missing, has another length than the ranking, or holds
/// values without an order; for `zscore` also when ranking and scores contradict each other.
pub fn advantages(
    kind: Advantage,
    ranking: &Ranking,
    policy_mean_logprobs: &[f64],
    scores: Option<&[f64]>,
) -> Result<Vec<f64>, AdvantageError> {
    // Before the look at the ranking: what is wrong is wrong for any verdict.
    let policy_gains = if kind.uses_policy() {
        policy_ranking(ranking, policy_mean_logprobs)?.gains()
    } else {
        Vec::new()
    };
    let scores = if kind.uses_scores() { checked_scores(ranking, scores)? } else { &[] };
    if ranking.is_all_tied() {
        return Ok(vec![0.0; ranking.len()]);
    }

    let pairs = || ranking.gains().into_iter().zip(&policy_gains);
    Ok(match kind {
        Advantage::Dcg => from_deltas(ranking.gains().iter().map(|g| 1.0 - g).collect()),
        Advantage::Linear => {
            let last = (ranking.len() - 1) as f64;
            ranking.mean_positions().iter().map(|rank| (last - 2.0 * rank) / last).collect()
        }
        Advantage::Normal => {
            let values = normal_scores(ranking.len());
            ranking.position_means(|position| values[position])
        }
        Advantage::Paper => from_deltas(pairs().map(|(g, h)| 1.0 - h / g).collect()),
        Advantage::PaperBounded => {
            from_deltas(pairs().map(|(g, h)| 1.0 - g.min(*h) / g.max(*h)).collect())
        }
        Advantage::DcgGap => pairs().map(|(g, h)| g - h).collect(),
        Advantage::Zscore => standardised(scores)?,
    })
}

/// The order of the policy's own preference, ties included.
fn policy_ranking(ranking: &Ranking, mean_logprobs: &[f64]) -> Result<Ranking, AdvantageError> {
    let (got, expected) = (mean_logprobs.len(), ranking.len());
    if got != expected {
        return Err(AdvantageError::PolicyLength { got, expected });
    }
    Ranking::from_scores(mean_logprobs).map_err(AdvantageError::Policy)
}

fn checked_scores<'a>(
    ranking: &Ranking,
    scores: Option<&'a [f64]>,
) -> Result<&'a [f64], AdvantageError> {
    let scores = scores.ok_or(AdvantageError::ScoresMissing)?;
    let (got, expected) = (scores.len(), ranking.len());
    if got != expected {
        return Err(AdvantageError::ScoresLength { got, expected });
    }
    if let Some(candidate) = scores.iter().position(|score| !score.is_finite()) {
        return Err(AdvantageError::ScoreNotFinite { candidate, score: scores[candidate] });
    }
    let levels = ranking.levels();
    for above in 0..expected {
        for below in 0..expected {
            if let (Some(a), Some(b)) = (levels[above], levels[below])
                && a < b
                && scores[above] < scores[below]
            {
                return Err(AdvantageError::ScoresContradict { above, below });
            }
        }
    }
    Ok(scores)
}

/// `A_i = mean_j(delta_j) - delta_i`.
fn from_deltas(deltas: Vec<f64>) -> Vec<f64> {
    let mean = mean(&deltas);
    deltas.into_iter().map(|delta| mean - delta).collect()
}

fn standardised(scores: &[f64]) -> Result<Vec<f64>, AdvantageError> {
    let values = zscore(scores);
    if values.iter().all(|value| value.is_finite()) {
        return Ok(values);
    }
    let largest = |a: &usize, b: &usize| scores[*a].abs().total_cmp(&scores[*b].abs());
    let candidate = (0..scores.len()).max_by(largest).unwrap_or(0);
    Err(AdvantageError::ScoreNotFinite { candidate, score: scores[candidate] })
}

/// The scores of a scalar reward, standardised within their group: `(s_i - mean) / (std + 1e-4)`.
///
/// `std` is the sample standard deviation, with n - 1 in its denominator. GRPO's paper does not
/// say which it means; this is what TRL computes (`torch.std` at its default), so that a run of
/// plain GRPO here can be compared with one there. Equal scores give exactly 0.
///
/// Scores that are not finite, or so large that their spread is not, give NaN for the whole group:
/// [`advantages`] refuses them with the candidate's number instead.
///
/// ```
/// // The mean is 2, and std = sqrt(2 / 3) = 0.8165.
/// let values = rlaif_rank::zscore(&[1.0, 3.0, 2.0, 2.0]);
/// assert!((values[1] - 1.224_594_89).abs() < 1e-8);
/// assert_eq!(rlaif_rank::zscore(&[0.1, 0.1]), [0.0, 0.0]);
/// ```
#[must_use]
pub fn zscore(scores: &[f64]) -> Vec<f64> {
    let (mean, std) = (mean(scores), sample_std(scores));
    if !(mean.is_finite() && std.is_finite()) {
        return vec![f64::NAN; scores.len()];
    }
    // Rounding of the mean would make equal scores differ from it.
    if scores.iter().all(|score| score.total_cmp(&scores[0]).is_eq()) {
        return vec![0.0; scores.len()];
    }
    let values = scores.iter().map(|score| (mean - score) / (std + STD_EPSILON)).collect();
    // Rounding of a mean far from 0 leaves a common remainder; centring again takes it out.
    from_deltas(values)
}

/// What keeps nearly equal values from being blown up; GRPO's and TRL's.
pub(crate) const STD_EPSILON: f64 = 1e-4;

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Standard deviation with n - 1 in the denominator; 0 for fewer than two values.
pub(crate) fn sample_std(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

#[cfg(test)]
mod tests;
