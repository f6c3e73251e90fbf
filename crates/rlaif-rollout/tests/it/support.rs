//! A small model, prompts for it, and comparisons.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rlaif_model::hf::{AttentionBias, ModelConfig, TextConfig, VideoPooling, VisionConfig};
use rlaif_model::{Parameters, Vlm};
use rlaif_rollout::{PromptInput, SampleRequest, Sampled, Visual, Vocabulary};
use rlaif_video::Features;

/// Two orders of adding the same few dozen `f32` products, through three blocks: some 1e-6. A
/// wrong position, mask or row is some 1e-1.
pub(crate) const F32_SUMS: f32 = 1e-4;

pub(crate) const IMAGE: u32 = 3;
pub(crate) const EOS: u32 = 2;
pub(crate) const PATCHES: usize = 4;
const WIDTH: usize = 24;
const VISION: usize = 8;

pub(crate) fn vocabulary() -> Vocabulary {
    Vocabulary { eos: vec![EOS], forbidden: vec![0, 1, IMAGE] }
}

/// Random weights whose next-token distributions are far from even: three blocks, two query heads
/// to a key head, a head of its own.
pub(crate) fn model(seed: u64) -> Vlm {
    let vision = VisionConfig {
        hidden_size: VISION,
        intermediate_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        image_size: 8,
        patch_size: 4,
        ..VisionConfig::default()
    };
    let text = TextConfig {
        vocab_size: 29,
        hidden_size: WIDTH,
        intermediate_size: 40,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 6,
        tie_word_embeddings: false,
        attention_bias: AttentionBias::All,
        ..TextConfig::default()
    };
    let mut config = ModelConfig::new(vision, text, IMAGE);
    config.set_video_pooling(VideoPooling::SpatialTemporal);
    config.validate().expect("a model that can be");
    let mut model = rlaif_model::init(&config, seed, &Device::flex());
    model.walk("", &mut |name, mut slot| {
        let factor = match name {
            n if n.ends_with("lm_head.weight") => 2.0,
            n if n.contains(".self_attn.") && n.ends_with("weight") => 2.0,
            _ => return,
        };
        slot.set_flat(slot.flat() * factor);
    });
    model
}

/// A prompt of `text` words, with a clip of `frames` frames after its first word where there are
/// any.
pub(crate) fn prompt(seed: u64, text: usize, frames: usize) -> PromptInput {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut ids: Vec<u32> = (0..text).map(|_| rng.random_range(4..29)).collect();
    let visual = (frames > 0).then(|| {
        let n = frames + PATCHES;
        ids.splice(1..1, std::iter::repeat_n(IMAGE, n));
        let values = (0..frames * PATCHES * VISION).map(|_| rng.random_range(-2.0..2.0)).collect();
        let features = Features {
            shape: vec![frames, 1, PATCHES, VISION],
            values,
            video: rlaif_data::VideoMetadata::default(),
        };
        (std::iter::once(1..1 + n).collect(), Visual::Features(Arc::new(features)))
    });
    PromptInput { ids, visual, positions: None }
}

/// Prompts of four lengths, one of them without a video.
pub(crate) fn prompts() -> Vec<PromptInput> {
    vec![prompt(1, 3, 2), prompt(2, 9, 5), prompt(3, 4, 0), prompt(4, 6, 2)]
}

/// `per_prompt` requests for each of `prompts` prompts, each with a seed of its own.
pub(crate) fn requests(prompts: usize, per_prompt: u64) -> Vec<SampleRequest> {
    let of = |prompt: usize| {
        (0..per_prompt).map(move |g| SampleRequest { prompt, seed: 100 * prompt as u64 + g })
    };
    (0..prompts).flat_map(of).collect()
}

/// Responses as the scorer takes them.
pub(crate) fn responses<'a>(
    requests: &[SampleRequest],
    sampled: &'a [Sampled],
) -> Vec<(usize, &'a [u32])> {
    let tokens = sampled.iter().map(|one| one.token_ids.as_slice());
    requests.iter().map(|request| request.prompt).zip(tokens).collect()
}

pub(crate) fn host<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}

/// Two lists of finite numbers, no pair further apart than `tolerance`.
pub(crate) fn assert_close(got: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}: length");
    for (index, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((g - e).abs() <= tolerance, "{what}: {g} is not {e} at {index}");
    }
}
