//! What becomes of a verdict, or of the lack of one.

use std::path::PathBuf;

use rlaif_rank::{Aggregator, Ranking};
use serde::{Deserialize, Serialize};

use crate::{ConfigError, OracleError, Verdict, agreement};

/// The `[ranking]` table of a recipe: how the orders of several Oracles become one, what happens to
/// groups that nobody ranked or about which the votes disagree, and where replies are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RankingConfig {
    /// How the orders of several Oracles become one. Default `borda`.
    pub aggregation: Aggregator,
    /// What becomes of a group without a verdict. Default `skip`.
    pub unranked: Unranked,
    /// Mean Kendall tau-b between the votes on a group (of several Oracles, repeats or annotators)
    /// below which the group counts less, in (-1, 1]. Default: every group counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_agreement: Option<f64>,
    /// What becomes of a group below `min_agreement`. Default `scale`.
    pub low_agreement: LowAgreement,
    /// File of the ledger; runs that name the same one share their replies. Default:
    /// `ledger.sqlite` in the run folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<PathBuf>,
}

/// What becomes of a group without a verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unranked {
    /// Nothing is learnt from it; its share of the step is lost, and counted.
    #[default]
    Skip,
    /// It counts as a tie of all, and is counted as such.
    Tie,
    /// The run stops, with a checkpoint.
    Abort,
}

/// What becomes of a group whose votes disagree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LowAgreement {
    /// Its advantages are multiplied with `agreement / min_agreement`, at least 0.
    #[default]
    Scale,
    /// It counts as not ranked, and is counted as dropped.
    Drop,
}

/// What is made of a group.
#[derive(Clone, Debug, PartialEq)]
pub enum Settled {
    /// It is learnt from.
    Ranked {
        /// The order.
        ranking: Ranking,
        /// What its advantages are multiplied with, in [0, 1].
        weight: f64,
    },
    /// It was not ranked, and counts as a tie of all.
    Tied(Ranking, OracleError),
    /// Its votes disagree: nothing is learnt from it.
    Dropped {
        /// Mean tau-b between its votes.
        agreement: f64,
    },
    /// It was not ranked: nothing is learnt from it.
    Skipped(OracleError),
    /// The run stops: this Oracle fails for good, or the recipe says so.
    Stop(OracleError),
}

impl RankingConfig {
    /// Checks the ranges. `votes` tells whether a group gets several votes.
    ///
    /// # Errors
    ///
    /// Where `min_agreement` is out of its range, or there is nothing to agree.
    pub fn check(&self, votes: bool) -> Result<(), ConfigError> {
        let wrong = |why: &str| {
            let (field, why) = ("min_agreement", why.to_owned());
            Err(ConfigError::Field { oracle: "`[ranking]` of the", field, why })
        };
        let Some(least) = self.min_agreement else { return Ok(()) };
        if !(least > -1.0 && least <= 1.0) {
            return wrong("it is a Kendall tau-b, above -1 and at most 1");
        }
        if self.low_agreement == LowAgreement::Scale && least <= 0.0 {
            return wrong("`scale` divides by it: set one above 0, or `low_agreement = \"drop\"`");
        }
        if !votes {
            return wrong(
                "every group gets one vote, so there is nothing to agree: set `repeats`, \
                 `annotators` or a second `[[oracle]]`",
            );
        }
        Ok(())
    }

    /// What is made of a group of `candidates`.
    #[must_use]
    pub fn settle(&self, verdict: Result<Verdict, OracleError>, candidates: usize) -> Settled {
        let error = match verdict {
            Ok(verdict) => return self.weigh(verdict),
            Err(error) => error,
        };
        if error.is_permanent() || self.unranked == Unranked::Abort {
            return Settled::Stop(error);
        }
        match (self.unranked, Ranking::all_tied(candidates)) {
            (Unranked::Tie, Ok(ranking)) => Settled::Tied(ranking, error),
            _ => Settled::Skipped(error),
        }
    }

