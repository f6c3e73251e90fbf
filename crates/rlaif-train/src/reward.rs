//! Scores instead of orders: what GRPO, RLOO and PPO learn from.

use std::time::Instant;

use rlaif_data::Group;
use rlaif_oracle::RankRequest;
use rlaif_rank::Ranking;

use crate::batch::truncated;
use crate::error::TrainError;
use crate::method::{Judgement, Rollouts};
use crate::metrics::Metrics;
use crate::phase::Clock;
use crate::ranked::rank_metrics;

/// A group that could not be scored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{example}`: {reason}")]
pub struct RewardError {
    /// [`rlaif_data::Example::id`].
    pub example: String,
    /// Why.
    pub reason: String,
}

/// Anything that gives answers numbers: a reward model, or a rule that knows what is right.
pub trait Reward: Send {
    /// A short name for metrics, for instance `reward_model`.
    fn name(&self) -> &str;

    /// One number per candidate of every request, higher is better. A group that cannot be scored
    /// is an error, never a zero.
    fn rewards(&mut self, requests: &[RankRequest]) -> Vec<Result<Vec<f64>, RewardError>>;
}

/// A reward, and the groups that wait for it.
pub(crate) struct Scored {
    reward: Box<dyn Reward>,
    waiting: Vec<RankRequest>,
}

impl Scored {
    pub(crate) fn new(reward: Box<dyn Reward>) -> Self {
        Scored { reward, waiting: Vec::new() }
    }

    pub(crate) fn submit(&mut self, mut requests: Vec<RankRequest>) {
        self.waiting.append(&mut requests);
    }

    /// Scores what waits, `missing_eos_penalty` taken off answers that the length limit cut off,
    /// with `reward`, `reward_std`, `rewards/*` and `reward/*` for the log.
    pub(crate) fn judge(
        &mut self,
        rollouts: &Rollouts<'_>,
        clock: &mut Clock,
    ) -> Result<(Vec<Result<Judgement, String>>, Metrics), TrainError> {
        let requests = std::mem::take(&mut self.waiting);
        let start = Instant::now();
        let scores = clock.time("reward", || self.reward.rewards(&requests));
        let seconds = start.elapsed().as_secs_f64();
        let penalty = rollouts.config.missing_eos_penalty.unwrap_or(0.0);
        let mut raw: Vec<f64> = Vec::new();
        let mut verdicts = Vec::with_capacity(requests.len());
        // One verdict per group, whatever the reward gave back.
        let scores = scores.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        for (group, scores) in rollouts.groups.iter().zip(scores) {
            let verdict = match scores {
                Some(Ok(scores)) => judgement(group, scores, penalty, &mut raw),
                Some(Err(error)) => Err(error.to_string()),
                None => Err(format!("`{}`: the reward gave no answer", group.example_id)),
            };
            verdicts.push(verdict);
        }
        if verdicts.iter().all(Result::is_err) {
            return Err(TrainError::NothingScored {
                step: rollouts.step,
                groups: verdicts.len(),
                first: verdicts.into_iter().find_map(Result::err).unwrap_or_default(),
            });
        }
        let mut metrics = reward_metrics(self.reward.name(), &raw, &verdicts);
        metrics.insert("reward/latency_mean".to_owned(), seconds / requests.len().max(1) as f64);
        Ok((verdicts, metrics))
    }
}

fn judgement(
    group: &Group,
    mut scores: Vec<f64>,
    penalty: f64,
    raw: &mut Vec<f64>,
) -> Result<Judgement, String> {
    let wanted = group.completions.len();
    if scores.len() != wanted {
        return Err(format!(
            "`{}`: {} scores for {wanted} completions",
            group.example_id,
            scores.len()
        ));
    }
    if let Some(bad) = scores.iter().find(|score| !score.is_finite()) {
        return Err(format!("`{}`: a score is {bad}", group.example_id));
    }
    raw.extend_from_slice(&scores);
    for (score, completion) in scores.iter_mut().zip(&group.completions) {
        if truncated(completion) {
            *score -= penalty;
        }
    }
    let ranking = Ranking::from_scores(&scores).map_err(|error| error.to_string())?;
    Ok(Judgement { ranking, rewards: Some(scores), votes: Vec::new() })
}

fn reward_metrics(name: &str, raw: &[f64], verdicts: &[Result<Judgement, String>]) -> Metrics {
    let groups: Vec<&[f64]> =
        verdicts.iter().flatten().filter_map(|judgement| judgement.rewards.as_deref()).collect();
    let means: Vec<f64> = groups.iter().map(|scores| mean(scores)).collect();
    let deviations: Vec<f64> = groups.iter().map(|scores| deviation(scores)).collect();
    let flat = deviations.iter().filter(|d| **d < 1e-12).count();
    let mut metrics = Metrics::new();
    let mut put = |name: String, value: f64| metrics.insert(name, value);
    put("reward".to_owned(), mean(&means));
    put("reward_std".to_owned(), mean(&deviations));
    put("frac_reward_zero_std".to_owned(), flat as f64 / deviations.len().max(1) as f64);
    put(format!("rewards/{name}/mean"), mean(raw));
    put(format!("rewards/{name}/std"), deviation(raw));
    put("reward/groups".to_owned(), verdicts.len() as f64);
    put("reward/failed_groups".to_owned(), (verdicts.len() - groups.len()) as f64);
    metrics
}

/// `rank/*` of groups whose rewards give an order.
pub(crate) fn order_metrics(
    rollouts: &Rollouts<'_>,
    verdicts: &[Result<Judgement, String>],
    advantages: &[Option<Vec<f64>>],
    metrics: &mut Metrics,
) {
    let rankings: Vec<Option<&Ranking>> =
        verdicts.iter().map(|v| v.as_ref().ok().map(|v| &v.ranking)).collect();
    rank_metrics(rollouts.groups, &rankings, advantages, metrics);
}

/// Rewards of each group that has some.
pub(crate) fn rewards(
    verdicts: &[Result<Judgement, String>],
) -> impl Iterator<Item = Option<&[f64]>> {
    verdicts.iter().map(|v| v.as_ref().ok().and_then(|judgement| judgement.rewards.as_deref()))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn deviation(values: &[f64]) -> f64 {
    let center = mean(values);
    let squares: f64 = values.iter().map(|v| (v - center) * (v - center)).sum();
    (squares / (values.len().max(2) - 1) as f64).sqrt()
}
