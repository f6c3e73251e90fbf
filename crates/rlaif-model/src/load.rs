//! Models from Hugging Face folders, back into them, and from nothing.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rlaif_data::Pixels;
use rlaif_ops::{FrozenFormat, FrozenMatrix, NotFinite};

use crate::hf::{
    Architecture, CheckpointError, ConfigError, ModelConfig, ResolveTower, Weights, WeightsError,
    expected_tensors, open_checkpoint, stored_name, write_weights,
};
use crate::layers::Weight;
use crate::parameters::{Parameters, Slot};
use crate::precision::Precision;
use crate::vision::{GridError, Vision};
use crate::vlm::Vlm;

/// A model folder that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// `config.json`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// `config.json`, the weights, or a part that lies elsewhere.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Weights that a format with blocks cannot hold.
    #[error("`{name}`: {source}")]
    NotFinite {
        /// The tensor.
        name: String,
        /// What it holds, and where.
        source: NotFinite,
    },
    /// A model folder was to be written, and the full weights are not at hand.
    #[error(
        "the decoder's weights are kept as {precision}, and a model folder would hold them rounded: \
         write the adapter alone, or put it on the full weights first (`Vlm::on_base`)"
    )]
    PackedBase {
        /// How they are kept.
        precision: Precision,
    },
    /// Another file of the folder.
    #[error("{what}: {source}")]
    Other {
        /// Which.
        what: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// How a model is held in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The decoder's projections. Default 32-bit floats.
    pub base: Precision,
}

/// Reads the model of a folder onto `device`, weights converted to `f32`.
///
/// # Errors
///
/// Fails on a configuration that is not supported, and with all missing, unknown and mis-shaped
/// tensors at once.
pub fn load(folder: impl AsRef<Path>, device: &Device) -> Result<Vlm, LoadError> {
    load_with(folder, device, &LoadOptions::default())
}

/// Reads the model of a folder onto `device`, the decoder's projections as `options` say and the
/// other weights as `f32`. One tensor at a time is held in full: on the CPU the memory peaks at the
/// packed model and one more tensor.
///
/// # Errors
///
/// As [`load`]; fails too on weights that are not finite where the format needs it.
pub fn load_with(
    folder: impl AsRef<Path>,
    device: &Device,
    options: &LoadOptions,
) -> Result<Vlm, LoadError> {
    load_resolved(folder, device, options, &|_| None)
}

