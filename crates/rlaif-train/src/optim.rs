//! `AdamW` over named parameters, and clipping by the global norm.
//!
//! ```text
//! m ← β₁ m + (1 - β₁) g          v ← β₂ v + (1 - β₂) g²
//! p ← p - η λ p - η (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε)
//! ```
//!
//! Source: Loshchilov and Hutter 2019, arXiv:1711.05101, Algorithm 2; the same arithmetic as
//! `torch.optim.AdamW`. State is kept by parameter name, so that a checkpoint holds it readably
//! and a resumed run continues with the same bits.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use rlaif_model::{Gradients, Parameters};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// Knobs of the optimizer but its learning rate, whose default is each method's own. Names and
/// defaults follow `transformers.TrainingArguments`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimConfig {
    /// λ, applied to matrices only. Default 0.
    pub weight_decay: f64,
    /// β₁. Default 0.9.
    pub adam_beta1: f64,
    /// β₂. Default 0.999.
    pub adam_beta2: f64,
    /// ε. Default 1e-8.
    pub adam_epsilon: f64,
    /// Gradients are scaled down to this global norm; 0 leaves them. Default 1.
    pub max_grad_norm: f64,
    /// Shape of the learning rate over the run. Default `linear`.
    pub lr_scheduler_type: crate::schedule::Schedule,
    /// Part of the run over which the learning rate rises from zero, in [0, 1). Default 0.
    pub warmup_ratio: f64,
}

impl Default for OptimConfig {
    fn default() -> Self {
        OptimConfig {
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            max_grad_norm: 1.0,
            lr_scheduler_type: crate::schedule::Schedule::Linear,
            warmup_ratio: 0.0,
        }
    }
}

/// Running moments of one parameter, flat.
#[derive(Clone, Debug)]
pub struct Moments {
    /// First moment.
    pub m: Tensor<1>,
    /// Second moment.
    pub v: Tensor<1>,
}

/// The optimizer's state.
#[derive(Clone, Debug, Default)]
pub struct AdamW {
    /// Updates made so far.
    pub updates: u64,
    /// Moments by parameter name.
    pub moments: BTreeMap<String, Moments>,
}

/// Where the learning rate stands.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Its peak.
    pub peak: f64,
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub total: u64,
}

/// What an update was made with.
#[derive(Clone, Copy, Debug)]
pub struct Applied {
    /// Global norm of the gradient before it was clipped.
    pub grad_norm: f64,
    /// Learning rate.
    pub learning_rate: f64,
}

impl AdamW {
    /// Clips the gradients by their global norm and updates the parameters at the schedule's
    /// learning rate.
    ///
    /// # Errors
    ///
    /// Fails where the norm is not finite; nothing is changed then.
    pub fn update(
        &mut self,
        model: &mut impl Parameters,
        gradients: &mut Gradients,
        config: &OptimConfig,
        rate: &Rate,
    ) -> Result<Applied, TrainError> {
        let grad_norm = clip_global_norm(gradients, config.max_grad_norm);
        if !grad_norm.is_finite() {
            return Err(TrainError::NotFinite { step: rate.step + 1, what: "gradient norm" });
        }
        let factor = config.lr_scheduler_type.factor(rate.step, rate.total, config.warmup_ratio);
        let learning_rate = rate.peak * factor;
        self.step(model, gradients, config, learning_rate);
        Ok(Applied { grad_norm, learning_rate })
    }

    /// Updates the parameters that have a gradient.
    pub fn step(
        &mut self,
        model: &mut impl Parameters,
        gradients: &Gradients,
        config: &OptimConfig,
        learning_rate: f64,
    ) {
        self.updates += 1;
        let (beta1, beta2) = (config.adam_beta1, config.adam_beta2);
        let t = self.updates as f64;
        let correction1 = 1.0 - beta1.powf(t);
        let correction2 = (1.0 - beta2.powf(t)).sqrt();
        model.walk("", &mut |name, mut slot| {
            let Some(g) = gradients.get(name) else { return };
            let previous = self
                .moments
                .remove(name)
                .unwrap_or_else(|| Moments { m: g.zeros_like(), v: g.zeros_like() });
            let m = previous.m * beta1 + g.clone() * (1.0 - beta1);
            let v = previous.v * beta2 + g.clone() * g.clone() * (1.0 - beta2);
            let denominator = v.clone().sqrt() / correction2 + config.adam_epsilon;
            let mut p = slot.flat();
            if config.weight_decay != 0.0 && slot.shape().len() > 1 {
                p = p * (1.0 - learning_rate * config.weight_decay);
            }
            slot.set_flat(p - m.clone() / denominator * (learning_rate / correction1));
            self.moments.insert(name.to_owned(), Moments { m, v });
        });
    }
}

