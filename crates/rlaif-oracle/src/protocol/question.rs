//! One question about some candidates, what can be said to it, and what all of it comes to.

use rlaif_rank::Ranking;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuestionKind {
    /// An order of all candidates shown.
    Listwise,
    /// Which of two candidates is better.
    Pairwise,
    /// A score of one candidate.
    Pointwise {
        /// The worst score.
        min: i64,
        /// The best score.
        max: i64,
    },
}

/// One question to a judge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// What is asked.
    pub kind: QuestionKind,
    /// The candidates in the order shown: the judge's `[k]` is candidate `shown[k - 1]`.
    pub shown: Vec<usize>,
    /// Which repeat it belongs to, from 0. Questions that read the same differ in it.
    pub repeat: u32,
}

/// What a judge said to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// An order of the candidates shown, numbered as shown from 0. Partial where the judge said so
    /// explicitly.
    Order(Ranking),
    /// A score of the one candidate shown.
    Score(f64),
    /// The judge will not say, and why.
    Abstained(String),
}

/// What the answers came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The order of the group; none where no answer was usable.
    pub ranking: Option<Ranking>,
    /// The orders it was made of: one per repeat that came to an order.
    pub votes: Vec<Ranking>,
    /// Questions without a usable answer.
    pub unanswered: usize,
    /// Questions to which the judge would not say anything.
    pub abstained: usize,
}
