//! A ranking as a weak order that may be partial.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A weak order over the G candidates of a group: ties are legal, and candidates may be unplaced.
///
/// Two numbers tell where a candidate stands, and they differ once there are ties:
///
/// - its *level* counts the tie blocks above it ([`Ranking::levels`]);
/// - its *positions* are the places of the list that its block takes up ([`Ranking::spans`]).
///   `[2] > [1] = [3]` has levels `1, 0, 1` and spans `1..3, 0..1, 1..3`.
///
/// Unplaced candidates take the positions that are left over, all of them together, as one tie
/// block at the end would; they have no level.
///
/// In JSON a ranking is the list of levels, `[1, 0, 1]`, with `null` for unplaced. Any list of
/// ranks reads, so that `[20, 3, 20]` is the same ranking.
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
    /// A list about the candidates has the wrong length.
    #[error("{got} entries for {expected} candidates")]
    Length {
        /// Entries given.
        got: usize,
        /// Candidates there are.
        expected: usize,
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
    ///
    /// # Errors
    ///
    /// [`InvalidRanking::Empty`] without candidates.
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
    /// Empty blocks leave nothing.
    ///
    /// # Errors
    ///
    /// Without candidates, or when a candidate does not exist or is named twice.
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
    ///
    /// # Errors
    ///
    /// When the list is no permutation of `0..best_first.len()`, or empty.
    pub fn from_order(best_first: &[usize]) -> Result<Self, InvalidRanking> {
        let blocks: Vec<Vec<usize>> = best_first.iter().map(|c| vec![*c]).collect();
        let ranking = Ranking::from_blocks(&blocks, best_first.len())?;
        match ranking.levels.iter().position(Option::is_none) {
            Some(candidate) => Err(InvalidRanking::Missing { candidate }),
            None => Ok(ranking),
        }
    }

    /// From one score per candidate, larger is better, equal is tied. Infinities are legal, and
    /// `0.0` ties with `-0.0`.
    ///
    /// # Errors
    ///
    /// [`InvalidRanking::NotANumber`] for a NaN, [`InvalidRanking::Empty`] without scores.
    pub fn from_scores(scores: &[f64]) -> Result<Self, InvalidRanking> {
        if let Some(candidate) = scores.iter().position(|s| s.is_nan()) {
            return Err(InvalidRanking::NotANumber { candidate });
        }
        let mut distinct = scores.to_vec();
        distinct.sort_unstable_by(|a, b| b.total_cmp(a));
        distinct.dedup();
        Ranking::from_ranks(
            scores.iter().map(|s| Some(distinct.partition_point(|d| d > s))).collect(),
        )
    }

    /// The ranking in which `candidates` candidates all tie.
    ///
    /// # Errors
    ///
    /// [`InvalidRanking::Empty`] for 0.
    pub fn all_tied(candidates: usize) -> Result<Self, InvalidRanking> {
        Ranking::from_ranks(vec![Some(0); candidates])
    }

    /// Number of candidates `G`, placed or not.
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

    /// Tie blocks, best first; candidates within a block ascend. Unplaced candidates are in none.
    #[must_use]
    pub fn blocks(&self) -> Vec<Vec<usize>> {
        let n_blocks = self.levels.iter().flatten().max().map_or(0, |last| last + 1);
        let mut blocks = vec![Vec::new(); n_blocks];
        for (candidate, level) in self.levels.iter().enumerate() {
            if let Some(level) = level {
                blocks[*level].push(candidate);
            }
        }
        blocks
    }

    /// Candidates that were not placed, ascending.
    #[must_use]
    pub fn unplaced(&self) -> Vec<usize> {
        (0..self.len()).filter(|candidate| self.levels[*candidate].is_none()).collect()
    }

    /// How many candidates were placed.
    #[must_use]
    pub fn n_placed(&self) -> usize {
        self.levels.iter().flatten().count()
    }

    /// Whether every candidate was placed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.n_placed() == self.len()
    }

    /// Whether no two candidates tie and all are placed.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.spans().iter().all(|span| span.len() == 1) && self.is_complete()
    }

    /// Whether the ranking says nothing: every candidate shares every position. True for one
    /// block of all, for nothing placed, and for a single candidate.
    #[must_use]
    pub fn is_all_tied(&self) -> bool {
        self.levels.iter().all(|level| *level == self.levels[0])
    }

    /// The positions that each candidate's block takes up, 0 best: `a..b` for a block over the
    /// positions a, ..., b - 1. Unplaced candidates share `n_placed()..len()`.
    #[must_use]
    pub fn spans(&self) -> Vec<Range<usize>> {
        let mut start = 0;
        let mut block_spans = Vec::new();
        for block in self.blocks() {
            block_spans.push(start..start + block.len());
            start += block.len();
        }
        self.levels
            .iter()
            .map(|level| level.map_or(start..self.len(), |level| block_spans[level].clone()))
            .collect()
    }

    /// Mean position of each candidate, 0 best: `rank_i` where a formula wants one number, the
    /// mid-rank under ties.
    #[must_use]
    pub fn mean_positions(&self) -> Vec<f64> {
        // The mean of a, ..., b - 1 is (a + b - 1) / 2; spans are never empty.
        self.spans().iter().map(|span| (span.start + span.end - 1) as f64 / 2.0).collect()
    }

    /// The ranking of some of the candidates, renumbered: candidate `i` of the result is
    /// candidate `keep[i]` of this one. Ties and gaps stay.
    ///
    /// # Errors
    ///
    /// When `keep` is empty, names a candidate twice, or names one that does not exist.
    pub fn restrict(&self, keep: &[usize]) -> Result<Self, InvalidRanking> {
        let mut seen = vec![false; self.len()];
        let mut ranks = Vec::with_capacity(keep.len());
        for &candidate in keep {
            let slot = seen.get_mut(candidate).ok_or(InvalidRanking::UnknownCandidate {
                candidate,
                candidates: self.levels.len(),
            })?;
            if std::mem::replace(slot, true) {
                return Err(InvalidRanking::Repeated { candidate });
            }
            ranks.push(self.levels[candidate]);
        }
        Ranking::from_ranks(ranks)
    }

    /// The same ranking with the candidates renumbered: candidate `i` of the result is candidate
    /// `permutation[i]` of this one, just as `values[permutation[i]]` renumbers a list.
    ///
    /// # Errors
    ///
    /// When `permutation` is no permutation of the candidates.
    pub fn permute(&self, permutation: &[usize]) -> Result<Self, InvalidRanking> {
        if permutation.len() != self.len() {
            return Err(InvalidRanking::Length { got: permutation.len(), expected: self.len() });
        }
        self.restrict(permutation)
    }

    /// The best become the worst; unplaced candidates stay unplaced.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let last = self.levels.iter().flatten().max().copied().unwrap_or(0);
        Ranking { levels: self.levels.iter().map(|level| level.map(|l| last - l)).collect() }
    }

    /// Unplaced candidates become one tie block at the end, so that the ranking is complete.
    #[must_use]
    pub fn unplaced_last(&self) -> Self {
        let end = self.levels.iter().flatten().max().map_or(0, |last| last + 1);
        Ranking { levels: self.levels.iter().map(|level| Some(level.unwrap_or(end))).collect() }
    }
}

#[cfg(test)]
mod tests;