/// Adds `more` into `sum`.
pub fn accumulate(sum: &mut Gradients, more: Gradients) {
    for (name, gradient) in more {
        let total = match sum.remove(&name) {
            Some(before) => before + gradient,
            None => gradient,
        };
        sum.insert(name, total);
    }
}

/// Euclidean norm over all gradients. Summed on the host in a fixed order: the same bits on every
/// run.
#[must_use]
pub fn global_norm(gradients: &Gradients) -> f64 {
    let mut total = 0.0;
    for gradient in gradients.values() {
        let squares: f64 =
            gradient.to_data().iter::<f32>().map(|g| f64::from(g) * f64::from(g)).sum();
        total += squares;
    }
    total.sqrt()
}

/// Scales gradients down to `max_norm` where their global norm is above it (`max_norm` 0: never),
/// and returns the norm before.
pub fn clip_global_norm(gradients: &mut Gradients, max_norm: f64) -> f64 {
    let norm = global_norm(gradients);
    if max_norm > 0.0 && norm > max_norm {
        let factor = max_norm / (norm + 1e-6);
        for gradient in gradients.values_mut() {
            *gradient = gradient.clone() * factor;
        }
    }
    norm
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use rlaif_model::layers::RmsNorm;

    use super::*;

    fn host(tensor: &Tensor<1>) -> Vec<f32> {
        tensor.to_data().iter::<f32>().collect()
    }

    /// Two steps of `torch.optim.AdamW(lr=0.1, weight_decay=0)` from p = (1, -2) with gradients
    /// (0.5, -1) and (0.25, 1). First step: every coordinate moves by lr * sign(g) up to ε.
    /// Second step, first coordinate: m = 0.9 * 0.05 + 0.1 * 0.25 = 0.07, m̂ = 0.07 / 0.19;
    /// v = 0.999 * 0.00025 + 0.001 * 0.0625 = 0.00031225, v̂ = v / 0.001999;
    /// step 0.1 * 0.368421 / 0.395222 = 0.0932188.
    #[test]
    fn two_steps_match_a_hand_calculation() {
        let device = Device::flex();
        let mut model = RmsNorm { weight: Tensor::from_data([1.0_f32, -2.0], &device), eps: 1e-5 };
        let mut optimizer = AdamW::default();
        let config = OptimConfig::default();
        let step = |optimizer: &mut AdamW, model: &mut RmsNorm, g: [f32; 2]| {
            let gradients = Gradients::from([("weight".to_owned(), Tensor::from_data(g, &device))]);
            optimizer.step(model, &gradients, &config, 0.1);
        };
        step(&mut optimizer, &mut model, [0.5, -1.0]);
        let first = host(&model.weight);
        assert!((first[0] - 0.9).abs() < 1e-5 && (first[1] + 1.9).abs() < 1e-5, "{first:?}");
        step(&mut optimizer, &mut model, [0.25, 1.0]);
        let second = host(&model.weight);
        assert!((second[0] - (0.9 - 0.093_218_8)).abs() < 1e-4, "{second:?}");
        // m = 0.9 * -0.1 + 0.1 = 0.01, m̂ = 0.0526316; v̂ = 1: the step is -0.00526316.
        assert!((second[1] - (-1.9 - 0.005_263_16)).abs() < 1e-4, "{second:?}");
    }

    #[test]
    fn clipping_keeps_the_direction_and_reports_the_norm_before() {
        let device = Device::flex();
        let mut gradients = Gradients::from([
            ("a".to_owned(), Tensor::from_data([3.0_f32], &device)),
            ("b".to_owned(), Tensor::from_data([4.0_f32], &device)),
        ]);
        assert!((clip_global_norm(&mut gradients, 1.0) - 5.0).abs() < 1e-9);
        assert!((host(&gradients["a"])[0] - 0.6).abs() < 1e-5);
        assert!((global_norm(&gradients) - 1.0).abs() < 1e-5);
        assert!((clip_global_norm(&mut gradients, 0.0) - 1.0).abs() < 1e-5);
    }
}
