//! From verdicts to advantages, and what a step learns about the Oracle and the policy's order.

use rlaif_data::Group;
use rlaif_rank::{
    Advantage, AdvantageError, Ranking, Scale, advantage_correlation, advantages, kendall_tau_b,
    ndcg, scale_advantages,
};

use crate::metrics::Metrics;

/// Advantages of each group; `None` where the Oracle gave no ranking.
///
/// # Errors
///
/// Fails where the advantage asked for cannot be made from a ranking.
pub fn group_advantages(
    kind: Advantage,
    scale: Scale,
    groups: &[Group],
    rankings: &[Option<&Ranking>],
) -> Result<Vec<Option<Vec<f64>>>, AdvantageError> {
    let mut ranked = Vec::new();
    let mut places = Vec::new();
    for (index, (group, ranking)) in groups.iter().zip(rankings).enumerate() {
        if let Some(ranking) = ranking {
            ranked.push(advantages(kind, ranking, &mean_logprobs(group), None)?);
            places.push(index);
        }
    }
    scale_advantages(scale, &mut ranked);
    let mut out = vec![None; groups.len()];
    for (place, values) in places.into_iter().zip(ranked) {
        out[place] = Some(values);
    }
    Ok(out)
}

/// `rank/*`: how the policy's own order of its answers compares with the Oracle's.
pub fn rank_metrics(
    groups: &[Group],
    rankings: &[Option<&Ranking>],
    advantages: &[Option<Vec<f64>>],
    metrics: &mut Metrics,
) {
    let (mut ndcgs, mut taus, mut ties) = (Vec::new(), Vec::new(), Vec::new());
    let mut all_tied = 0_usize;
    let mut pairs = Vec::new();
    for ((group, ranking), advantage) in groups.iter().zip(rankings).zip(advantages) {
        let (Some(ranking), Some(advantage)) = (ranking, advantage) else { continue };
        pairs.push((*ranking, advantage.as_slice()));
        ties.push(tied_pairs(ranking));
        all_tied += usize::from(ranking.is_all_tied());
        if let Ok(policy) = Ranking::from_scores(&mean_logprobs(group)) {
            ndcgs.extend(ndcg(ranking, &policy).ok());
            taus.extend(kendall_tau_b(ranking, &policy).ok());
        }
    }
    let mut put = |name: &str, values: &[f64]| {
        if !values.is_empty() {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            metrics.insert(name.to_owned(), mean);
        }
    };
    put("rank/ndcg", &ndcgs);
    put("rank/tau", &taus);
    put("rank/ties", &ties);
    put("rank/frac_all_tied", &[all_tied as f64 / pairs.len().max(1) as f64]);
    if let Ok(correlation) = advantage_correlation(pairs) {
        metrics.insert("rank/advantage_corr".to_owned(), correlation);
    }
}

/// Part of the pairs of placed candidates that tie.
fn tied_pairs(ranking: &Ranking) -> f64 {
    let levels: Vec<usize> = ranking.levels().iter().flatten().copied().collect();
    let (mut pairs, mut tied) = (0_usize, 0_usize);
    for (i, a) in levels.iter().enumerate() {
        for b in &levels[i + 1..] {
            pairs += 1;
            tied += usize::from(a == b);
        }
    }
    tied as f64 / pairs.max(1) as f64
}

fn mean_logprobs(group: &Group) -> Vec<f64> {
    group.completions.iter().map(|completion| f64::from(completion.mean_logprob())).collect()
}

#[cfg(test)]
mod tests {
    use rlaif_data::{Completion, FinishReason};

    use super::*;

    fn group(logprobs: &[f32]) -> Group {
        let completion = |logprob: &f32| Completion {
            text: String::new(),
            token_ids: vec![1],
            logprobs: vec![*logprob],
            sampling_logprobs: vec![*logprob],
            finish_reason: FinishReason::Stop,
        };
        Group {
            example_id: "a".into(),
            prompt_tokens: 1,
            completions: logprobs.iter().map(completion).collect(),
        }
    }

    #[test]
    fn an_unranked_group_has_no_advantage_and_enters_no_mean() {
        let groups = [group(&[-1.0, -2.0, -3.0]), group(&[-1.0, -2.0, -3.0])];
        let reversed = Ranking::from_order(&[2, 1, 0]).unwrap();
        let rankings = [Some(&reversed), None];
        let advantages =
            group_advantages(Advantage::Linear, Scale::None, &groups, &rankings).unwrap();
        assert_eq!(advantages, [Some(vec![-1.0, 0.0, 1.0]), None]);
        let mut metrics = Metrics::new();
        rank_metrics(&groups, &rankings, &advantages, &mut metrics);
        assert!((metrics["rank/tau"] + 1.0).abs() < 1e-12);
        assert!(metrics["rank/ties"].abs() < 1e-9);
        assert!((metrics["rank/advantage_corr"] - 1.0).abs() < 1e-9);
    }
}
