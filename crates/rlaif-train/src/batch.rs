//! One batch of groups on its way through a step: sampled, ranked, scored, differentiated.

use burn::tensor::Tensor;
use rlaif_data::{Completion, Example, FinishReason, Group};
use rlaif_model::hf::ChatTokenizer;
use rlaif_model::{Gradients, Prefix, Vlm};
use rlaif_objective::{ExactKl, GrpoInput, GrpoKnobs, exact_kl};
use rlaif_rollout::{
    Pass, PromptInput, Reads, SampleRequest, Vocabulary, encode, response_hidden, sample, score,
};

use crate::config::{GrpoConfig, KlEstimator};
use crate::method::{Method, Tokens};
use crate::online::Prompted;
use crate::order::mix;

/// Groups that are sampled and differentiated together.
pub struct Batch {
    /// Their prompts.
    pub prompts: Vec<std::sync::Arc<Prompted>>,
    /// Their completions.
    pub groups: Vec<Group>,
    /// The encoded prompts with the graph of the policy that sampled, where it is kept.
    pub prefix: Option<Prefix>,
    /// `log π_ref` of every token, `[Σ T]`, on the host.
    pub ref_logprobs: Option<Vec<f32>>,
}

impl Batch {
    /// Samples `num_generations` completions per prompt.
    ///
    /// `policy` is tracked where the graph of the prompt pass is kept for the update, plain
    /// otherwise; sampling runs on `plain`, the same weights off the graph.
    #[must_use]
    pub fn roll_out(
        prompts: Vec<std::sync::Arc<Prompted>>,
        plain: &Vlm,
        policy: &Vlm,
        keep_graph: bool,
        config: &GrpoConfig,
        tokenizer: &ChatTokenizer,
        step: u64,
    ) -> Batch {
        let inputs: Vec<&PromptInput> = prompts.iter().map(|prompt| &prompt.input).collect();
        let prefix = encode(policy, &inputs);
        let requests: Vec<SampleRequest> = prompts
            .iter()
            .enumerate()
            .flat_map(|(index, prompt)| {
                let base = mix(&[config.seed, step, prompt.position]);
                (0..config.num_generations as u64)
                    .map(move |g| SampleRequest { prompt: index, seed: mix(&[base, g]) })
            })
            .collect();
        let vocabulary = vocabulary(tokenizer, plain);
        let sampled = sample(plain, &prefix.detached(), &requests, &config.sampling, &vocabulary);
        let mut groups: Vec<Group> = prompts
            .iter()
            .map(|prompt| Group {
                example_id: prompt.example.id.clone(),
                prompt_tokens: prompt.input.ids.len(),
                completions: Vec::with_capacity(config.num_generations),
            })
            .collect();
        for (request, one) in requests.iter().zip(sampled) {
            groups[request.prompt].completions.push(Completion {
                text: tokenizer.decode(&one.token_ids),
                token_ids: one.token_ids,
                logprobs: one.logprobs,
                sampling_logprobs: one.sampling_logprobs,
                finish_reason: one.finish_reason,
            });
        }
        Batch { prompts, groups, prefix: keep_graph.then_some(prefix), ref_logprobs: None }
    }

    /// Examples in order.
    pub fn examples(&self) -> impl Iterator<Item = &Example> {
        self.prompts.iter().map(|prompt| &prompt.example)
    }

    /// Responses with their prompts, laid end to end.
    #[must_use]
    pub fn responses(&self) -> Vec<(usize, &[u32])> {
        let mut out = Vec::new();
        for (prompt, group) in self.groups.iter().enumerate() {
            for completion in &group.completions {
                out.push((prompt, completion.token_ids.as_slice()));
            }
        }
        out
    }

