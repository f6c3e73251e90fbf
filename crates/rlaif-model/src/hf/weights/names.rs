//! Names of a model's tensors.
//!
//! The canonical layout is the one that every release of `transformers` opens:
//!
//! ```text
//! vision_tower.vision_model.{embeddings.*, pre_layrnorm.*, encoder.layers.N.*, post_layernorm.*}
//! multi_modal_projector.linear_{1,2}.*
//! language_model.model.{embed_tokens, layers.N.*, norm}.*
//! language_model.lm_head.weight
//! ```
//!
//! Release 5 writes it without `vision_model.`, its modules are called `model.language_model.*`,
//! `model.vision_tower.*`, `lm_head.*`; the original LLaVA code writes `model.layers.*`,
//! `model.mm_projector.{0,2}`, `model.vision_tower.vision_tower.*`. All of these are read.

use crate::hf::config::{
    Architecture, AttentionBias, LlavaConfig, LlavaLayout, ModelConfig, QwenVlConfig,
    SmolVlmConfig, TextConfig, VisionConfig,
};

/// The canonical name of a tensor in any of the known layouts; an unknown name stays as it is.
#[must_use]
pub fn canonical_name(name: &str) -> String {
    if let Some(rest) = name.strip_prefix("model.connector.modality_projection.") {
        return format!("multi_modal_projector.{rest}");
    }
    if let Some(rest) = name.strip_prefix("model.visual.").or_else(|| name.strip_prefix("visual."))
    {
        return match rest.strip_prefix("merger.") {
            Some(rest) => format!("multi_modal_projector.{rest}"),
            None => format!("vision_tower.{rest}"),
        };
    }
    let tower = [
        "model.vision_model.",
        "model.vision_tower.vision_tower.",
        "model.vision_tower.",
        "vision_tower.vision_tower.",
        "vision_tower.",
    ];
    if let Some(rest) = tower.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        let rest = rest.strip_prefix("vision_model.").unwrap_or(rest);
        return format!("vision_tower.vision_model.{rest}");
    }
    if let Some(rest) = name.strip_prefix("model.multi_modal_projector.") {
        return format!("multi_modal_projector.{rest}");
    }
    if let Some(rest) = name.strip_prefix("model.mm_projector.0.") {
        return format!("multi_modal_projector.linear_1.{rest}");
    }
    if let Some(rest) = name.strip_prefix("model.mm_projector.2.") {
        return format!("multi_modal_projector.linear_2.{rest}");
    }
    if name.starts_with("lm_head.") {
        return format!("language_model.{name}");
    }
    let decoder = [
        "model.text_model.",
        "model.language_model.",
        "language_model.model.",
        "language_model.",
        "model.",
    ];
    if let Some(rest) = decoder.iter().find_map(|prefix| name.strip_prefix(prefix))
        && ["embed_tokens.", "layers.", "norm."].iter().any(|part| rest.starts_with(part))
    {
        return format!("language_model.model.{rest}");
    }
    name.to_owned()
}

/// What the hub's checkpoints of an architecture call a tensor; for LLaVA the name itself.
#[must_use]
pub fn stored_name(arch: &Architecture, canonical: &str) -> String {
    match arch {
        Architecture::Llava(_) => canonical.to_owned(),
        Architecture::SmolVlm(_) => renamed(
            canonical,
            [
                ("vision_tower.vision_model.", "model.vision_model."),
                ("multi_modal_projector.", "model.connector.modality_projection."),
                ("language_model.model.", "model.text_model."),
                ("language_model.lm_head.", "lm_head."),
            ],
        ),
        Architecture::Qwen2_5Vl(_) => renamed(
            canonical,
            [
                ("vision_tower.", "visual."),
                ("multi_modal_projector.", "visual.merger."),
                ("language_model.model.", "model."),
                ("language_model.lm_head.", "lm_head."),
            ],
        ),
    }
}

/// The name with its beginning replaced, by the first pair that fits.
fn renamed(name: &str, pairs: [(&str, &str); 4]) -> String {
    let new = pairs
        .iter()
        .find_map(|(ours, theirs)| name.strip_prefix(ours).map(|rest| format!("{theirs}{rest}")));
    new.unwrap_or_else(|| name.to_owned())
}

/// What `transformers`, or the original LLaVA code, calls the module that holds the decoder's
/// layers: the beginning of the names
/// of an adapter's tensors.
#[must_use]
pub fn decoder_module(arch: &Architecture) -> &'static str {
    match arch {
        Architecture::Llava(arch) if arch.layout != LlavaLayout::Transformers => "model",
        Architecture::Llava(_) | Architecture::Qwen2_5Vl(_) => "model.language_model",
        Architecture::SmolVlm(_) => "model.text_model",
    }
}

