//! Adapters: which linear layers carry one, and how it starts.

use burn::tensor::{Tensor, TensorData};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::layers::{Linear, LoraPair};

/// Rank, strength and places of the adapters. Names follow PEFT's `LoraConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// Rank. Default 16.
    pub r: usize,
    /// The adapter's output is scaled by `lora_alpha / r`. Default 16 (VLM-RLAIF).
    pub lora_alpha: f64,
    /// Last part of the names of the decoder's layers that carry an adapter. Default: all seven
    /// projections of a block.
    pub target_modules: Vec<String>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        let all = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
        LoraConfig { r: 16, lora_alpha: 16.0, target_modules: all.map(str::to_owned).to_vec() }
    }
}

impl LoraConfig {
    /// Factor of the adapter's output.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.lora_alpha / self.r as f64
    }

    /// Puts a fresh adapter on `linear`: `A` uniform in ±1/√in (Kaiming with a = √5, PEFT's
    /// start), `B` zero, so that the layer computes what it did before.
    pub fn attach(&self, linear: &mut Linear, rng: &mut impl Rng) {
        let [outputs, inputs] = linear.shape();
        let device = linear.weight.device();
        let bound = 1.0 / (inputs as f32).sqrt();
        let a: Vec<f32> = (0..self.r * inputs).map(|_| rng.random_range(-bound..bound)).collect();
        linear.lora = Some(LoraPair {
            a: Tensor::from_data(TensorData::new(a, [self.r, inputs]), &device),
            b: Tensor::zeros([outputs, self.r], &device),
            scale: self.scale(),
        });
    }
}