/// [`load_with`], where `resolve` may know the folder of a vision tower that an original LLaVA
/// checkpoint names and does not hold.
///
/// # Errors
///
/// As [`load_with`].
pub fn load_resolved(
    folder: impl AsRef<Path>,
    device: &Device,
    options: &LoadOptions,
    resolve: ResolveTower,
) -> Result<Vlm, LoadError> {
    let (config, weights) = open_checkpoint(folder, resolve)?;
    weights.check(&expected_tensors(&config))?;
    let mut model = Vlm::zeros(&config, device);
    model.stored_names = Arc::new(weights.stored_names());
    if let Some(format) = options.base.format() {
        let mut failed = None;
        model.decoder.named_linears("language_model", |name, linear| {
            if failed.is_none() {
                let name = format!("{name}.weight");
                match packed(&weights, &name, linear.shape(), format, device) {
                    Ok(matrix) => linear.weight = Weight::Frozen(matrix),
                    Err(error) => failed = Some(error),
                }
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
    }
    let mut failed = None;
    model.walk("", &mut |name, mut slot| {
        if failed.is_some() {
            return;
        }
        match weights.tensor(name) {
            Ok((_, values)) => slot.set_flat(vector(values, device)),
            Err(error) => failed = Some(error),
        }
    });
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(model),
    }
}

/// One tensor in packed form, without a detour where the file holds what is wanted.
fn packed(
    weights: &Weights,
    name: &str,
    shape: [usize; 2],
    format: FrozenFormat,
    device: &Device,
) -> Result<FrozenMatrix, LoadError> {
    if format == FrozenFormat::Bf16
        && let Some(bits) = weights.bf16(name)?
    {
        return Ok(FrozenMatrix::from_bf16(bits, shape, device));
    }
    let (_, values) = weights.tensor(name)?;
    FrozenMatrix::pack(&values, shape, format, device)
        .map_err(|source| LoadError::NotFinite { name: name.to_owned(), source })
}

/// Writes `config.json` and `model.safetensors`. Adapters are merged into the weights.
///
/// # Errors
///
/// Fails on a model with packed weights, and where a file cannot be written.
pub fn save(model: &Vlm, folder: impl AsRef<Path>) -> Result<(), LoadError> {
    let precision = model.base_precision();
    if precision != Precision::F32 {
        return Err(LoadError::PackedBase { precision });
    }
    let model = model.merged();
    model.config.save(&folder)?;
    let mut tensors = std::collections::HashMap::new();
    model.read(|name, slot| {
        tensors.insert(name.to_owned(), slot.flat());
    });
    let named = expected_tensors(&model.config).into_iter().filter_map(|(name, shape)| {
        let tensor = tensors.remove(&name)?;
        let values: Vec<f32> = tensor.into_data().iter::<f32>().collect();
        let stored = model.stored_names.get(&name).cloned();
        let stored = stored.unwrap_or_else(|| stored_name(&model.config.arch, &name));
        Some((stored, shape, values))
    });
    write_weights(&folder, model.config.dtype, named)?;
    Ok(())
}

/// A model with random weights: normal with deviation `1 / √inputs` for matrices, the layers that
/// write into the residual stream scaled down by `√(2 layers)` (GPT-2), biases zero, gains one.
#[must_use]
pub fn init(config: &ModelConfig, seed: u64, device: &Device) -> Vlm {
    let mut model = Vlm::zeros(config, device);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let tower_depth = match &config.arch {
        Architecture::Llava(arch) => arch.vision.num_hidden_layers,
        Architecture::SmolVlm(arch) => arch.vision.num_hidden_layers,
        Architecture::Qwen2_5Vl(arch) => arch.depth,
    };
    let depth = |name: &str| {
        if name.starts_with("vision_tower") { tower_depth } else { config.text.num_hidden_layers }
    };
    model.walk("", &mut |name, mut slot| {
        let shape = slot.shape();
        let len = shape.iter().product();
        let scale = if name.ends_with("position_embedding.weight") {
            // As strong as what a patch shows, or places are learnt last.
            1.0
        } else if let (Slot::Matrix(_), [_, inputs]) = (&slot, shape.as_slice()) {
            let into_residual = [".o_proj.", ".out_proj.", ".attn.proj.", ".down_proj.", ".fc2."];
            let residual = into_residual.iter().any(|part| name.contains(part));
            let shrink = if residual { (2.0 * depth(name) as f32).sqrt() } else { 1.0 };
            1.0 / ((*inputs as f32).sqrt() * shrink)
        } else if name.ends_with("class_embedding") {
            1.0 / (len as f32).sqrt()
        } else {
            return;
        };
        slot.set_flat(vector(normal(len, scale, &mut rng), device));
    });
    model
}

/// Spread of the visual tokens after [`standardise_visual_tokens`].
const VISUAL_SPREAD: f64 = 0.25;

/// Gives a model from nothing visual tokens that differ: over `clips` each feature gets mean zero,
/// and all of them together a spread of a quarter.
///
/// At random weights what all clips have in common outweighs what tells them apart by far, and
/// training spends its first thousands of clips on undoing that. Data-dependent start after Mishkin
/// and Matas 2016, "All you need is a good init", arXiv:1511.06422, at the projector alone. Models
/// without LLaVA's projector, and without `clips`, stay as they are.
///
/// # Errors
///
/// Fails on frames of a size that the tower does not take.
pub fn standardise_visual_tokens(model: &mut Vlm, clips: &[Pixels]) -> Result<(), GridError> {
    if clips.is_empty() || !matches!(model.vision, Vision::Llava(_)) {
        return Ok(());
    }
    let tokens = clips
        .iter()
        .map(|pixels| {
            let grid = model.vision.grid(pixels)?;
            Ok(model.visual_tokens(model.tower_features(pixels), &[grid]))
        })
        .collect::<Result<Vec<Tensor<2>>, GridError>>()?;
    let tokens = Tensor::cat(tokens, 0); // [Σ n, hidden]
    let hidden = tokens.dims()[1];
    let centre = tokens.clone().mean_dim(0); // [1, hidden]
    let squares = (tokens - centre.clone()).powf_scalar(2.0).mean();
    let spread = f64::from(squares.into_scalar::<f32>()).sqrt();
    if spread > 0.0
        && let Vision::Llava(vision) = &mut model.vision
    {
        vision.projector.standardise(centre.reshape([hidden]), VISUAL_SPREAD / spread);
    }
    Ok(())
}

fn normal(len: usize, scale: f32, rng: &mut impl Rng) -> Vec<f32> {
    (0..len)
        .map(|_| {
            let value: f32 = StandardNormal.sample(rng);
            value * scale
        })
        .collect()
}

pub(crate) fn vector(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let shape = [values.len()];
    Tensor::from_data(TensorData::new(values, shape), device)
}
