//! The `human` Oracle: files groups at the desk and waits for what people say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rlaif_rank::{Aggregator, Ranking, aggregate};
use serde::{Deserialize, Serialize};

use super::{Answer, Desk, Judgement};
use crate::error::excerpt;
use crate::{
    Call, Cancel, ConfigError, Ledger, LedgerError, Oracle, OracleError, RankRequest, Usage,
    Verdict, Vote,
};

const NAME: &str = "human";
/// How often the ledger is looked at.
const POLL: Duration = Duration::from_millis(300);
/// How often the wish to stop is.
const HEED: Duration = Duration::from_millis(50);
/// Batches that may wait at once: people see all their groups.
const BATCHES: usize = 64;

/// Settings of the `human` Oracle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HumanConfig {
    /// Verdicts that a group gets, each from another annotator, 1 to 100. Default 1.
    pub annotators: u32,
    /// How the orders of several annotators become one. Default `borda`.
    pub aggregation: Aggregator,
    /// Seconds that a group may wait for its verdicts, above 0; as long as it takes where it is
    /// not given. A group that waited so long is a failure, and nobody is asked about it any more.
    pub deadline_seconds: Option<f64>,
    /// Seconds for which an annotator can take a verdict back before the run goes on with it, 0 to
    /// 3600. Default 5.
    pub undo_seconds: f64,
}

impl Default for HumanConfig {
    fn default() -> Self {
        HumanConfig {
            annotators: 1,
            aggregation: Aggregator::default(),
            deadline_seconds: None,
            undo_seconds: 5.0,
        }
    }
}

impl HumanConfig {
    /// Checks the ranges that the fields state.
    ///
    /// # Errors
    ///
    /// Names the field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |field, why: String| Err(ConfigError::Field { oracle: NAME, field, why });
        if !(1..=100).contains(&self.annotators) {
            return wrong("annotators", format!("expected 1 to 100, got {}", self.annotators));
        }
        if let Some(seconds) = self.deadline_seconds
            && !(seconds > 0.0 && Duration::try_from_secs_f64(seconds).is_ok())
        {
            return wrong("deadline_seconds", format!("expected seconds above 0, got {seconds}"));
        }
        if !(0.0..=3600.0).contains(&self.undo_seconds) {
            let why = format!("expected 0 to 3600 seconds, got {}", self.undo_seconds);
            return wrong("undo_seconds", why);
        }
        Ok(())
    }
}

/// People who rank on the page of `oracle-rlaif annotate`, in this process or another.
///
/// A group is known by what is asked: one that was ranked in an earlier run of the same ledger has
/// its verdict at once. A group that all its annotators skip is [`OracleError::Abstained`].
#[derive(Debug)]
pub struct HumanOracle {
    config: HumanConfig,
    desk: Desk,
    answered: AtomicU64,
    cached: AtomicU64,
    abstained: AtomicU64,
}

/// A group that is waited for.
struct Waiting {
    place: usize,
    task: String,
    /// Whether its verdicts were there when it was filed.
    cached: bool,
}

impl HumanOracle {
    /// An Oracle that asks through `ledger`.
    ///
    /// # Errors
    ///
    /// Where a setting is out of its range.
    pub fn new(config: HumanConfig, ledger: Arc<Ledger>) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(HumanOracle {
            config,
            desk: Desk::new(ledger),
            answered: AtomicU64::new(0),
            cached: AtomicU64::new(0),
            abstained: AtomicU64::new(0),
        })
    }

    /// The verdict on a group, where it is there and older than `settled` seconds.
    fn look(
        &self,
        waiting: &Waiting,
        request: &RankRequest,
        settled: f64,
        start: Instant,
    ) -> Option<Result<Verdict, OracleError>> {
        let judgements = match self.desk.decide(&waiting.task, self.config.annotators, settled) {
            Ok(judgements) => judgements?,
            Err(source) => return Some(Err(unusable(request, source))),
        };
        let counter = if waiting.cached { &self.cached } else { &self.answered };
        counter.fetch_add(1, Ordering::Relaxed);
        let verdict = self.verdict(request, &judgements, waiting.cached, start.elapsed());
        if matches!(verdict, Err(OracleError::Abstained { .. })) {
            self.abstained.fetch_add(1, Ordering::Relaxed);
        }
        Some(verdict)
    }

    fn verdict(
        &self,
        request: &RankRequest,
        judgements: &[Judgement],
        cached: bool,
        latency: Duration,
    ) -> Result<Verdict, OracleError> {
        let votes = votes(judgements);
        let (oracle, example) = (NAME.to_owned(), request.example.id.clone());
        if votes.is_empty() {
            return Err(OracleError::Abstained { oracle, example, reason: reasons(judgements) });
        }
        let rankings: Vec<Ranking> = votes.iter().map(|vote| vote.ranking.clone()).collect();
        let ranking = aggregate(self.config.aggregation, &rankings).map_err(|error| {
            OracleError::Contract { oracle, example, detail: error.to_string() }
        })?;
        let calls = judgements.iter().map(|judgement| call(judgement, cached)).collect();
        Ok(Verdict { votes, calls, ..Verdict::new(ranking, latency) })
    }

    fn expired(&self, request: &RankRequest, task: &str, seconds: f64) -> OracleError {
        match self.desk.expire(task) {
            Ok(()) => OracleError::Timeout {
                oracle: NAME.to_owned(),
                example: request.example.id.clone(),
                seconds,
            },
            Err(source) => unusable(request, source),
        }
    }

    /// Files every group; those that cannot be filed are failures at once.
    fn file(
        &self,
        requests: &[RankRequest],
        results: &mut [Option<Result<Verdict, OracleError>>],
    ) -> Vec<Waiting> {
        let mut waiting = Vec::with_capacity(requests.len());
        for (place, request) in requests.iter().enumerate() {
            let needed = self.config.annotators;
            match self.desk.file(&request.example, &request.candidates, needed) {
                Ok(task) => waiting.push(Waiting { place, task, cached: true }),
                Err(source) => results[place] = Some(Err(unusable(request, source))),
            }
        }
        waiting
    }
}