/// True for buffers that old releases stored and that are computed, not learnt.
#[must_use]
pub(super) fn is_buffer(canonical: &str) -> bool {
    canonical.ends_with(".rotary_emb.inv_freq") || canonical.ends_with(".embeddings.position_ids")
}

/// Canonical name and shape of every tensor of a checkpoint, in the order they are written.
///
/// Shapes are those on disk: linear weights `[outputs, inputs]`, the patch embedding
/// `[hidden, 3, patch, patch]`. A tied head has no tensor of its own.
#[must_use]
pub fn expected_tensors(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let mut tensors = Tensors(Vec::new());
    match &config.arch {
        Architecture::Llava(arch) => llava(arch, config.text.hidden_size, &mut tensors),
        Architecture::SmolVlm(arch) => smolvlm(arch, config.text.hidden_size, &mut tensors),
        Architecture::Qwen2_5Vl(arch) => qwen(arch, config.text.hidden_size, &mut tensors),
    }
    decoder(&config.text, &mut tensors);
    tensors.0
}

/// CLIP's tower and the projector into a decoder of `width`.
fn llava(config: &LlavaConfig, width: usize, tensors: &mut Tensors) {
    let vision = &config.vision;
    let prefix = "vision_tower.vision_model";
    let hidden = vision.hidden_size;
    let embeddings = format!("{prefix}.embeddings");
    tensors.add(format!("{embeddings}.class_embedding"), &[hidden]);
    let patch = vision.patch_size;
    tensors.add(format!("{embeddings}.patch_embedding.weight"), &[hidden, 3, patch, patch]);
    tensors.add(format!("{embeddings}.position_embedding.weight"), &[vision.patches() + 1, hidden]);
    tensors.norm(&format!("{prefix}.pre_layrnorm"), hidden);
    encoder(vision, tensors);

    let bias = config.multimodal_projector_bias;
    tensors.linear("multi_modal_projector.linear_1", width, hidden, bias);
    tensors.linear("multi_modal_projector.linear_2", width, width, bias);
}

/// SigLIP's tower and the projection after the pixel shuffle.
fn smolvlm(config: &SmolVlmConfig, width: usize, tensors: &mut Tensors) {
    let vision = &config.vision;
    let (hidden, patch) = (vision.hidden_size, vision.patch_size);
    let embeddings = "vision_tower.vision_model.embeddings";
    tensors.add(format!("{embeddings}.patch_embedding.weight"), &[hidden, 3, patch, patch]);
    tensors.add(format!("{embeddings}.patch_embedding.bias"), &[hidden]);
    tensors.add(format!("{embeddings}.position_embedding.weight"), &[vision.patches(), hidden]);
    encoder(vision, tensors);
    let square = config.scale_factor * config.scale_factor;
    tensors.linear("multi_modal_projector.proj", width, hidden * square, false);
}

/// Qwen2.5-VL's tower and merger.
fn qwen(config: &QwenVlConfig, width: usize, tensors: &mut Tensors) {
    let (hidden, patch) = (config.hidden_size, config.patch_size);
    let shape = [hidden, 3, config.temporal_patch_size, patch, patch];
    tensors.add("vision_tower.patch_embed.proj.weight".to_owned(), &shape);
    for block in 0..config.depth {
        let prefix = format!("vision_tower.blocks.{block}");
        tensors.add(format!("{prefix}.norm1.weight"), &[hidden]);
        tensors.add(format!("{prefix}.norm2.weight"), &[hidden]);
        tensors.linear(&format!("{prefix}.attn.qkv"), 3 * hidden, hidden, true);
        tensors.linear(&format!("{prefix}.attn.proj"), hidden, hidden, true);
        tensors.linear(&format!("{prefix}.mlp.gate_proj"), config.intermediate_size, hidden, true);
        tensors.linear(&format!("{prefix}.mlp.up_proj"), config.intermediate_size, hidden, true);
        tensors.linear(&format!("{prefix}.mlp.down_proj"), hidden, config.intermediate_size, true);
    }
    let merged = hidden * config.spatial_merge_size.pow(2);
    tensors.add("multi_modal_projector.ln_q.weight".to_owned(), &[hidden]);
    tensors.linear("multi_modal_projector.mlp.0", merged, merged, true);
    tensors.linear("multi_modal_projector.mlp.2", width, merged, true);
}

