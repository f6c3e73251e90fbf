//! The one way to ask an Oracle: identical responses are merged, verdicts checked, failures
//! counted.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use rlaif_rank::{Merged, Ranking, merge_identical};

use crate::{Cancel, Oracle, OracleError, OracleMetrics, RankRequest, Verdict, error::excerpt};

/// The verdicts on a batch of groups.
#[derive(Clone, Debug)]
pub struct RankOutcome {
    /// One result per request, in the order of the requests.
    pub verdicts: Vec<Result<Verdict, OracleError>>,
    /// What happened, counted.
    pub metrics: OracleMetrics,
}

/// A request without its copies, and how to get back.
struct Shown {
    place: usize,
    merged: Merged,
}

/// Ranks every group with `oracle`.
///
/// - Responses that are identical once surrounding white space is gone are shown once, trimmed,
///   and tie in the verdict.
/// - A group with one distinct response ties without asking, with a latency of zero.
/// - A ranking of the wrong length, or one that places nothing, is a failure, and so is every
///   group of an Oracle that panics. Failures stay failures: none becomes a tie.
///
/// ```
/// use rlaif_data::{Example, Message, VideoRef};
/// use rlaif_oracle::{Cancel, RankRequest, ReferenceMetric, ReferenceOracle, rank_groups};
///
/// let example = Example {
///     id: "17".to_owned(),
///     video: VideoRef::File("clips/a.mp4".into()),
///     messages: vec![Message::ask("What colour is the ball?")],
///     reference: Some("The ball is red.".to_owned()),
///     choices: None,
///     category: None,
///     narrative: None,
///     meta: Default::default(),
/// };
/// let candidates = ["A cube.", "a red ball", "A cube. ", "red"].map(str::to_owned).to_vec();
///
/// let oracle = ReferenceOracle::new(ReferenceMetric::TokenF1);
/// let outcome = rank_groups(&oracle, &[RankRequest { example, candidates }], &Cancel::new());
///
/// let verdict = outcome.verdicts[0].as_ref().unwrap();
/// assert_eq!(verdict.ranking.to_string(), "[2] > [4] > [1] = [3]");
/// assert_eq!(outcome.metrics.merged_candidates, 1);
/// ```
#[must_use]
pub fn rank_groups(oracle: &dyn Oracle, requests: &[RankRequest], cancel: &Cancel) -> RankOutcome {
    let mut metrics = OracleMetrics { groups: requests.len(), ..OracleMetrics::default() };
    let mut verdicts: Vec<Option<Result<Verdict, OracleError>>> = vec![None; requests.len()];
    let mut to_ask = Vec::new();
    let mut shown = Vec::new();
    for (place, request) in requests.iter().enumerate() {
        let trimmed: Vec<&str> = request.candidates.iter().map(|text| text.trim()).collect();
        let merged = merge_identical(&trimmed);
        metrics.merged_candidates += trimmed.len() - merged.representatives.len();
        if merged.representatives.len() < 2 {
            verdicts[place] = Some(tied(request, &mut metrics));
            continue;
        }
        to_ask.push(RankRequest {
            example: request.example.clone(),
            candidates: merged.representatives.iter().map(|i| trimmed[*i].to_owned()).collect(),
        });
        shown.push(Shown { place, merged });
    }

    metrics.calls = to_ask.len();
    let answers = if to_ask.is_empty() { Vec::new() } else { ask(oracle, &to_ask, cancel) };
    for ((shown, request), answer) in shown.iter().zip(&to_ask).zip(answers) {
        let verdict = answer.and_then(|verdict| expand(oracle, request, &shown.merged, verdict));
        match &verdict {
            Ok(verdict) => metrics.count_verdict(verdict),
            Err(error) => {
                if !matches!(error, OracleError::Cancelled { .. }) {
                    tracing::warn!(oracle = oracle.name(), %error, "a group has no verdict");
                }
                metrics.count_failure(error);
            }
        }
        verdicts[shown.place] = Some(verdict);
    }
    // Every place was filled: `ask` gives one answer per request.
    RankOutcome { verdicts: verdicts.into_iter().flatten().collect(), metrics }
}

