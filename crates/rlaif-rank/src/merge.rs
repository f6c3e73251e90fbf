//! Identical responses are ranked once and tie afterwards.

use std::collections::HashMap;
use std::hash::Hash;

use crate::{InvalidRanking, Ranking};

/// Candidates with the identical ones merged.
///
/// An Oracle that is shown the same response twice can only guess at their order, and the guess
/// would be trained on. So it is shown one of them, and both tie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Candidate numbers to rank: the first of each kind, ascending.
    pub representatives: Vec<usize>,
    /// For each candidate the place of its representative in `representatives`.
    pub representative_of: Vec<usize>,
}

/// Finds identical candidates.
///
/// ```
/// use rlaif_rank::{Ranking, merge_identical};
///
/// let merged = merge_identical(&["a cat", "a dog", "a cat"]);
/// assert_eq!(merged.representatives, [0, 1]);
///
/// let of_the_two: Ranking = Ranking::from_order(&[1, 0])?;
/// let of_all = of_the_two.expand(&merged.representative_of)?;
/// assert_eq!(of_all.to_string(), "[2] > [1] = [3]");
/// # Ok::<(), rlaif_rank::InvalidRanking>(())
/// ```
#[must_use]
pub fn merge_identical<T: Eq + Hash>(candidates: &[T]) -> Merged {
    let mut first_seen: HashMap<&T, usize> = HashMap::new();
    let mut representatives = Vec::new();
    let mut representative_of = Vec::with_capacity(candidates.len());
    for (i, candidate) in candidates.iter().enumerate() {
        let place = *first_seen.entry(candidate).or_insert_with(|| {
            representatives.push(i);
            representatives.len() - 1
        });
        representative_of.push(place);
    }
    Merged { representatives, representative_of }
}

impl Ranking {
    /// From a ranking of representatives to one of all candidates: candidate `i` stands where
    /// `representative_of[i]` stands here, so those that share a representative tie.
    ///
    /// # Errors
    ///
    /// When `representative_of` is empty or names a candidate that does not exist.
    pub fn expand(&self, representative_of: &[usize]) -> Result<Ranking, InvalidRanking> {
        let levels = representative_of.iter().map(|&candidate| {
            self.levels()
                .get(candidate)
                .copied()
                .ok_or(InvalidRanking::UnknownCandidate { candidate, candidates: self.len() })
        });
        Ranking::from_ranks(levels.collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::any_ranking;

    #[test]
    fn unplaced_representatives_leave_their_copies_unplaced() {
        let r = Ranking::from_ranks(vec![None, Some(0)]).unwrap();
        assert_eq!(r.expand(&[1, 0, 0, 1]).unwrap().levels(), [Some(0), None, None, Some(0)]);
        assert_eq!(
            r.expand(&[2]),
            Err(InvalidRanking::UnknownCandidate { candidate: 2, candidates: 2 })
        );
        assert_eq!(r.expand(&[]), Err(InvalidRanking::Empty));
    }

    proptest! {
        #[test]
        fn expanding_undoes_merging(texts in proptest::collection::vec(0_u8..4, 1..8)) {
            let merged = merge_identical(&texts);
            let by_value: Vec<f64> = texts.iter().map(|t| f64::from(*t)).collect();
            let all = Ranking::from_scores(&by_value).unwrap();
            let few = all.restrict(&merged.representatives).unwrap();
            prop_assert!(few.is_strict());
            prop_assert_eq!(few.expand(&merged.representative_of).unwrap(), all);
        }

        #[test]
        fn copies_tie(r in any_ranking(5), picks in proptest::collection::vec(0_usize..5, 1..9)) {
            let map: Vec<usize> = picks.iter().map(|p| p % r.len()).collect();
            let expanded = r.expand(&map).unwrap();
            for i in 0..map.len() {
                for j in 0..map.len() {
                    prop_assert_eq!(
                        expanded.levels()[i].cmp(&expanded.levels()[j]),
                        r.levels()[map[i]].cmp(&r.levels()[map[j]])
                    );
                }
            }
        }
    }
}
