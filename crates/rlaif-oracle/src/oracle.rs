//! The trait: a question about a video and candidate answers in, their order out.

use std::time::Duration;

use rlaif_data::Example;
use rlaif_rank::Ranking;

use crate::{Cancel, OracleError, Usage};

/// One group to put in order.
#[derive(Clone, Debug, PartialEq)]
pub struct RankRequest {
    /// The question, its video, and what is known of the answer.
    pub example: Example,
    /// The candidate answers, length `G`; [`Ranking`] refers to them by their place here.
    pub candidates: Vec<String>,
}

impl RankRequest {
    /// The same without [`Example::narrative`], for an Oracle that is to see what the policy sees:
    /// the narratives of VLM-RLAIF serve its preference labels, and the Oracle of Oracle-RLAIF
    /// gets none.
    #[must_use]
    pub fn without_narrative(mut self) -> Self {
        self.example.narrative = None;
        self
    }
}

/// An order that an Oracle gave, with what is logged about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The order of the candidates, length `G`.
    pub ranking: Ranking,
    /// Wall time the Oracle took for this group, from asking to the answer.
    pub latency: Duration,
    /// What the Oracle said in its own words, where it speaks.
    pub raw: Option<String>,
    /// The orders that it was made of, where there were several; of the same candidates.
    pub votes: Vec<Vote>,
    /// Those of several Oracles that gave no order, and why.
    pub absent: Vec<(String, OracleError)>,
    /// What was asked for it, where the Oracle asks.
    pub calls: Vec<Call>,
}

/// One of several orders of the same candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct Vote {
    /// Whose: the name of an Oracle or of an annotator; empty for repeats of one.
    pub voter: String,
    /// The order.
    pub ranking: Ranking,
    /// What it counts for.
    pub weight: f64,
}

/// One question that an Oracle asked about some candidates of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The candidates in the order shown.
    pub shown: Vec<usize>,
    /// The order given, of the candidates as numbered in `shown`; none where there was no answer or
    /// it was a score.
    pub ranking: Option<Ranking>,
    /// Whether the ledger had the answer.
    pub cached: bool,
    /// Time it took.
    pub latency: Duration,
    /// What it cost.
    pub cost: f64,
}

impl Verdict {
    /// A verdict without words of its own.
    #[must_use]
    pub fn new(ranking: Ranking, latency: Duration) -> Self {
        Verdict {
            ranking,
            latency,
            raw: None,
            votes: Vec::new(),
            absent: Vec::new(),
            calls: Vec::new(),
        }
    }
}

/// Anything that can put answers in order. Oracles order, they never score: no number that could
/// be read as a reward leaves them.
///
/// Call it through [`rank_groups`](crate::rank_groups), which merges identical candidates first
/// and checks what comes back.
pub trait Oracle: Send + Sync {
    /// A short name for logs and errors, for instance `world`.
    fn name(&self) -> &str;

    /// Ranks every group: one result per request, in the order of the requests.
    ///
    /// A group without a usable verdict is an error, never a tie. Once `cancel` is set, the groups
    /// still open come back as [`OracleError::Cancelled`] within a fraction of a second.
    fn rank(&self, requests: &[RankRequest], cancel: &Cancel) -> Vec<Result<Verdict, OracleError>>;

    /// Batches that may be ranked at once: more than 1 where waiting is what takes the time.
    fn batches_at_once(&self) -> usize {
        1
    }

    /// What was spent so far.
    fn usage(&self) -> Usage {
        Usage::default()
    }
}

impl<O: Oracle + ?Sized> Oracle for Box<O> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn rank(&self, requests: &[RankRequest], cancel: &Cancel) -> Vec<Result<Verdict, OracleError>> {
        (**self).rank(requests, cancel)
    }

    fn batches_at_once(&self) -> usize {
        (**self).batches_at_once()
    }

    fn usage(&self) -> Usage {
        (**self).usage()
    }
}

impl<O: Oracle + ?Sized> Oracle for std::sync::Arc<O> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn rank(&self, requests: &[RankRequest], cancel: &Cancel) -> Vec<Result<Verdict, OracleError>> {
        (**self).rank(requests, cancel)
    }

    fn batches_at_once(&self) -> usize {
        (**self).batches_at_once()
    }

    fn usage(&self) -> Usage {
        (**self).usage()
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::request;

    #[test]
    fn without_narrative_drops_the_narrative_alone() {
        let bare = request("a", &["p", "q"]);
        let mut told = bare.clone();
        told.example.narrative = Some("A ball rolls.".to_owned());
        assert_ne!(told, bare);
        assert_eq!(told.without_narrative(), bare);
        assert_eq!(bare.clone().without_narrative(), bare);
    }
}
