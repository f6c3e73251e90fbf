//! From a ranking to pairs of a better and a worse candidate, as preference data holds them.

use serde::{Deserialize, Serialize};

use crate::Ranking;

/// Which pairs of a ranked group become preferences.
///
/// In JSON and TOML `all` and `extremes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairRule {
    /// Every candidate against every one of a lower block: `G (G - 1) / 2` pairs where nothing
    /// ties.
    #[default]
    All,
    /// The best against the worst: one pair a group. Where several tie for best or for worst, the
    /// first of each block, that is the one with the smallest number.
    Extremes,
}

/// The pairs `(better, worse)` of candidate numbers that `rule` takes from `ranking`.
///
/// Only what the ranking tells apart is a pair: candidates that tie are never paired, nor are
/// unplaced ones, of which the Oracle said nothing. The order is that of the ranking, by the
/// better candidate first and by the worse one next; within a block numbers ascend.
///
/// ```
/// use rlaif_rank::{PairRule, Ranking, strict_pairs};
///
/// // The fifth candidate is not placed.
/// let ranking = Ranking::parse("[3] > [1] = [4] > [2]", 5)?;
/// let all = [(2, 0), (2, 3), (2, 1), (0, 1), (3, 1)];
/// assert_eq!(strict_pairs(&ranking, PairRule::All), all);
/// assert_eq!(strict_pairs(&ranking, PairRule::Extremes), [(2, 1)]);
/// # Ok::<(), rlaif_rank::ParseRankingError>(())
/// ```
#[must_use]
pub fn strict_pairs(ranking: &Ranking, rule: PairRule) -> Vec<(usize, usize)> {
    let blocks = ranking.blocks();
    match rule {
        PairRule::All => {
            let mut pairs = Vec::new();
            for (level, block) in blocks.iter().enumerate() {
                for &better in block {
                    pairs
                        .extend(blocks[level + 1..].iter().flatten().map(|worse| (better, *worse)));
                }
            }
            pairs
        }
        PairRule::Extremes => match &blocks[..] {
            // Blocks are never empty.
            [best, .., worst] => vec![(best[0], worst[0])],
            _ => Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{any_ranking, shuffled};

    fn pairs(ranking: &str, candidates: usize, rule: PairRule) -> Vec<(usize, usize)> {
        strict_pairs(&Ranking::parse(ranking, candidates).unwrap(), rule)
    }

    #[test]
    fn the_first_of_tied_extremes_stands_for_them() {
        assert_eq!(pairs("[4] = [2] > [5] > [3] = [1]", 5, PairRule::Extremes), [(1, 0)]);
    }

    #[test]
    fn what_is_not_told_apart_is_no_pair() {
        for rule in [PairRule::All, PairRule::Extremes] {
            assert_eq!(pairs("[1] = [2] = [3]", 3, rule), []);
            // One placed candidate is above nobody: the others may be as good.
            assert_eq!(pairs("[2]", 3, rule), []);
            let nothing = Ranking::from_blocks(&[], 3).unwrap();
            assert_eq!(strict_pairs(&nothing, rule), []);
            assert_eq!(pairs("[3] > [1]", 4, rule), [(2, 0)]);
        }
    }

    #[test]
    fn recipes_write_the_rules_in_snake_case() {
        let rules = [PairRule::All, PairRule::Extremes];
        assert_eq!(serde_json::to_string(&rules).unwrap(), r#"["all","extremes"]"#);
        assert_eq!(PairRule::default(), PairRule::All);
        assert!(serde_json::from_str::<PairRule>(r#""best""#).is_err());
    }

    proptest! {
        #[test]
        fn a_strict_order_gives_every_pair(order in (1_usize..9).prop_flat_map(shuffled)) {
            let ranking = Ranking::from_order(&order).unwrap();
            let n = order.len();
            let pairs = strict_pairs(&ranking, PairRule::All);
            prop_assert_eq!(pairs.len(), n * (n - 1) / 2);
            // In the order of the list itself.
            let listed: Vec<(usize, usize)> = (0..n)
                .flat_map(|i| (i + 1..n).map(move |j| (i, j)))
                .map(|(i, j)| (order[i], order[j]))
                .collect();
            prop_assert_eq!(pairs, listed);
        }

        #[test]
        fn pairs_are_what_the_levels_tell_apart(ranking in any_ranking(8)) {
            let levels = ranking.levels();
            let told_apart: BTreeSet<(usize, usize)> = (0..ranking.len())
                .flat_map(|a| (0..ranking.len()).map(move |b| (a, b)))
                .filter(|(a, b)| matches!((levels[*a], levels[*b]), (Some(a), Some(b)) if a < b))
                .collect();
            let pairs = strict_pairs(&ranking, PairRule::All);
            prop_assert_eq!(pairs.len(), told_apart.len());
            prop_assert_eq!(pairs.iter().copied().collect::<BTreeSet<_>>(), told_apart);

            let extremes = strict_pairs(&ranking, PairRule::Extremes);
            prop_assert_eq!(extremes.len(), usize::from(!pairs.is_empty()));
            for pair in extremes {
                prop_assert!(pairs.contains(&pair));
                prop_assert!(pairs.iter().all(|(_, worse)| *worse != pair.0));
                prop_assert!(pairs.iter().all(|(better, _)| *better != pair.1));
            }
        }
    }
}