/// The verdict on a group with at most one distinct response.
fn tied(request: &RankRequest, metrics: &mut OracleMetrics) -> Result<Verdict, OracleError> {
    let ranking = Ranking::all_tied(request.candidates.len())
        .map_err(|_| OracleError::NoCandidates { example: request.example.id.clone() })
        .inspect_err(|error| metrics.count_failure(error))?;
    metrics.count_skipped(&ranking);
    Ok(Verdict::new(ranking, Duration::ZERO))
}

/// Asks, and makes sure of one answer per request whatever the Oracle does.
fn ask(
    oracle: &dyn Oracle,
    requests: &[RankRequest],
    cancel: &Cancel,
) -> Vec<Result<Verdict, OracleError>> {
    let every = |error: &dyn Fn(String) -> OracleError| {
        requests.iter().map(|request| Err(error(request.example.id.clone()))).collect()
    };
    // The Oracle is borrowed and its own locks are poisoned where it panicked inside one, so no
    // broken state is reused unseen.
    let answers = match catch_unwind(AssertUnwindSafe(|| oracle.rank(requests, cancel))) {
        Ok(answers) => answers,
        Err(panic) => {
            return every(&|example| OracleError::Panicked {
                oracle: oracle.name().to_owned(),
                example,
                message: excerpt(panic_message(&*panic)),
            });
        }
    };
    if answers.len() == requests.len() {
        return answers;
    }
    every(&|example| OracleError::Contract {
        oracle: oracle.name().to_owned(),
        example,
        detail: format!("{} verdicts for {} groups", answers.len(), requests.len()),
    })
}

pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

