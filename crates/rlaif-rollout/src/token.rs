//! Choosing one token from a row of log-probabilities.

use rand::Rng;
use serde::{Deserialize, Serialize};

/// How completions are sampled. Names and order of the filters (temperature, top-k, top-p)
/// follow `transformers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingParams {
    /// Divides the logits; 0 takes the likeliest token. Default 1.
    pub temperature: f64,
    /// Keeps the likeliest tokens whose probabilities reach this sum, in (0, 1]. Default 1.
    pub top_p: f64,
    /// Keeps this many of the likeliest tokens; 0 keeps all. Default 0.
    pub top_k: usize,
    /// Longest completion in tokens, its end token included. Default 64.
    pub max_completion_length: usize,
    /// End tokens cannot be sampled before this many tokens (`min_new_tokens`). Default 0.
    pub min_completion_length: usize,
}

impl Default for SamplingParams {
    fn default() -> Self {
        SamplingParams {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            max_completion_length: 64,
            min_completion_length: 0,
        }
    }
}

/// The tokens that end an answer and the tokens that no answer can hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// Sampling one of these ends a completion.
    pub eos: Vec<u32>,
    /// Visual placeholders, padding and other special tokens: their probability is exactly zero,
    /// in the sampler and in the training pass alike.
    pub forbidden: Vec<u32>,
}

/// A chosen token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Token id.
    pub token: u32,
    /// Its log-probability under the unmodified policy.
    pub logprob: f32,
    /// Its log-probability under the distribution that was sampled from.
    pub sampling_logprob: f32,
}

/// Chooses from `logprobs`, the policy's log-probability of every token of the vocabulary
/// (negative infinity where forbidden); never one of `banned`, the tokens that may not come yet.
pub fn choose(
    logprobs: &[f32],
    banned: &[u32],
    params: &SamplingParams,
    rng: &mut impl Rng,
) -> Choice {
    let free = |index: usize| !banned.iter().any(|id| *id as usize == index);
    if params.temperature <= 0.0 {
        let best = argmax(logprobs, free);
        return choice(logprobs, best, 0.0);
    }
    let draw: f64 = rng.random();
    #[expect(clippy::float_cmp, reason = "1 is the setting that leaves the policy as it is")]
    let unmodified = params.temperature == 1.0 && params.top_k == 0 && params.top_p >= 1.0;
    if unmodified {
        let lost: f64 = banned
            .iter()
            .filter_map(|id| logprobs.get(*id as usize))
            .map(|lp| f64::from(*lp).exp())
            .sum();
        let left = 1.0 - lost;
        let free = logprobs.iter().enumerate().filter(|(index, _)| free(*index));
        let picked = walk(free.map(|(index, lp)| (index, f64::from(*lp).exp())), draw * left);
        #[expect(clippy::cast_possible_truncation, reason = "log-probabilities are kept in f32")]
        let renormalised = if lost > 0.0 { left.ln() as f32 } else { 0.0 };
        return choice(logprobs, picked.0, logprobs[picked.0] - renormalised);
    }
    // Candidates, likeliest first; ties keep the vocabulary's order.
    let mut order: Vec<usize> =
        (0..logprobs.len()).filter(|i| logprobs[*i] > f32::NEG_INFINITY && free(*i)).collect();
    order.sort_by(|a, b| logprobs[*b].total_cmp(&logprobs[*a]));
    if params.top_k > 0 {
        order.truncate(params.top_k);
    }
    let best = order.first().map_or(0.0, |i| f64::from(logprobs[*i]));
    let scaled = |i: &usize| ((f64::from(logprobs[*i]) - best) / params.temperature).exp();
    let mut weights: Vec<f64> = order.iter().map(scaled).collect();
    let mut total: f64 = weights.iter().sum();
    if params.top_p < 1.0 {
        let mut reached = 0.0;
        let keep = weights
            .iter()
            .position(|weight| {
                reached += weight / total;
                reached >= params.top_p
            })
            .map_or(weights.len(), |last| last + 1);
        weights.truncate(keep);
        total = weights.iter().sum();
    }
    let (index, weight) = walk(weights.iter().map(|w| w / total).enumerate(), draw);
    #[expect(clippy::cast_possible_truncation, reason = "log-probabilities are kept in f32")]
    let sampling_logprob = weight.ln() as f32;
    choice(logprobs, order[index], sampling_logprob)
}

