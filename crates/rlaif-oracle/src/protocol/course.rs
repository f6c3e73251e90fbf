//! What every protocol is in one repeat: rounds of questions, and an order at the end.

use rlaif_rank::Ranking;

use super::{Question, Said};

/// One repeat of a protocol. A round's questions can be asked at once and in any order: the next
/// round sees all its answers, so what comes out does not depend on how they arrive.
pub(super) trait Course: Send {
    /// The questions of the next round, given what was said to those of the last, in their order;
    /// none at the start, none left at the end.
    fn next(&mut self, said: &[Option<Said>]) -> Vec<Question>;

    /// What the answers so far come to, of all candidates; none where they say nothing.
    fn order(&self) -> Option<Ranking>;
}

/// The order that was given, where one was and it places anything.
pub(super) fn order_given(said: Option<&Said>) -> Option<&Ranking> {
    match said {
        Some(Said::Order(ranking)) if ranking.n_placed() > 0 => Some(ranking),
        _ => None,
    }
}

/// A ranking of `shown` as one of all `candidates`; those not shown are unplaced.
pub(super) fn of_all(shown: &[usize], ranking: &Ranking, candidates: usize) -> Option<Ranking> {
    let mut ranks = vec![None; candidates];
    for (candidate, level) in shown.iter().zip(ranking.levels()) {
        ranks[*candidate] = *level;
    }
    // Only a group without candidates is no ranking, and a plan is never made of one.
    Ranking::from_ranks(ranks).ok()
}