/// From a verdict on the distinct responses to one on all of them.
fn expand(
    oracle: &dyn Oracle,
    request: &RankRequest,
    merged: &Merged,
    verdict: Verdict,
) -> Result<Verdict, OracleError> {
    let example = || request.example.id.clone();
    if verdict.ranking.len() != request.candidates.len() {
        return Err(OracleError::Contract {
            oracle: oracle.name().to_owned(),
            example: example(),
            detail: format!(
                "a ranking of {} candidates for {}",
                verdict.ranking.len(),
                request.candidates.len()
            ),
        });
    }
    if verdict.ranking.n_placed() == 0 {
        return Err(OracleError::Abstained {
            oracle: oracle.name().to_owned(),
            example: example(),
            reason: "it placed no candidate".to_owned(),
        });
    }
    let ranking = verdict.ranking.expand(&merged.representative_of).map_err(|source| {
        OracleError::Rejected {
            oracle: oracle.name().to_owned(),
            example: example(),
            source,
            output: excerpt(verdict.raw.as_deref().unwrap_or_default()),
        }
    })?;
    Ok(Verdict { ranking, ..verdict })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        FailureKind,
        testing::{Scripted, request},
    };

    fn outcome(oracle: &Scripted, requests: &[RankRequest]) -> RankOutcome {
        rank_groups(oracle, requests, &Cancel::new())
    }

    #[test]
    fn copies_are_shown_once_and_tie() {
        let oracle = Scripted::longest_first();
        let outcome = outcome(&oracle, &[request("a", &["no", " yes\n", "no ", "yes", "maybe"])]);
        assert_eq!(*oracle.seen.lock().unwrap(), [["no", "yes", "maybe"]]);
        let verdict = outcome.verdicts[0].as_ref().unwrap();
        assert_eq!(verdict.ranking.to_string(), "[5] > [2] = [4] > [1] = [3]");
        assert_eq!(outcome.metrics.merged_candidates, 2);
        assert_eq!((outcome.metrics.calls, outcome.metrics.ranked), (1, 1));
        // Two tied pairs of the ten.
        assert_eq!(outcome.metrics.ties_fraction(), Some(0.2));
    }

    #[test]
    fn one_distinct_response_ties_without_asking() {
        let oracle = Scripted::longest_first();
        let outcome = outcome(&oracle, &[request("a", &["x", "x", " x"]), request("b", &["y"])]);
        assert!(oracle.seen.lock().unwrap().is_empty());
        for verdict in &outcome.verdicts {
            assert!(verdict.as_ref().unwrap().ranking.is_all_tied());
            assert_eq!(verdict.as_ref().unwrap().latency, Duration::ZERO);
        }
        assert_eq!((outcome.metrics.skipped, outcome.metrics.calls), (2, 0));
        assert_eq!((outcome.metrics.ranked, outcome.metrics.failed()), (2, 0));
    }

    #[test]
    fn a_failure_stays_one_and_the_others_keep_their_place() {
        let mut oracle = Scripted::longest_first();
        oracle.fail_on = Some("b".to_owned());
        let requests = [
            request("a", &["p", "qq"]),
            request("b", &["p", "qq"]),
            request("none", &[]),
            request("same", &["p", "p"]),
            request("c", &["rr", "s"]),
        ];
        let outcome = outcome(&oracle, &requests);
        let [a, b, none, same, c] = &outcome.verdicts[..] else { panic!("five verdicts") };
        assert_eq!(a.as_ref().unwrap().ranking.to_string(), "[2] > [1]");
        assert_eq!(b.as_ref().unwrap_err().kind(), FailureKind::Reported);
        assert!(matches!(none, Err(OracleError::NoCandidates { example }) if example == "none"));
        assert_eq!(same.as_ref().unwrap().ranking.to_string(), "[1] = [2]");
        assert_eq!(c.as_ref().unwrap().ranking.to_string(), "[1] > [2]");
        let metrics = &outcome.metrics;
        assert_eq!((metrics.groups, metrics.calls, metrics.ranked), (5, 3, 3));
        assert_eq!(metrics.failures[&FailureKind::Reported], 1);
        assert_eq!(metrics.failures[&FailureKind::Request], 1);
        assert_eq!(metrics.groups, metrics.ranked + metrics.failed());
    }

    #[test]
    fn unplaced_copies_stay_unplaced_and_nothing_placed_is_an_abstention() {
        let partial = Scripted::answering(|_| Ranking::from_blocks(&[vec![1]], 2).unwrap());
        let verdict = outcome(&partial, &[request("a", &["p", "q", "p"])]);
        assert_eq!(verdict.verdicts[0].as_ref().unwrap().ranking.unplaced(), [0, 2]);
        assert_eq!(verdict.metrics.partial, 1);

        let silent = Scripted::answering(|_| Ranking::from_blocks(&[], 2).unwrap());
        let verdict = outcome(&silent, &[request("a", &["p", "q"])]);
        assert_eq!(verdict.verdicts[0].as_ref().unwrap_err().kind(), FailureKind::Abstained);
    }

    #[test]
    fn broken_oracles_fail_their_groups() {
        let wrong_length = Scripted::answering(|_| Ranking::all_tied(7).unwrap());
        let failed = outcome(&wrong_length, &[request("a", &["p", "q"])]);
        let error = failed.verdicts[0].as_ref().unwrap_err();
        assert!(error.to_string().contains("a ranking of 7 candidates for 2"), "{error}");
        assert!(error.is_permanent());

        let mut too_few = Scripted::longest_first();
        too_few.drop_last = true;
        let requests = [request("a", &["p", "q"]), request("b", &["p", "q"])];
        let failed = outcome(&too_few, &requests);
        assert_eq!(failed.metrics.failures[&FailureKind::Contract], 2);
        assert!(failed.verdicts[1].as_ref().unwrap_err().to_string().contains("\"b\""));

        let panics = Scripted::answering(|_| panic!("out of cheese"));
        let failed = outcome(&panics, &requests);
        let error = failed.verdicts[0].as_ref().unwrap_err();
        assert!(error.to_string().contains("out of cheese"), "{error}");
        assert_eq!(failed.metrics.failures[&FailureKind::Panicked], 2);
    }
}
