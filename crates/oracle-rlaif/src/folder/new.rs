//! Checkpoints from nothing: small models that know ClipWorld's words.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use burn::tensor::Device;
use rlaif_model::hf::{
    ChatTokenizer, GenerationConfig, ModelConfig, TextConfig, VideoPooling, VisionConfig,
};
use rlaif_video::{FrameProcessor, Preprocessor};

use super::Folder;
use crate::recipe::ClipWorldModel;

/// Middle of the background's brightness in ClipWorld, 0 to 1.
const WORLD_BACKGROUND: f64 = 0.09;
/// Brightness that counts as one.
const WORLD_SPREAD: f64 = 0.3;
/// Clips over which a new model's visual tokens are standardised.
const STANDARDISING_CLIPS: usize = 32;
/// Pixels of a patch's side.
const PATCH: usize = 8;
/// Most frames of a clip: with as many tokens each, a prompt keeps room for words.
const MOST_FRAMES: usize = 16;

impl Folder {
    /// A small model with random weights and ClipWorld's vocabulary.
    ///
    /// # Errors
    ///
    /// Fails where the sizes fit no model.
    pub fn clip_world(size: &ClipWorldModel, seed: u64, device: &Device) -> Result<Self> {
        if !(1..=MOST_FRAMES).contains(&size.frames) {
            bail!("`model.clip_world.frames` must be in [1, {MOST_FRAMES}], got {}", size.frames);
        }
        let world = rlaif_world::WorldConfig::default();
        let tokenizer = ChatTokenizer::word_level(rlaif_world::vocabulary())?;
        let head = 32;
        let vision = VisionConfig {
            hidden_size: size.vision_hidden_size,
            intermediate_size: size.vision_hidden_size * 3,
            num_hidden_layers: size.vision_layers,
            num_attention_heads: (size.vision_hidden_size / head).max(1),
            image_size: world.size as usize,
            patch_size: PATCH,
            ..VisionConfig::default()
        };
        let text = TextConfig {
            vocab_size: tokenizer.vocab_size().next_multiple_of(8),
            hidden_size: size.hidden_size,
            intermediate_size: size.hidden_size * 3,
            num_hidden_layers: size.num_hidden_layers,
            num_attention_heads: (size.hidden_size / head).max(1),
            num_key_value_heads: (size.hidden_size / head / 2).max(1),
            head_dim: head,
            max_position_embeddings: 512,
            tie_word_embeddings: true,
            bos_token_id: Some(1),
            eos_token_ids: tokenizer.eos_ids().to_vec(),
            pad_token_id: tokenizer.pad_id(),
            ..TextConfig::default()
        };
        let mut config = ModelConfig::new(vision, text, tokenizer.image_token_id());
        config.set_video_pooling(if size.pooling {
            VideoPooling::SpatialTemporal
        } else {
            VideoPooling::None
        });
        config.num_frames = Some(size.frames);
        config.validate().context("`model.clip_world`")?;
        let generation = GenerationConfig {
            eos_token_ids: tokenizer.eos_ids().to_vec(),
            pad_token_id: tokenizer.pad_id(),
            bos_token_id: Some(1),
            ..GenerationConfig::default()
        };
        // The world's background is dark and plain: at zero, so that what is not background counts.
        let processor = FrameProcessor::from(Preprocessor {
            image_mean: [WORLD_BACKGROUND; 3],
            image_std: [WORLD_SPREAD; 3],
            processor: (!size.pooling).then(llava_processor),
            ..Preprocessor::clip(world.size)
        });
        let mut model = rlaif_model::init(&config, seed, device);
        let clips = (0..STANDARDISING_CLIPS)
            .map(|clip| {
                let clip = rlaif_world::clip_at(&format!("train/{clip}"))?;
                Ok(processor.apply(&clip)?)
            })
            .collect::<Result<Vec<_>>>()?;
        rlaif_model::standardise_visual_tokens(&mut model, &clips)?;
        let tokenizer = Arc::new(tokenizer);
        Ok(Folder { model, tokenizer, processor, generation, path: None, opened: None })
    }
}

/// `processor_config.json`, by which `transformers`' `LlavaProcessor` knows how many tokens a picture is.
fn llava_processor() -> serde_json::Map<String, serde_json::Value> {
    let serde_json::Value::Object(processor) = serde_json::json!({
        "processor_class": "LlavaProcessor",
        "image_token": "<image>",
        // CLIP's class token, which the strategy `default` takes off again.
        "num_additional_image_tokens": 1,
        "patch_size": PATCH,
        "vision_feature_select_strategy": "default",
    }) else {
        unreachable!("it is an object")
    };
    processor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_pooling_a_folder_says_what_other_programs_need_to_know() {
        let size = ClipWorldModel {
            hidden_size: 32,
            num_hidden_layers: 1,
            vision_hidden_size: 32,
            vision_layers: 2,
            pooling: false,
            frames: 4,
        };
        let saved = tempfile::tempdir().unwrap();
        let folder = Folder::clip_world(&size, 1, &Device::flex()).unwrap();
        folder.save(&folder.model, saved.path()).unwrap();
        let read = |name: &str| -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(saved.path().join(name)).unwrap()).unwrap()
        };
        assert_eq!(read("processor_config.json")["patch_size"], 8);
        let config = read("config.json");
        assert_eq!(config["num_frames"], 4);
        assert!(config.get("video_pooling").is_none_or(|pooling| pooling == "none"), "{config}");
        let none = ClipWorldModel { frames: 0, ..size };
        assert!(Folder::clip_world(&none, 1, &Device::flex()).is_err());
    }
}