    /// Response tokens in all.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.groups.iter().flat_map(|g| &g.completions).map(|c| c.token_ids.len()).sum()
    }

    /// The prompts in order.
    #[must_use]
    pub fn inputs(&self) -> Vec<&PromptInput> {
        self.prompts.iter().map(|prompt| &prompt.input).collect()
    }

    /// Scores the completions under the reference.
    pub fn score_reference(&mut self, reference: &Vlm, forbidden: &[u32]) {
        let prefix = encode(reference, &self.inputs());
        let stats = score(reference, &prefix, &self.responses(), forbidden);
        self.ref_logprobs = Some(stats.logprobs.into_data().iter::<f32>().collect());
    }

    /// Differentiates the objective of this batch's part of the step.
    ///
    /// `advantages` and `weights` hold one number per response token; a weight of 0 leaves a token
    /// out. The graph of the prompt pass is taken where it was kept.
    #[must_use]
    pub fn update(
        &mut self,
        tracked: &Vlm,
        advantages: &[f32],
        weights: &[f32],
        objective: &Objective<'_>,
    ) -> Update {
        let Objective { method, reference, config, forbidden } = *objective;
        let prefix = self.prefix.take();
        let responses = self.responses();
        let lens: Vec<usize> = responses.iter().map(|(_, tokens)| tokens.len()).collect();
        let pass = if let Some(prefix) = &prefix {
            Pass::after(tracked, prefix, &responses, Reads::EachToken)
        } else {
            let checkpointing = config.gradient_checkpointing;
            Pass::new(tracked, &self.inputs(), &responses, Reads::EachToken, checkpointing)
        };
        let hidden = pass.hidden.clone();
        let device = hidden.device();
        let targets: Vec<i64> = responses
            .iter()
            .flat_map(|(_, tokens)| tokens.iter().map(|id| i64::from(*id)))
            .collect();
        let targets = Tensor::from_data(targets.as_slice(), &device);
        let head = tracked.decoder.head();
        let token_stats = if config.entropy_coef == 0.0 {
            rlaif_ops::token_logprobs
        } else {
            rlaif_ops::token_stats
        };
        let stats = token_stats(hidden.clone(), head.clone(), targets, forbidden);
        let constant = |values: &[f32]| Tensor::<1>::from_data(values, &device);
        let old: Vec<f32> = self
            .groups
            .iter()
            .flat_map(|group| group.completions.iter().flat_map(|c| c.logprobs.iter().copied()))
            .collect();
        let logprobs: Vec<f32> = stats.logprobs.clone().inner().into_data().iter().collect();
        let entropy: Vec<f32> = stats.entropy.clone().inner().into_data().iter().collect();
        let in_loss = config.beta != 0.0 && !method.kl_in_reward();
        let exact = config.kl_estimator == KlEstimator::Exact && in_loss;
        let output = method.objective(
            Tokens {
                input: GrpoInput {
                    logprobs: stats.logprobs,
                    entropy: stats.entropy,
                    old_logprobs: constant(&old),
                    ref_logprobs: self.ref_logprobs.as_deref().filter(|_| !exact).map(constant),
                    advantages: constant(advantages),
                    weights: constant(weights),
                },
                lens: &lens,
                advantages,
                weights,
            },
            &GrpoKnobs {
                epsilon_low: config.epsilon,
                epsilon_high: config.epsilon_high.unwrap_or(config.epsilon),
                beta: if in_loss && !exact { config.beta } else { 0.0 },
                entropy_coef: config.entropy_coef,
            },
        );
        let mut loss = output.loss;
        let mut kl_sum = output.kl_sum.map(|sum| f64::from(sum.into_scalar::<f32>()));
        if exact {
            let ref_prefix = encode(reference, &self.inputs());
            let (kl, sum) = exact_kl(&ExactKl {
                hidden,
                head,
                ref_hidden: response_hidden(reference, &ref_prefix, &self.responses()),
                ref_head: reference.decoder.head(),
                weights,
                forbidden,
                chunk: 64,
            });
            loss = loss + kl * config.beta;
            kl_sum = Some(sum);
        }
        let loss_value = f64::from(loss.clone().inner().into_scalar::<f32>());
        let gradients = pass.gradients(tracked, &loss);
        let mismatch = logprobs
            .iter()
            .zip(&old)
            .map(|(new, old)| {
                let d = f64::from(new - old);
                d.exp() - d - 1.0
            })
            .sum();
        Update {
            gradients,
            loss: loss_value,
            tokens: old.len(),
            kl_sum,
            entropy_sum: entropy.iter().map(|h| f64::from(*h)).sum(),
            clipped_low: f64::from(output.clipped_low.into_scalar::<f32>()),
            clipped_high: f64::from(output.clipped_high.into_scalar::<f32>()),
            mismatch_sum: mismatch,
        }
    }
}

/// What a batch is differentiated on.
#[derive(Clone, Copy)]
pub struct Objective<'a> {
    /// Whose loss.
    pub method: &'a dyn Method,
    /// `π_ref`, for a divergence over the whole vocabulary.
    pub reference: &'a Vlm,
    /// Knobs.
    pub config: &'a GrpoConfig,
    /// Tokens that have no probability.
    pub forbidden: &'a [u32],
}

/// What one batch adds to an update.
pub struct Update {
    /// Its gradients.
    pub gradients: Gradients,
    /// Its part of the loss.
    pub loss: f64,
    /// Response tokens.
    pub tokens: usize,
    /// Sum of the KL over tokens.
    pub kl_sum: Option<f64>,
    /// Sum of the entropy over tokens.
    pub entropy_sum: f64,
    /// Tokens clipped from below.
    pub clipped_low: f64,
    /// Tokens clipped from above.
    pub clipped_high: f64,
    /// Sum over tokens of `exp(d) - d - 1`, `d` the difference between the log-probability of
    /// this pass and the sampler's.
    pub mismatch_sum: f64,
}

/// End tokens and forbidden tokens: what the tokenizer forbids, and the rows of the model's
/// vocabulary that stand for no token at all (sizes are rounded up).
#[must_use]
pub fn vocabulary(tokenizer: &ChatTokenizer, model: &Vlm) -> Vocabulary {
    let mut forbidden = tokenizer.forbidden_ids().to_vec();
    let rows = tokenizer.vocab_size()..model.config.text.vocab_size;
    forbidden.extend(rows.filter_map(|id| u32::try_from(id).ok()));
    forbidden.sort_unstable();
    forbidden.dedup();
    Vocabulary { eos: tokenizer.eos_ids().to_vec(), forbidden }
}

/// True where the length limit cut the completion off.
#[must_use]
pub fn truncated(completion: &Completion) -> bool {
    completion.finish_reason == FinishReason::Length
}
