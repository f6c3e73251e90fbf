//! The trait: a question about a video and candidate answers in, their order out.

use std::time::Duration;

use rlaif_data::Example;
use rlaif_rank::Ranking;

use crate::{Cancel, OracleError};

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
}

impl Verdict {
    /// A verdict without words of its own.
    #[must_use]
    pub fn new(ranking: Ranking, latency: Duration) -> Self {
        Verdict { ranking, latency, raw: None }
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
}

impl<O: Oracle + ?Sized> Oracle for Box<O> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn rank(&self, requests: &[RankRequest], cancel: &Cancel) -> Vec<Result<Verdict, OracleError>> {
        (**self).rank(requests, cancel)
    }
}

impl<O: Oracle + ?Sized> Oracle for std::sync::Arc<O> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn rank(&self, requests: &[RankRequest], cancel: &Cancel) -> Vec<Result<Verdict, OracleError>> {
        (**self).rank(requests, cancel)
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
