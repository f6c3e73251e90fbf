//! The numbers of one step on sampled groups, from what its phases leave behind.

use burn::tensor::Device;
use rlaif_data::Group;
use rlaif_model::{Grid, Vlm};

use crate::batch::{Batch, Update, truncated};
use crate::config::{GrpoConfig, Trainable};
use crate::flops::{Costs, GroupShape, Macs};
use crate::metrics::Metrics;
use crate::phase::Clock;

/// Sums over the batches of one update.
#[derive(Default)]
pub(crate) struct Updated {
    pub(crate) loss: f64,
    pub(crate) tokens: usize,
    pub(crate) kl: Option<f64>,
    pub(crate) entropy: f64,
    pub(crate) clipped_low: f64,
    pub(crate) clipped_high: f64,
    pub(crate) mismatch: Option<f64>,
    pub(crate) grad_norm: f64,
    pub(crate) learning_rate: f64,
}

impl Updated {
    pub(crate) fn add(&mut self, update: &Update, iteration: usize) {
        self.loss += update.loss;
        self.tokens += update.tokens;
        self.kl = match (self.kl, update.kl_sum) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        self.entropy += update.entropy_sum;
        self.clipped_low += update.clipped_low;
        self.clipped_high += update.clipped_high;
        if iteration == 0 {
            *self.mismatch.get_or_insert(0.0) += update.mismatch_sum;
        }
    }

    /// Means over tokens, averaged over `iterations`.
    pub(crate) fn report(&self, metrics: &mut Metrics, iterations: usize) {
        let tokens = self.tokens.max(1) as f64;
        let part = 1.0 / iterations as f64;
        let mut add = |name: &str, value: f64| {
            *metrics.entry(name.to_owned()).or_default() += value * part;
        };
        add("loss", self.loss);
        add("entropy", self.entropy / tokens);
        add("clip_ratio/low_mean", self.clipped_low / tokens);
        add("clip_ratio/high_mean", self.clipped_high / tokens);
        add("clip_ratio/region_mean", (self.clipped_low + self.clipped_high) / tokens);
        add("grad_norm", self.grad_norm);
        add("learning_rate", self.learning_rate);
        if let Some(kl) = self.kl {
            add("kl", kl / tokens);
        }
        if let Some(mismatch) = self.mismatch {
            metrics.insert("sampler/mismatch_kl".to_owned(), mismatch / tokens);
        }
    }
}

/// `completions/*` and `num_tokens`.
pub(crate) fn group_metrics(groups: &[Group], metrics: &mut Metrics) {
    let completions: Vec<_> = groups.iter().flat_map(|group| &group.completions).collect();
    let lens: Vec<usize> = completions.iter().map(|c| c.token_ids.len()).collect();
    let n = lens.len().max(1) as f64;
    let cut = completions.iter().filter(|c| truncated(c)).count();
    let tokens: usize = lens.iter().sum();
    let prompt: usize = groups.iter().map(|group| group.prompt_tokens).sum();
    let mut put = |name: &str, value: f64| metrics.insert(name.to_owned(), value);
    put("completions/mean_length", tokens as f64 / n);
    put("completions/min_length", lens.iter().min().copied().unwrap_or(0) as f64);
    put("completions/max_length", lens.iter().max().copied().unwrap_or(0) as f64);
    put("completions/clipped_ratio", cut as f64 / n);
    put("num_tokens", (tokens + prompt) as f64);
}

/// `speed/*_tokens_per_second`.
pub(crate) fn speed(groups: &[Group], clock: &Clock, metrics: &mut Metrics) {
    let sampled: usize =
        groups.iter().flat_map(|g| &g.completions).map(|c| c.token_ids.len()).sum();
    let prompt: usize = groups.iter().map(|group| group.prompt_tokens).sum();
    let mut rate = |name: &str, tokens: usize, phase: &str| {
        let seconds = clock.seconds(phase);
        if seconds > 0.0 {
            metrics.insert(format!("speed/{name}"), tokens as f64 / seconds);
        }
    };
    rate("rollout_tokens_per_second", sampled, "rollout");
    rate("reference_tokens_per_second", sampled + prompt, "reference");
    rate("update_tokens_per_second", sampled + prompt, "update");
}

/// `speed/mfu`: the step's arithmetic over what this CPU's matrix products would have done in
/// the same time. Other devices have no measured peak, and no such number.
pub(crate) fn utilisation(
    policy: &Vlm,
    config: &GrpoConfig,
    batches: &[Batch],
    seconds: f64,
    metrics: &mut Metrics,
) {
    if policy.device() != Device::flex() || seconds <= 0.0 {
        return;
    }
    let costs = Costs::of(policy);
    let trained = !matches!(config.trainable, Trainable::Lora(_));
    let mut macs = Macs::default();
    for group in batches.iter().flat_map(|b| shapes(b, policy)) {
        macs += group.rollout(&costs);
        if config.beta != 0.0 {
            macs += group.score(&costs);
        }
        for iteration in 0..config.num_iterations {
            let kept = config.reuse_prefill && !config.gradient_checkpointing && iteration == 0;
            macs += group.update(&costs, kept, trained);
        }
    }
    let peak = rlaif_ops::peak::measure().gemm_gflops * 1e9;
    metrics.insert("speed/mfu".to_owned(), macs.flops() / (seconds * peak));
}

/// The shapes of a batch's groups.
fn shapes<'a>(batch: &'a Batch, policy: &'a Vlm) -> impl Iterator<Item = GroupShape> + 'a {
    batch.prompts.iter().zip(&batch.groups).map(move |(prompt, group)| GroupShape {
        prompt: group.prompt_tokens,
        patches: prompt
            .input
            .visual
            .as_ref()
            .and_then(|(_, clip)| clip.grid(policy).ok())
            .map_or(0, Grid::rows),
        responses: group.completions.iter().map(|c| c.token_ids.len()).collect(),
    })
}
