//! Several Oracles whose orders become one.

use std::thread;
use std::time::Duration;

use rlaif_rank::Ranking;
use rlaif_rank::aggregate::{Aggregator, aggregate_weighted};

use crate::{Cancel, ConfigError, Oracle, OracleError, RankRequest, Usage, Verdict, Vote};

/// One of several Oracles.
pub struct Member {
    /// Its name in metrics and the ledger; each has its own.
    pub name: String,
    /// What its orders count for, above 0.
    pub weight: f64,
    /// Who ranks.
    pub oracle: Box<dyn Oracle>,
}

/// Several Oracles that are asked side by side.
///
/// Their orders of a group are aggregated, each with its weight. One that has no verdict on a group is
/// left out of it and counted ([`Verdict::absent`]); a group of which none has a verdict fails with the
/// first one's error, and so does one on which a member fails for good (a wrong key, a budget that is
/// used up): a run should not go on with fewer judges than it was given.
pub struct Ensemble {
    members: Vec<Member>,
    aggregator: Aggregator,
}

impl Ensemble {
    /// An ensemble of `members`.
    ///
    /// # Errors
    ///
    /// Without members, with two of one name, or with a weight that is none.
    pub fn new(members: Vec<Member>, aggregator: Aggregator) -> Result<Self, ConfigError> {
        let wrong = |field, why| Err(ConfigError::Field { oracle: "first", field, why });
        if members.is_empty() {
            return wrong("type", "there is no Oracle".to_owned());
        }
        for (index, member) in members.iter().enumerate() {
            if !(member.weight.is_finite() && member.weight > 0.0) {
                let why =
                    format!("`{}` has weight {}: give it one above 0", member.name, member.weight);
                return wrong("weight", why);
            }
            if members[..index].iter().any(|other| other.name == member.name) {
                let why =
                    format!("two Oracles are called `{}`: give each its own name", member.name);
                return wrong("name", why);
            }
        }
        Ok(Ensemble { members, aggregator })
    }

    fn combine(
        &self,
        request: &RankRequest,
        verdicts: Vec<Result<Verdict, OracleError>>,
    ) -> Result<Verdict, OracleError> {
        let n = request.candidates.len();
        let (mut votes, mut absent, mut calls) = (Vec::new(), Vec::new(), Vec::new());
        let mut latency = Duration::ZERO;
        for (member, verdict) in self.members.iter().zip(verdicts) {
            match checked(member, request, n, verdict) {
                Ok(verdict) => {
                    latency = latency.max(verdict.latency);
                    calls.extend(verdict.calls);
                    votes.push(Vote {
                        voter: member.name.clone(),
                        ranking: verdict.ranking,
                        weight: member.weight,
                    });
                }
                Err(error) if error.is_permanent() => return Err(error),
                Err(error @ OracleError::Cancelled { .. }) => return Err(error),
                Err(error) => {
                    tracing::warn!(oracle = member.name, %error, "an Oracle has no verdict");
                    absent.push((member.name.clone(), error));
                }
            }
        }
        if votes.is_empty() {
            let (_, first) = absent.remove(0);
            return Err(first);
        }
        let rankings: Vec<Ranking> = votes.iter().map(|vote| vote.ranking.clone()).collect();
        let weights: Vec<f64> = votes.iter().map(|vote| vote.weight).collect();
        let ranking =
            aggregate_weighted(self.aggregator, &rankings, &weights).map_err(|error| {
                OracleError::Contract {
                    oracle: self.name().to_owned(),
                    example: request.example.id.clone(),
                    detail: error.to_string(),
                }
            })?;
        Ok(Verdict { votes, absent, calls, ..Verdict::new(ranking, latency) })
    }
}

/// A verdict that is about as many candidates as were shown, and places one.
fn checked(
    member: &Member,
    request: &RankRequest,
    n: usize,
    verdict: Result<Verdict, OracleError>,
) -> Result<Verdict, OracleError> {
    let verdict = verdict?;
    let (oracle, example) = (member.name.clone(), request.example.id.clone());
    if verdict.ranking.len() != n {
        let detail = format!("a ranking of {} candidates for {n}", verdict.ranking.len());
        return Err(OracleError::Contract { oracle, example, detail });
    }
    if verdict.ranking.n_placed() == 0 {
        let reason = "it placed no candidate".to_owned();
        return Err(OracleError::Abstained { oracle, example, reason });
    }
    Ok(verdict)
}

