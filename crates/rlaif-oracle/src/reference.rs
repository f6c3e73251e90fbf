//! The `reference` Oracle: the closer to the row's reference answer, the better.

use std::time::Instant;

use rlaif_rank::Ranking;
use serde::{Deserialize, Serialize};

use crate::{
    Cancel, Oracle, OracleError, RankRequest, Verdict,
    overlap::{rouge_l, token_f1, words},
};

/// What the `reference` Oracle compares by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceMetric {
    /// Token F1 over multisets of words: word order does not count (`SQuAD`).
    #[default]
    TokenF1,
    /// F over the longest common subsequence of words (ROUGE-L).
    RougeL,
}

/// Settings of the `reference` Oracle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReferenceConfig {
    /// What to compare by; default `token_f1`, the metric of extractive question answering.
    pub metric: ReferenceMetric,
}

/// Orders candidates by their word overlap with [`Example::reference`], both in `SQuAD`'s normal form
/// (lower case, without ASCII punctuation and articles). Equal overlap ties, so candidates that
/// share nothing with the reference all tie at the end.
///
/// A request without a reference is [`OracleError::NoReference`].
///
/// [`Example::reference`]: rlaif_data::Example::reference
#[derive(Clone, Debug, Default)]
pub struct ReferenceOracle {
    metric: ReferenceMetric,
}

impl ReferenceOracle {
    /// An Oracle that compares by `metric`.
    #[must_use]
    pub fn new(metric: ReferenceMetric) -> Self {
        ReferenceOracle { metric }
    }

    fn rank_one(&self, request: &RankRequest) -> Result<Verdict, OracleError> {
        let start = Instant::now();
        let example = || request.example.id.clone();
        let reference = request
            .example
            .reference
            .as_deref()
            .ok_or_else(|| OracleError::NoReference { example: example() })?;
        let reference = words(reference);
        let scores: Vec<f64> = request
            .candidates
            .iter()
            .map(|candidate| match self.metric {
                ReferenceMetric::TokenF1 => token_f1(&words(candidate), &reference),
                ReferenceMetric::RougeL => rouge_l(&words(candidate), &reference),
            })
            .collect();
        // The scores are numbers, so only a group without candidates is no ranking.
        let ranking = Ranking::from_scores(&scores)
            .map_err(|_| OracleError::NoCandidates { example: example() })?;
        Ok(Verdict::new(ranking, start.elapsed()))
    }
}

impl Oracle for ReferenceOracle {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn rank(&self, requests: &[RankRequest], cancel: &Cancel) -> Vec<Result<Verdict, OracleError>> {
        requests
            .iter()
            .map(|request| {
                if cancel.is_cancelled() {
                    return Err(OracleError::Cancelled { example: request.example.id.clone() });
                }
                self.rank_one(request)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::request;

    fn ranked(metric: ReferenceMetric, reference: &str, candidates: &[&str]) -> String {
        let mut request = request("a", candidates);
        request.example.reference = Some(reference.to_owned());
        let mut results = ReferenceOracle::new(metric).rank(&[request], &Cancel::new());
        results.remove(0).unwrap().ranking.to_string()
    }

    #[test]
    fn the_closest_comes_first_and_equal_overlap_ties() {
        let candidates = ["A blue square!", "red circle", "circle: RED", "", "a circle"];
        assert_eq!(
            ranked(ReferenceMetric::TokenF1, "the red circle", &candidates),
            "[2] = [3] > [5] > [1] = [4]"
        );
        // LCS of `circle red` is 1 of 2 and 2: 0.5, below the 2/3 of `circle`.
        assert_eq!(
            ranked(ReferenceMetric::RougeL, "the red circle", &candidates),
            "[2] > [5] > [3] > [1] = [4]"
        );
    }

    #[test]
    fn a_row_without_a_reference_is_an_error_that_names_it() {
        let with = RankRequest {
            example: rlaif_data::Example {
                reference: Some("p".to_owned()),
                ..request("with", &[]).example
            },
            candidates: vec!["q".to_owned(), "p".to_owned()],
        };
        let results =
            ReferenceOracle::default().rank(&[request("row-7", &["p", "q"]), with], &Cancel::new());
        let error = results[0].as_ref().unwrap_err();
        assert!(matches!(error, OracleError::NoReference { example } if example == "row-7"));
        assert!(error.to_string().contains("add `reference` to the row"), "{error}");
        assert_eq!(results[1].as_ref().unwrap().ranking.to_string(), "[2] > [1]");
    }

    #[test]
    fn cancelled_means_cancelled() {
        let cancel = Cancel::new();
        cancel.cancel();
        let results = ReferenceOracle::default().rank(&[request("a", &["p", "q"])], &cancel);
        assert!(matches!(&results[0], Err(OracleError::Cancelled { example }) if example == "a"));
    }
}
