//! An Oracle whose verdicts are kept in the ledger, group by group.

use std::sync::{Arc, Mutex, PoisonError};

use rlaif_rank::Ranking;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::ledger::Entry;
use crate::{Call, Cancel, Ledger, LedgerError, Oracle, OracleError, RankRequest, Usage, Verdict};

/// Keeps the verdicts of an Oracle that asks nobody a [`ChatModel`](crate::ChatModel) could stand for,
/// a program for instance: a group that was ranked before is not ranked again. Failures are not kept.
pub struct Ledgered<O> {
    name: String,
    identity: Value,
    oracle: O,
    ledger: Arc<Ledger>,
    usage: Mutex<Usage>,
}

impl<O: Oracle> Ledgered<O> {
    /// `oracle`, remembered under `name`. `identity` is all that its verdict on a given group depends
    /// on: another one is asked anew.
    pub fn new(name: String, identity: Value, oracle: O, ledger: Arc<Ledger>) -> Self {
        Ledgered { name, identity, oracle, ledger, usage: Mutex::default() }
    }

    fn known(&self, request: &RankRequest, digest: &str) -> Result<Option<Verdict>, LedgerError> {
        let Some(entry) = self.ledger.reply(digest)? else { return Ok(None) };
        let text = entry.ranking.unwrap_or_default();
        let ranking =
            Ranking::parse(&text, request.candidates.len()).map_err(|error| LedgerError {
                path: self.ledger.path().to_owned(),
                reason: format!(
                    "the ranking {text:?} of `{}` does not read: {error}",
                    entry.example
                ),
            })?;
        let call = Call {
            shown: (0..request.candidates.len()).collect(),
            ranking: Some(ranking.clone()),
            cached: true,
            latency: entry.latency,
            cost: entry.cost,
        };
        let raw = Some(entry.raw).filter(|raw| !raw.is_empty());
        Ok(Some(Verdict { raw, calls: vec![call], ..Verdict::new(ranking, entry.latency) }))
    }

    fn keep(
        &self,
        request: &RankRequest,
        digest: String,
        verdict: &Verdict,
    ) -> Result<(), LedgerError> {
        // What places nothing has no notation, and fails anyway.
        if verdict.ranking.n_placed() == 0 || verdict.ranking.len() != request.candidates.len() {
            return Ok(());
        }
        self.ledger.store(&Entry {
            digest,
            oracle: self.name.clone(),
            example: request.example.id.clone(),
            question: request.example.question(),
            shown: request.candidates.clone(),
            raw: verdict.raw.clone().unwrap_or_default(),
            ranking: Some(verdict.ranking.to_string()),
            problem: None,
            prompt_tokens: None,
            completion_tokens: None,
            cost: 0.0,
            latency: verdict.latency,
        })
    }

    fn digest(&self, request: &RankRequest) -> String {
        let whole = serde_json::json!({
            "identity": self.identity,
            "example": request.example,
            "candidates": request.candidates,
        });
        format!("{:x}", Sha256::digest(whole.to_string()))
    }

    fn unusable(&self, request: &RankRequest, source: LedgerError) -> OracleError {
        let (oracle, example) = (self.name.clone(), request.example.id.clone());
        OracleError::Ledger { oracle, example, source }
    }
}

impl<O: Oracle> Oracle for Ledgered<O> {
    fn name(&self) -> &str {
        &self.name
    }

    fn rank(&self, requests: &[RankRequest], cancel: &Cancel) -> Vec<Result<Verdict, OracleError>> {
        let digests: Vec<String> = requests.iter().map(|request| self.digest(request)).collect();
        let mut verdicts: Vec<Option<Result<Verdict, OracleError>>> = requests
            .iter()
            .zip(&digests)
            .map(|(request, digest)| match self.known(request, digest) {
                Ok(known) => known.map(Ok),
                Err(error) => Some(Err(self.unusable(request, error))),
            })
            .collect();
        let unknown: Vec<usize> =
            (0..requests.len()).filter(|index| verdicts[*index].is_none()).collect();
        let asked: Vec<RankRequest> = unknown.iter().map(|i| requests[*i].clone()).collect();
        let answers = if asked.is_empty() { Vec::new() } else { self.oracle.rank(&asked, cancel) };
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage.cached += (requests.len() - unknown.len()) as u64;
        for (index, answer) in unknown.into_iter().zip(answers) {
            usage.requests += u64::from(answer.is_ok());
            let kept = answer.and_then(|verdict| {
                match self.keep(&requests[index], digests[index].clone(), &verdict) {
                    Ok(()) => Ok(verdict),
                    Err(error) => Err(self.unusable(&requests[index], error)),
                }
            });
            verdicts[index] = Some(kept);
        }
        // Too few answers are missed by whoever counts them.
        verdicts.into_iter().flatten().collect()
    }

    fn batches_at_once(&self) -> usize {
        self.oracle.batches_at_once()
    }

    fn usage(&self) -> Usage {
        let mut usage = self.oracle.usage();
        usage += *self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rank_groups,
        testing::{Scripted, request},
    };

    #[test]
    fn a_group_is_ranked_once_whoever_asks_and_failures_are_asked_again() {
        let ledger = Arc::new(Ledger::in_memory().unwrap());
        let judge = |identity: &str, fails: bool| {
            let mut oracle = Scripted::longest_first();
            oracle.fail_on = fails.then(|| "b".to_owned());
            Ledgered::new("judge".into(), identity.into(), oracle, Arc::clone(&ledger))
        };
        let groups = [request("a", &["p", "qq"]), request("b", &["rr", "s"])];
        let first = judge("v1", true);
        let outcome = rank_groups(&first, &groups, &Cancel::new());
        assert!(outcome.verdicts[0].is_ok() && outcome.verdicts[1].is_err());

        let again = judge("v1", false);
        let outcome = rank_groups(&again, &groups, &Cancel::new());
        let orders: Vec<String> =
            outcome.verdicts.iter().map(|v| v.as_ref().unwrap().ranking.to_string()).collect();
        assert_eq!(orders, ["[2] > [1]", "[1] > [2]"]);
        assert_eq!(again.oracle.seen.lock().unwrap().len(), 1, "only the failed group");
        assert_eq!((again.usage().cached, again.usage().requests), (1, 1));

        let other = judge("v2", false);
        let outcome = rank_groups(&other, &groups, &Cancel::new());
        assert!(outcome.verdicts.iter().all(Result::is_ok));
        assert_eq!(other.oracle.seen.lock().unwrap().len(), 2, "another judge is asked anew");
    }
}
