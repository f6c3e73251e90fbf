//! What a judge is, whatever folder it lies in: digests of its weights and of all that makes its
//! prompts.

use burn::tensor::Tensor;
use rayon::prelude::*;
use rlaif_model::{Parameters, Vlm, Weight};
use rlaif_rollout::PromptBuilder;
use rlaif_video::digest::digest_parts;
use serde_json::{Value, json};

/// The judge as a part of what a reply depends on, without its place on disk.
pub(super) fn identity(model: &Vlm, builder: &PromptBuilder) -> Value {
    json!({
        "weights": weights(model),
        "base_precision": model.base_precision().to_string(),
        "config": digest_parts(&[model.config.to_json().to_string()]),
        "tokenizer": digest_parts(&builder.tokenizer.sources()),
        "frames": builder.sampling,
        "pixels": builder.processor.pixels_digest(""),
    })
}

/// Digest of every weight, packed ones by the numbers that they stand for.
///
/// Takes one pass over the weights, on all threads.
pub(super) fn weights(model: &Vlm) -> String {
    let mut tensors: Vec<(String, Vec<usize>, Numbers)> = Vec::new();
    model.read(|name, slot| {
        tensors.push((name.to_owned(), slot.shape(), Numbers::Plain(slot.flat())));
    });
    model.decoder.clone().named_linears("language_model", |name, linear| {
        if let Weight::Frozen(matrix) = &linear.weight {
            let numbers = Numbers::Packed(matrix.clone());
            tensors.push((format!("{name}.weight"), matrix.dims().to_vec(), numbers));
        }
    });
    let digests: Vec<String> = tensors
        .into_par_iter()
        .map(|(name, shape, numbers)| {
            let shape = format!("{shape:?}");
            digest_parts(&[name.as_bytes(), shape.as_bytes(), &numbers.bytes()])
        })
        .collect();
    digest_parts(&digests)
}

enum Numbers {
    Plain(Tensor<1>),
    Packed(rlaif_ops::FrozenMatrix),
}

impl Numbers {
    fn bytes(self) -> Vec<u8> {
        let data = match self {
            Numbers::Plain(tensor) => tensor.into_data(),
            Numbers::Packed(matrix) => matrix.unpack().into_data(),
        };
        data.iter::<f32>().flat_map(f32::to_le_bytes).collect()
    }
}