    fn weigh(&self, verdict: Verdict) -> Settled {
        let below = |agreed: f64| self.min_agreement.filter(|least| agreed < *least);
        let agreed = agreement(&verdict.votes).map(|both| both.tau);
        match agreed.and_then(|agreed| below(agreed).map(|least| (agreed, least))) {
            None => Settled::Ranked { ranking: verdict.ranking, weight: 1.0 },
            Some((agreed, _)) if self.low_agreement == LowAgreement::Drop => {
                Settled::Dropped { agreement: agreed }
            }
            Some((agreed, least)) => {
                Settled::Ranked { ranking: verdict.ranking, weight: (agreed / least).max(0.0) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Vote;

    fn verdict(votes: &[&str]) -> Verdict {
        let parse = |text: &str| Ranking::parse(text, 3).unwrap();
        let vote = |text: &&str| Vote { voter: String::new(), ranking: parse(text), weight: 1.0 };
        let votes = votes.iter().map(vote).collect();
        Verdict { votes, ..Verdict::new(parse("[1] > [2] > [3]"), Duration::ZERO) }
    }

    fn failure(permanent: bool) -> OracleError {
        let (oracle, example) = ("o".to_owned(), "e".to_owned());
        if permanent {
            return OracleError::Budget {
                oracle,
                example,
                limit: "max_calls",
                spent: String::new(),
            };
        }
        OracleError::Unavailable { oracle, example, reason: String::new() }
    }

    fn weight(settled: &Settled) -> f64 {
        match settled {
            Settled::Ranked { weight, .. } => *weight,
            other => panic!("{other:?}"),
        }
    }

    /// tau-b of an order with the one whose last two are swapped is (2 - 1) / 3.
    #[test]
    fn groups_below_the_agreement_are_scaled_or_dropped_and_others_are_not() {
        let votes = ["[1] > [2] > [3]", "[1] > [3] > [2]"];
        let scale = RankingConfig { min_agreement: Some(0.5), ..RankingConfig::default() };
        assert!((weight(&scale.settle(Ok(verdict(&votes)), 3)) - 2.0 / 3.0).abs() < 1e-12);
        let reverse = ["[1] > [2] > [3]", "[3] > [2] > [1]"];
        assert!(weight(&scale.settle(Ok(verdict(&reverse)), 3)).abs() < 1e-12);
        assert!((weight(&scale.settle(Ok(verdict(&[])), 3)) - 1.0).abs() < 1e-12, "one vote");
        let low = RankingConfig { min_agreement: Some(0.3), ..scale.clone() };
        assert!((weight(&low.settle(Ok(verdict(&votes)), 3)) - 1.0).abs() < 1e-12);
        let drop = RankingConfig { low_agreement: LowAgreement::Drop, ..scale };
        let settled = drop.settle(Ok(verdict(&votes)), 3);
        assert!(
            matches!(settled, Settled::Dropped { agreement } if (agreement - 1.0 / 3.0).abs() < 1e-12)
        );
    }

    #[test]
    fn failures_are_skipped_tied_or_end_the_run_and_permanent_ones_always_end_it() {
        let with = |unranked| RankingConfig { unranked, ..RankingConfig::default() };
        let settle = |unranked, permanent| with(unranked).settle(Err(failure(permanent)), 2);
        assert!(matches!(settle(Unranked::Skip, false), Settled::Skipped(_)));
        assert!(matches!(settle(Unranked::Tie, false), Settled::Tied(r, _) if r.is_all_tied()));
        assert!(matches!(settle(Unranked::Abort, false), Settled::Stop(_)));
        for unranked in [Unranked::Skip, Unranked::Tie, Unranked::Abort] {
            assert!(matches!(settle(unranked, true), Settled::Stop(_)));
        }
    }

    #[test]
    fn an_agreement_that_cannot_be_is_refused() {
        let error = |min_agreement, low_agreement, votes| {
            let config = RankingConfig {
                min_agreement: Some(min_agreement),
                low_agreement,
                ..RankingConfig::default()
            };
            config.check(votes).map_err(|error| error.to_string())
        };
        assert!(error(1.5, LowAgreement::Scale, true).unwrap_err().contains("at most 1"));
        assert!(error(0.0, LowAgreement::Scale, true).unwrap_err().contains("above 0"));
        assert!(error(0.3, LowAgreement::Scale, false).unwrap_err().contains("one vote"));
        assert!(error(0.0, LowAgreement::Drop, true).is_ok());
        assert!(error(0.3, LowAgreement::Scale, true).is_ok());
    }
}
