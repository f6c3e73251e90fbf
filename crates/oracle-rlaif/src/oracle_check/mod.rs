//! How good an Oracle is, by groups whose order is known: so that it is chosen by figures before a run
//! is paid for.
//!
//! ```text
//! labelled groups -> each asked in several orders -> statistics of each -> means with intervals
//! ```
//!
//! - [`statistics`] measures one group, [`report`] all of them.

pub mod report;
pub mod statistics;

use rlaif_oracle::RankRequest;
use rlaif_rank::Ranking;

use crate::candidates::CandidateRow;

/// A row with its label.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// The row.
    pub row: CandidateRow,
    /// The known order of its candidates.
    pub label: Ranking,
}

/// The order in which the candidates are listed when a group is asked about for the `repeat`-th time: as
/// they stand, in reverse, then both of them shifted by one more each time. The first
/// [`listings`] differ.
#[must_use]
pub fn listing(candidates: usize, repeat: usize) -> Vec<usize> {
    let mut list: Vec<usize> = (0..candidates).collect();
    if repeat % 2 == 1 {
        list.reverse();
    }
    list.rotate_left((repeat / 2).checked_rem(candidates).unwrap_or(0));
    list
}

/// How many listings of so many candidates differ: more repeats would ask what was asked before.
#[must_use]
pub fn listings(candidates: usize) -> usize {
    if candidates < 3 { candidates } else { 2 * candidates }
}

/// All requests, group by group, `repeats` of each.
#[must_use]
pub fn requests(groups: &[Labelled], repeats: usize) -> Vec<RankRequest> {
    let one = |group: &Labelled, repeat| RankRequest {
        example: group.row.example.clone(),
        candidates: listing(group.row.candidates.len(), repeat)
            .into_iter()
            .map(|i| group.row.candidates[i].clone())
            .collect(),
    };
    groups.iter().flat_map(|group| (0..repeats).map(move |repeat| one(group, repeat))).collect()
}

/// A ranking of candidates listed as `listing` says, of the candidates themselves.
#[must_use]
pub fn unlisted(ranking: &Ranking, listing: &[usize]) -> Option<Ranking> {
    let mut ranks = vec![None; listing.len()];
    for (level, candidate) in ranking.levels().iter().zip(listing) {
        ranks[*candidate] = *level;
    }
    Ranking::from_ranks(ranks).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listing_is_undone() {
        let truth = Ranking::parse("[3] > [1] = [4] > [2]", 4).unwrap();
        for repeat in 0..6 {
            let listing = listing(4, repeat);
            let listed = truth.restrict(&listing).unwrap();
            assert_eq!(unlisted(&listed, &listing), Some(truth.clone()), "{repeat}");
        }
        assert_eq!(listing(4, 1), [3, 2, 1, 0]);
        assert_eq!(listing(4, 2), [1, 2, 3, 0]);
        for candidates in 1..7 {
            let mut all: Vec<Vec<usize>> =
                (0..listings(candidates)).map(|repeat| listing(candidates, repeat)).collect();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), listings(candidates), "{candidates}");
        }
    }
}
