//! The whole model: tower, projector, pooling, decoder.

use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rlaif_data::Pixels;

use crate::LoraConfig;
use crate::decoder::Decoder;
use crate::hf::{ModelConfig, VideoPooling};
use crate::parameters::{Parameters, Slot, join};
use crate::tower::{Projector, Tower};

/// A LLaVA model for videos.
#[derive(Clone, Debug)]
pub struct Vlm {
    /// Architecture, as its `config.json` says it.
    pub config: ModelConfig,
    /// Vision tower.
    pub tower: Tower,
    /// Projector into the decoder's embedding space.
    pub projector: Projector,
    /// Language model.
    pub decoder: Decoder,
}

impl Vlm {
    /// A model whose tensors are all zero (norm gains one), to be filled.
    #[must_use]
    pub fn zeros(config: &ModelConfig, device: &Device) -> Self {
        Vlm {
            config: config.clone(),
            tower: Tower::zeros(&config.vision, device),
            projector: Projector::zeros(
                config.vision.hidden_size,
                config.text.hidden_size,
                config.multimodal_projector_bias,
                device,
            ),
            decoder: Decoder::zeros(&config.text, device),
        }
    }

    /// Device of the weights.
    #[must_use]
    pub fn device(&self) -> Device {
        self.decoder.embed.device()
    }

    /// Runs the tower over a clip, `[F * P, vision hidden]`, on the weights' device.
    #[must_use]
    pub fn tower_features(&self, pixels: &Pixels) -> Tensor<2> {
        self.tower.forward(pixels, self.config.tower_layers())
    }

    /// The same brought to the host, `[F * P, vision hidden]` row-major, for the feature cache.
    #[must_use]
    pub fn visual_features(&self, pixels: &Pixels) -> Vec<f32> {
        self.tower_features(pixels).into_data().iter::<f32>().collect()
    }

    /// Visual tokens of several clips, packed in order, `[Σ n, hidden]`: the projector on every
    /// patch, then pooling. `features` holds the clips' `[F * P, vision hidden]` one after the
    /// other, `frames` each clip's `F`.
    ///
    /// Spatial-temporal pooling (VLM-RLAIF): the mean over the patches of each frame, `F` rows,
    /// then the mean over frames of each patch, `P` rows. The projector's GELU makes the order
    /// matter.
    #[must_use]
    pub fn visual_tokens(&self, features: Tensor<2>, frames: &[usize]) -> Tensor<2> {
        let projected = self.projector.forward(features); // [Σ F * P, hidden]
        if self.config.video_pooling == VideoPooling::None {
            return projected;
        }
        let patches = self.tower.patches();
        let mut parts = Vec::new();
        let mut start = 0;
        // Clips of the same length are pooled together.
        for run in frames.chunk_by(|a, b| a == b) {
            let rows = run.len() * run[0] * patches;
            parts.push(pool(projected.clone().narrow(0, start, rows), run.len(), run[0]));
            start += rows;
        }
        Tensor::cat(parts, 0)
    }

    /// Number of visual tokens that a clip of `frames` frames becomes.
    #[must_use]
    pub fn n_visual_tokens(&self, frames: usize) -> usize {
        let patches = self.tower.patches();
        match self.config.video_pooling {
            VideoPooling::None => frames * patches,
            VideoPooling::SpatialTemporal => frames + patches,
        }
    }

    /// The same model without adapters: the reference of a LoRA run.
    #[must_use]
    pub fn without_lora(&self) -> Vlm {
        let mut base = self.clone();
        base.decoder.linears(|_, linear| linear.lora = None);
        base
    }

    /// Puts fresh adapters on the decoder's layers that `config` names; `seed` fixes their start.
    pub fn attach_lora(&mut self, config: &LoraConfig, seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        self.decoder.linears(|name, linear| {
            if config.target_modules.iter().any(|target| target == name) {
                config.attach(linear, &mut rng);
            }
        });
    }

    /// Adds the adapters into the weights and drops them.
    #[must_use]
    pub fn merged(&self) -> Vlm {
        let mut merged = self.clone();
        merged.decoder.linears(|_, linear| {
            if let Some(lora) = linear.lora.take() {
                let delta = lora.b.matmul(lora.a) * lora.scale;
                linear.weight = linear.weight.clone() + delta;
            }
        });
        merged
    }
}

/// `[clips * F * P, hidden]` to `[clips * (F + P), hidden]`.
fn pool(projected: Tensor<2>, clips: usize, frames: usize) -> Tensor<2> {
    let [rows, hidden] = projected.dims();
    let patches = rows / (clips * frames);
    let grid = projected.reshape([clips, frames, patches, hidden]);
    let temporal = grid.clone().mean_dim(2).reshape([clips, frames, hidden]);
    let spatial = grid.mean_dim(1).reshape([clips, patches, hidden]);
    Tensor::cat(vec![temporal, spatial], 1).reshape([clips * (frames + patches), hidden])
}

impl Parameters for Vlm {
    fn walk(&mut self, prefix: &str, visit: &mut dyn FnMut(&str, Slot<'_>)) {
        self.tower.walk(&join(prefix, "vision_tower"), visit);
        self.projector.walk(&join(prefix, "multi_modal_projector"), visit);
        self.decoder.walk(&join(prefix, "language_model"), visit);
    }
}