/// The tower's blocks and the norm after them.
fn encoder(vision: &VisionConfig, tensors: &mut Tensors) {
    let prefix = "vision_tower.vision_model";
    let hidden = vision.hidden_size;
    for layer in 0..vision.num_hidden_layers {
        let prefix = format!("{prefix}.encoder.layers.{layer}");
        tensors.norm(&format!("{prefix}.layer_norm1"), hidden);
        tensors.norm(&format!("{prefix}.layer_norm2"), hidden);
        for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            tensors.linear(&format!("{prefix}.self_attn.{name}"), hidden, hidden, true);
        }
        tensors.linear(&format!("{prefix}.mlp.fc1"), vision.intermediate_size, hidden, true);
        tensors.linear(&format!("{prefix}.mlp.fc2"), hidden, vision.intermediate_size, true);
    }
    tensors.norm(&format!("{prefix}.post_layernorm"), hidden);
}

/// The language model.
fn decoder(text: &TextConfig, tensors: &mut Tensors) {
    let width = text.hidden_size;
    let prefix = "language_model.model";
    tensors.add(format!("{prefix}.embed_tokens.weight"), &[text.vocab_size, width]);
    let (query, kv) =
        (text.num_attention_heads * text.head_dim, text.num_key_value_heads * text.head_dim);
    for layer in 0..text.num_hidden_layers {
        let prefix = format!("{prefix}.layers.{layer}");
        let qkv_bias = text.attention_bias != AttentionBias::None;
        for (name, outputs, inputs, bias) in [
            ("q_proj", query, width, qkv_bias),
            ("k_proj", kv, width, qkv_bias),
            ("v_proj", kv, width, qkv_bias),
            ("o_proj", width, query, text.attention_bias == AttentionBias::All),
        ] {
            tensors.linear(&format!("{prefix}.self_attn.{name}"), outputs, inputs, bias);
        }
        for (name, outputs, inputs) in [
            ("gate_proj", text.intermediate_size, width),
            ("up_proj", text.intermediate_size, width),
            ("down_proj", width, text.intermediate_size),
        ] {
            tensors.linear(&format!("{prefix}.mlp.{name}"), outputs, inputs, text.mlp_bias);
        }
        tensors.add(format!("{prefix}.input_layernorm.weight"), &[width]);
        tensors.add(format!("{prefix}.post_attention_layernorm.weight"), &[width]);
    }
    tensors.add(format!("{prefix}.norm.weight"), &[width]);
    if !text.tie_word_embeddings {
        tensors.add("language_model.lm_head.weight".to_owned(), &[text.vocab_size, width]);
    }
}

struct Tensors(Vec<(String, Vec<usize>)>);

impl Tensors {
    fn add(&mut self, name: String, shape: &[usize]) {
        self.0.push((name, shape.to_vec()));
    }

    fn linear(&mut self, name: &str, outputs: usize, inputs: usize, bias: bool) {
        self.add(format!("{name}.weight"), &[outputs, inputs]);
        if bias {
            self.add(format!("{name}.bias"), &[outputs]);
        }
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.add(format!("{name}.weight"), &[width]);
        self.add(format!("{name}.bias"), &[width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_layout_maps_to_one_name() {
        let layer = "language_model.model.layers.3.self_attn.q_proj.weight";
        let norm = "vision_tower.vision_model.pre_layrnorm.weight";
        for (found, canonical) in [
            ("model.language_model.layers.3.self_attn.q_proj.weight", layer),
            ("model.layers.3.self_attn.q_proj.weight", layer),
            ("language_model.layers.3.self_attn.q_proj.weight", layer),
            (layer, layer),
            ("lm_head.weight", "language_model.lm_head.weight"),
            ("language_model.lm_head.weight", "language_model.lm_head.weight"),
            ("model.norm.weight", "language_model.model.norm.weight"),
            ("model.vision_tower.pre_layrnorm.weight", norm),
            ("vision_tower.pre_layrnorm.weight", norm),
            ("model.vision_tower.vision_model.pre_layrnorm.weight", norm),
            ("model.vision_tower.vision_tower.vision_model.pre_layrnorm.weight", norm),
            ("model.mm_projector.2.bias", "multi_modal_projector.linear_2.bias"),
            ("model.multi_modal_projector.linear_1.bias", "multi_modal_projector.linear_1.bias"),
            ("model.image_newline", "model.image_newline"),
        ] {
            assert_eq!(canonical_name(found), canonical, "{found}");
        }
    }
}
