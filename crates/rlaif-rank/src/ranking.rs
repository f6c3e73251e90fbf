//! A ranking as a weak order that may be partial.

use serde::{Deserialize, Serialize};

/// A weak order over the G candidates of a group: ties are legal, and candidates may be unplaced.
///
/// `levels[i]` is the dense level of candidate `i` (0 is best, tied candidates share a level,
/// levels have no holes), or `None` where the Oracle did not place it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Option<usize>>", into = "Vec<Option<usize>>")]
pub struct Ranking {
    levels: Vec<Option<usize>>,
}

/// A list that is not a ranking of the candidates.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidRanking {
    /// No candidates at all.
    #[error("a ranking needs at least one candidate")]
    Empty,
    /// A candidate number that does not exist.
    #[error("candidate {candidate} does not exist, there are {candidates} (0 to {last})", last = candidates.saturating_sub(1))]
    UnknownCandidate {
        /// The number given.
        candidate: usize,
        /// How many candidates there are.
        candidates: usize,
    },
    /// A candidate was placed twice.
    #[error("candidate {candidate} is placed more than once")]
    Repeated {
        /// The candidate placed twice.
        candidate: usize,
    },
    /// A complete order was required and a candidate is missing.
    #[error("candidate {candidate} is not placed")]
    Missing {
        /// The candidate left out.
        candidate: usize,
    },
    /// A score that cannot be ordered.
    #[error("the score of candidate {candidate} is not a number")]
    NotANumber {
        /// The candidate with the score.
        candidate: usize,
    },
}

impl TryFrom<Vec<Option<usize>>> for Ranking {
    type Error = InvalidRanking;
    fn try_from(ranks: Vec<Option<usize>>) -> Result<Self, InvalidRanking> {
        Ranking::from_ranks(ranks)
    }
}

impl From<Ranking> for Vec<Option<usize>> {
    fn from(ranking: Ranking) -> Self {
        ranking.levels
    }
}

impl Ranking {
    /// From one rank per candidate, smaller is better, equal is tied, `None` is unplaced. Ranks
    /// are compressed to dense levels.
    pub fn from_ranks(ranks: Vec<Option<usize>>) -> Result<Self, InvalidRanking> {
        if ranks.is_empty() {
            return Err(InvalidRanking::Empty);
        }
        let mut distinct: Vec<usize> = ranks.iter().flatten().copied().collect();
        distinct.sort_unstable();
        distinct.dedup();
        let levels =
            ranks.into_iter().map(|rank| rank.map(|r| distinct.partition_point(|d| *d < r)));
        Ok(Ranking { levels: levels.collect() })
    }

    /// From tie blocks, best first, of `candidates` candidates; those not named are unplaced.
    pub fn from_blocks(blocks: &[Vec<usize>], candidates: usize) -> Result<Self, InvalidRanking> {
        let mut ranks = vec![None; candidates];
        for (level, block) in blocks.iter().enumerate() {
            for &candidate in block {
                let slot = ranks
                    .get_mut(candidate)
                    .ok_or(InvalidRanking::UnknownCandidate { candidate, candidates })?;
                if slot.replace(level).is_some() {
                    return Err(InvalidRanking::Repeated { candidate });
                }
            }
        }
        Ranking::from_ranks(ranks)
    }

    /// From a strict order, best first, that names every candidate exactly once.
    pub fn from_order(best_first: &[usize]) -> Result<Self, InvalidRanking> {
        let blocks: Vec<Vec<usize>> = best_first.iter().map(|c| vec![*c]).collect();
        let ranking = Ranking::from_blocks(&blocks, best_first.len())?;
        match ranking.levels.iter().position(Option::is_none) {
            Some(candidate) => Err(InvalidRanking::Missing { candidate }),
            None => Ok(ranking),
        }
    }

    /// From one score per candidate, larger is better, equal is tied.
    pub fn from_scores(scores: &[f64]) -> Result<Self, InvalidRanking> {
        if let Some(candidate) = scores.iter().position(|s| s.is_nan()) {
            return Err(InvalidRanking::NotANumber { candidate });
        }
        let mut distinct = scores.to_vec();
        distinct.sort_unstable_by(|a, b| b.total_cmp(a));
        distinct.dedup();
        Ranking::from_ranks(scores.iter().map(|s| distinct.iter().position(|d| d == s)).collect())
    }

    /// Number of candidates, placed or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.levels.len()
    }

    /// Always false: a ranking has at least one candidate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Level of each candidate, 0 best, equal is tied, `None` unplaced.
    #[must_use]
    pub fn levels(&self) -> &[Option<usize>] {
        &self.levels
    }
}