/// First index at which the running sum of probabilities passes `draw`; the last index with any
/// probability where rounding leaves the sum short.
fn walk(probabilities: impl Iterator<Item = (usize, f64)>, draw: f64) -> (usize, f64) {
    let mut sum = 0.0;
    let mut last = (0, 0.0);
    for (index, probability) in probabilities {
        if probability > 0.0 {
            last = (index, probability);
            sum += probability;
            if sum > draw {
                break;
            }
        }
    }
    last
}

fn argmax(values: &[f32], free: impl Fn(usize) -> bool) -> usize {
    let mut best = None;
    for (index, value) in values.iter().enumerate() {
        if free(index) && best.is_none_or(|b: usize| *value > values[b]) {
            best = Some(index);
        }
    }
    best.unwrap_or(0)
}

fn choice(logprobs: &[f32], index: usize, sampling_logprob: f32) -> Choice {
    let token = u32::try_from(index).unwrap_or(u32::MAX);
    Choice { token, logprob: logprobs[index], sampling_logprob }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn row(probabilities: &[f32]) -> Vec<f32> {
        probabilities.iter().map(|p| p.ln()).collect()
    }

    fn frequencies(params: &SamplingParams, probabilities: &[f32]) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let row = row(probabilities);
        let mut counts = vec![0.0; row.len()];
        for _ in 0..20_000 {
            counts[choose(&row, &[], params, &mut rng).token as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn plain_sampling_follows_the_probabilities_and_never_draws_a_forbidden_token() {
        let counts = frequencies(&SamplingParams::default(), &[0.5, 0.3, 0.0, 0.2]);
        for (count, expected) in counts.iter().zip([0.5, 0.3, 0.0, 0.2]) {
            assert!((count - expected).abs() < 0.015, "{counts:?}");
        }
        assert!(counts[2] == 0.0);
    }

    /// T = 0.5 squares the probabilities: 0.25, 0.09, 0.04 over their sum 0.38.
    #[test]
    fn temperature_sharpens() {
        let params = SamplingParams { temperature: 0.5, ..SamplingParams::default() };
        let counts = frequencies(&params, &[0.5, 0.3, 0.2]);
        for (count, expected) in counts.iter().zip([0.658, 0.237, 0.105]) {
            assert!((count - expected).abs() < 0.015, "{counts:?}");
        }
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail_and_report_the_cut_distribution() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let row = row(&[0.1, 0.6, 0.3]);
        let top_k = SamplingParams { top_k: 1, ..SamplingParams::default() };
        let one = choose(&row, &[], &top_k, &mut rng);
        assert_eq!((one.token, one.sampling_logprob), (1, 0.0));
        assert!((one.logprob - 0.6_f32.ln()).abs() < 1e-6);
        let top_p = SamplingParams { top_p: 0.65, ..SamplingParams::default() };
        let counts = frequencies(&top_p, &[0.1, 0.6, 0.3]);
        assert!(counts[0] == 0.0);
        assert!((counts[1] - 2.0 / 3.0).abs() < 0.015);
    }

    /// Without token 1 of (0.5, 0.3, 0.2), the others have 5/7 and 2/7.
    #[test]
    fn a_banned_token_waits_and_the_rest_is_renormalised() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let row = row(&[0.5, 0.3, 0.2]);
        let params = SamplingParams::default();
        let mut first = 0.0;
        for _ in 0..20_000 {
            let choice = choose(&row, &[1], &params, &mut rng);
            assert_ne!(choice.token, 1);
            if choice.token == 0 {
                first += 1.0 / 20_000.0;
                assert!((choice.sampling_logprob - (5.0_f32 / 7.0).ln()).abs() < 1e-5);
                assert!((choice.logprob - 0.5_f32.ln()).abs() < 1e-6);
            }
        }
        assert!((first - 5.0_f64 / 7.0).abs() < 0.015, "{first}");
    }

    #[test]
    fn zero_temperature_takes_the_likeliest() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let greedy = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
        assert_eq!(choose(&row(&[0.2, 0.7, 0.1]), &[], &greedy, &mut rng).token, 1);
    }
}