impl Oracle for Ensemble {
    fn name(&self) -> &'static str {
        "ensemble"
    }

    fn rank(&self, requests: &[RankRequest], cancel: &Cancel) -> Vec<Result<Verdict, OracleError>> {
        let answers: Vec<Vec<Result<Verdict, OracleError>>> = thread::scope(|scope| {
            let asked: Vec<_> = self
                .members
                .iter()
                .map(|member| scope.spawn(|| member.oracle.rank(requests, cancel)))
                .collect();
            asked
                .into_iter()
                .zip(&self.members)
                .map(|(asked, member)| match asked.join() {
                    Ok(answers) if answers.len() == requests.len() => answers,
                    Ok(answers) => broken(member, requests, answers.len()),
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect()
        });
        let mut answers: Vec<_> = answers.into_iter().map(Vec::into_iter).collect();
        requests
            .iter()
            .map(|request| {
                self.combine(request, answers.iter_mut().filter_map(Iterator::next).collect())
            })
            .collect()
    }

    fn batches_at_once(&self) -> usize {
        // Those who take one at a time wait in a line of their own.
        self.members.iter().map(|member| member.oracle.batches_at_once()).max().unwrap_or(1)
    }

    fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for member in &self.members {
            usage += member.oracle.usage();
        }
        usage
    }
}

fn broken(
    member: &Member,
    requests: &[RankRequest],
    answers: usize,
) -> Vec<Result<Verdict, OracleError>> {
    let detail = format!("{answers} verdicts for {} groups", requests.len());
    let error = |request: &RankRequest| OracleError::Contract {
        oracle: member.name.clone(),
        example: request.example.id.clone(),
        detail: detail.clone(),
    };
    requests.iter().map(|request| Err(error(request))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        FailureKind, rank_groups,
        testing::{Scripted, request},
    };

    fn member(name: &str, weight: f64, order: &'static str) -> Member {
        let oracle = Scripted::answering(move |request| {
            Ranking::parse(order, request.candidates.len()).unwrap()
        });
        Member { name: name.to_owned(), weight, oracle: Box::new(oracle) }
    }

    #[test]
    fn weights_decide_and_each_vote_is_kept() {
        let ensemble = |heavy| {
            let members = vec![
                member("a", 1.0, "[1] > [2] > [3]"),
                member("b", 1.0, "[1] > [2] > [3]"),
                member("c", heavy, "[3] > [2] > [1]"),
            ];
            Ensemble::new(members, Aggregator::Borda).unwrap()
        };
        let ask = |heavy| {
            let outcome =
                rank_groups(&ensemble(heavy), &[request("x", &["p", "q", "r"])], &Cancel::new());
            (outcome.verdicts[0].clone().unwrap(), outcome.metrics)
        };
        let (verdict, metrics) = ask(1.0);
        assert_eq!(verdict.ranking.to_string(), "[1] > [2] > [3]");
        assert_eq!(ask(3.0).0.ranking.to_string(), "[3] > [2] > [1]");
        assert_eq!(ask(2.0).0.ranking.to_string(), "[1] = [2] = [3]", "even evidence ties");
        assert_eq!(verdict.votes.len(), 3);
        assert!((metrics.voters["a"].tau().unwrap()).abs() < 1e-12);
        assert!((metrics.voters["c"].tau().unwrap() + 1.0).abs() < 1e-12);
        let named = metrics.named();
        let tau = named.iter().find(|(name, _)| name == "oracle/agreement_tau").unwrap().1;
        assert!((tau + 1.0 / 3.0).abs() < 1e-12, "{tau}");
    }

    #[test]
    fn one_that_fails_is_left_out_and_counted_and_all_that_fail_are_a_failure() {
        let failing = |name: &str| {
            let mut oracle = Scripted::longest_first();
            oracle.fail_on = Some("x".to_owned());
            Member { name: name.to_owned(), weight: 1.0, oracle: Box::new(oracle) }
        };
        let ensemble =
            Ensemble::new(vec![failing("a"), member("b", 1.0, "[2] > [1]")], Aggregator::Borda)
                .unwrap();
        let outcome = rank_groups(&ensemble, &[request("x", &["p", "q"])], &Cancel::new());
        assert_eq!(outcome.verdicts[0].as_ref().unwrap().ranking.to_string(), "[2] > [1]");
        assert_eq!(outcome.metrics.voters["a"].failed, 1);

        let both = Ensemble::new(vec![failing("a"), failing("b")], Aggregator::Borda).unwrap();
        let outcome = rank_groups(&both, &[request("x", &["p", "q"])], &Cancel::new());
        assert_eq!(outcome.verdicts[0].as_ref().unwrap_err().kind(), FailureKind::Reported);
    }

    #[test]
    fn names_and_weights_are_checked() {
        let error = |members| match Ensemble::new(members, Aggregator::Borda) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("it was taken"),
        };
        assert!(error(vec![]).contains("there is no Oracle"));
        let twice = error(vec![member("a", 1.0, "[1]"), member("a", 1.0, "[1]")]);
        assert!(twice.contains("two Oracles are called `a`"), "{twice}");
        let weightless = error(vec![member("a", 0.0, "[1]")]);
        assert!(weightless.contains("`a` has weight 0"), "{weightless}");
    }
}