impl Oracle for HumanOracle {
    fn name(&self) -> &'static str {
        NAME
    }

    fn rank(&self, requests: &[RankRequest], cancel: &Cancel) -> Vec<Result<Verdict, OracleError>> {
        let start = Instant::now();
        let mut results: Vec<Option<Result<Verdict, OracleError>>> = vec![None; requests.len()];
        let mut waiting = self.file(requests, &mut results);
        let deadline = self.config.deadline_seconds;
        loop {
            let late = deadline.filter(|seconds| start.elapsed().as_secs_f64() >= *seconds);
            waiting.retain_mut(|one| {
                let request = &requests[one.place];
                // At the deadline what came last is taken, too, however young: there is no later.
                let settled = if late.is_some() { 0.0 } else { self.config.undo_seconds };
                let mut result = self.look(one, request, settled, start);
                if let (None, Some(seconds)) = (&result, late) {
                    result = Some(Err(self.expired(request, &one.task, seconds)));
                }
                one.cached = false;
                results[one.place] = result;
                results[one.place].is_none()
            });
            if waiting.is_empty() || !pause(cancel) {
                break;
            }
        }
        let cancelled =
            |request: &RankRequest| OracleError::Cancelled { example: request.example.id.clone() };
        requests
            .iter()
            .zip(results)
            .map(|(request, result)| result.unwrap_or_else(|| Err(cancelled(request))))
            .collect()
    }

    fn batches_at_once(&self) -> usize {
        BATCHES
    }

    /// Groups that people answered, and those whose verdicts the ledger had.
    fn usage(&self) -> Usage {
        Usage {
            requests: self.answered.load(Ordering::Relaxed),
            cached: self.cached.load(Ordering::Relaxed),
            abstained: self.abstained.load(Ordering::Relaxed),
            ..Usage::default()
        }
    }
}

/// The orders among verdicts, one vote each; those who skipped have none.
#[must_use]
pub fn votes(judgements: &[Judgement]) -> Vec<Vote> {
    judgements
        .iter()
        .filter_map(|judgement| match &judgement.answer {
            Answer::Ranking(ranking) => Some(Vote {
                voter: judgement.annotator.clone(),
                ranking: ranking.clone(),
                weight: 1.0,
            }),
            Answer::Skipped(_) => None,
        })
        .collect()
}

/// Waits until it is time to look again; false where the run asks to stop.
fn pause(cancel: &Cancel) -> bool {
    let start = Instant::now();
    while start.elapsed() < POLL {
        if cancel.is_cancelled() {
            return false;
        }
        sleep(HEED);
    }
    !cancel.is_cancelled()
}

fn unusable(request: &RankRequest, source: LedgerError) -> OracleError {
    OracleError::Ledger { oracle: NAME.to_owned(), example: request.example.id.clone(), source }
}

fn reasons(judgements: &[Judgement]) -> String {
    let each: Vec<String> = judgements
        .iter()
        .filter_map(|judgement| match &judgement.answer {
            Answer::Skipped(reason) if reason.is_empty() => {
                Some(format!("skipped by {}", judgement.annotator))
            }
            Answer::Skipped(reason) => {
                Some(format!("skipped by {}: {}", judgement.annotator, excerpt(reason)))
            }
            Answer::Ranking(_) => None,
        })
        .collect();
    each.join("; ")
}

/// A verdict as a question that was asked, numbered as it was shown.
fn call(judgement: &Judgement, cached: bool) -> Call {
    let ranking = match &judgement.answer {
        // The order shown is the page's own permutation of the candidates.
        Answer::Ranking(ranking) => ranking.permute(&judgement.shown).ok(),
        Answer::Skipped(_) => None,
    };
    Call {
        shown: judgement.shown.clone(),
        ranking,
        cached,
        latency: Duration::try_from_secs_f64(judgement.seconds).unwrap_or_default(),
        cost: 0.0,
    }
}

#[cfg(test)]
mod tests;
