//! The whole model: what sees, and the decoder.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rlaif_data::{Pixels, VideoMetadata};

use crate::LoraConfig;
use crate::decoder::Decoder;
use crate::hf::smolvlm_text;
use crate::hf::{Architecture, ModelConfig, PromptTokens, VideoPooling, VideoText};
use crate::kv::Positions;
use crate::layers::Weight;
use crate::parameters::{Parameters, Slot, join};
use crate::vision::qwen::mrope_positions;
use crate::vision::{Grid, Vision};

/// A video-language model.
#[derive(Clone, Debug)]
pub struct Vlm {
    /// Architecture, as its `config.json` says it.
    pub config: ModelConfig,
    /// Vision tower and projector.
    pub vision: Vision,
    /// Language model.
    pub decoder: Decoder,
    /// What the files call the tensors, by the names used here: kept for saving. Empty for a model
    /// made in memory.
    pub stored_names: Arc<BTreeMap<String, String>>,
}

impl Vlm {
    /// A model whose tensors are all zero (norm gains one), to be filled.
    #[must_use]
    pub fn zeros(config: &ModelConfig, device: &Device) -> Self {
        Vlm {
            config: config.clone(),
            vision: Vision::zeros(config, device),
            decoder: Decoder::zeros(&config.text, device),
            stored_names: Arc::default(),
        }
    }

    /// Device of the weights.
    #[must_use]
    pub fn device(&self) -> Device {
        self.decoder.embed.device()
    }

    /// Runs the tower over a clip, `[t * h * w, tower hidden]`, on the weights' device.
    #[must_use]
    pub fn tower_features(&self, pixels: &Pixels) -> Tensor<2> {
        self.vision.features(pixels)
    }

    /// The same brought to the host, row-major, for the feature cache.
    #[must_use]
    pub fn visual_features(&self, pixels: &Pixels) -> Vec<f32> {
        self.tower_features(pixels).into_data().iter::<f32>().collect()
    }

    /// [`Vision::tokens`].
    #[must_use]
    pub fn visual_tokens(&self, features: Tensor<2>, grids: &[Grid]) -> Tensor<2> {
        self.vision.tokens(features, grids)
    }

    /// [`n_visual_tokens`](crate::vision::n_visual_tokens).
    #[must_use]
    pub fn n_visual_tokens(&self, grid: Grid) -> usize {
        crate::vision::n_visual_tokens(&self.config.arch, grid)
    }

    /// What a clip becomes in the text of a prompt.
    #[must_use]
    pub fn video_text(&self, grid: Grid, video: &VideoMetadata) -> VideoText {
        match &self.config.arch {
            Architecture::Llava(_) | Architecture::Qwen2_5Vl(_) => {
                VideoText::Repeated(self.n_visual_tokens(grid))
            }
            Architecture::SmolVlm(_) => {
                let each = self.n_visual_tokens(Grid { t: 1, ..grid });
                VideoText::Text(smolvlm_text(video, each))
            }
        }
    }

    /// Rotary positions of a prompt's tokens; `None` where they are the tokens' places.
    #[must_use]
    pub fn positions(
        &self,
        prompt: &PromptTokens,
        grid: Grid,
        video: &VideoMetadata,
    ) -> Option<Positions> {
        match &self.config.arch {
            Architecture::Llava(_) | Architecture::SmolVlm(_) => None,
            Architecture::Qwen2_5Vl(arch) => Some(mrope_positions(prompt, grid, video, arch)),
        }
    }

    /// Sets how a LLaVA's frames become visual tokens; other models keep their own way.
    pub fn set_video_pooling(&mut self, pooling: VideoPooling) {
        self.config.set_video_pooling(pooling);
        if let Vision::Llava(vision) = &mut self.vision {
            vision.config.video_pooling = pooling;
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

    /// Adds the adapters into the weights and drops them; beside packed weights they stay, and
    /// compute the same.
    #[must_use]
    pub fn merged(&self) -> Vlm {
        let mut merged = self.clone();
        merged.decoder.linears(|_, linear| {
            if let Weight::Full(weight) = &mut linear.weight
                && let Some(lora) = linear.lora.take()
            {
                let delta = lora.b.matmul(lora.a) * lora.scale;
                *weight = weight.clone() + delta;
            }
        });
        merged
    }
}

impl Parameters for Vlm {
    fn walk(&mut self, prefix: &str, visit: &mut dyn FnMut(&str, Slot<'_>)) {
        self.vision.walk(prefix, visit);
        self.decoder.walk(&join(prefix, "language_model"), visit);
    }
}
