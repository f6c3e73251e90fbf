//! In how many bits the decoder's projections are kept.
//!
//! As in [QLoRA](https://arxiv.org/abs/2305.14314) the seven projections of each block may be
//! packed; embeddings, norms, head, tower and projector stay in 32-bit floats, and so do adapters
//! and everything that is computed. Packed weights are no parameters: nothing visits, trains,
//! digests or writes them.

use rlaif_ops::{FrozenFormat, FrozenMatrix};
use serde::{Deserialize, Serialize};

use crate::layers::Weight;
use crate::load::LoadError;
use crate::parameters::Parameters;
use crate::vlm::Vlm;

/// How the weights of the decoder's projections are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    /// 32-bit floats, which can be trained.
    #[default]
    #[serde(rename = "float32")]
    F32,
    /// 16-bit brain floats.
    #[serde(rename = "bfloat16")]
    Bf16,
    /// 8 bits and a scale for each 64 numbers.
    #[serde(rename = "int8")]
    Int8,
    /// 4 bits and a scale for each 64 numbers.
    #[serde(rename = "nf4")]
    Nf4,
}

impl Precision {
    /// The format of packed weights; none for weights as they are.
    #[must_use]
    pub fn format(self) -> Option<FrozenFormat> {
        match self {
            Precision::F32 => None,
            Precision::Bf16 => Some(FrozenFormat::Bf16),
            Precision::Int8 => Some(FrozenFormat::Int8),
            Precision::Nf4 => Some(FrozenFormat::Nf4),
        }
    }

    fn of(weight: &Weight) -> Self {
        match weight {
            Weight::Full(_) => Precision::F32,
            Weight::Frozen(matrix) => match matrix.format() {
                FrozenFormat::Bf16 => Precision::Bf16,
                FrozenFormat::Int8 => Precision::Int8,
                FrozenFormat::Nf4 => Precision::Nf4,
            },
        }
    }
}

/// As recipes write it.
impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Precision::F32 => "float32",
            Precision::Bf16 => "bfloat16",
            Precision::Int8 => "int8",
            Precision::Nf4 => "nf4",
        })
    }
}

/// Bytes that a model's tensors take, by part. Tensors that clones share count in each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The decoder's projections with their biases, packed or not.
    pub base: usize,
    /// Adapters.
    pub adapters: usize,
    /// Token embeddings, and the head where it is not tied to them.
    pub embeddings: usize,
    /// Vision tower and projector.
    pub vision: usize,
    /// The decoder's norms.
    pub norms: usize,
}

impl Memory {
    /// All parts together.
    #[must_use]
    pub fn total(&self) -> usize {
        self.base + self.adapters + self.embeddings + self.vision + self.norms
    }
}

impl Vlm {
    /// How the projections are kept, where all are kept alike; the first packed format where not.
    #[must_use]
    pub fn base_precision(&self) -> Precision {
        let mut found = Precision::F32;
        self.decoder.clone().linears(|_, linear| {
            if found == Precision::F32 {
                found = Precision::of(&linear.weight);
            }
        });
        found
    }

    /// Packs the projections that are not packed yet. Adapters stay beside them.
    ///
    /// # Errors
    ///
    /// Fails on weights that are not finite where the format needs it; nothing is packed then.
    pub fn pack_base(&mut self, precision: Precision) -> Result<(), LoadError> {
        let Some(format) = precision.format() else { return Ok(()) };
        let mut failed = None;
        let mut decoder = self.decoder.clone();
        decoder.named_linears("language_model", |name, linear| {
            let Weight::Full(weight) = &linear.weight else { return };
            let values: Vec<f32> = weight.to_data().iter::<f32>().collect();
            match FrozenMatrix::pack(&values, weight.dims(), format, &weight.device()) {
                Ok(matrix) => linear.weight = Weight::Frozen(matrix),
                Err(source) => {
                    let name = format!("{name}.weight");
                    failed.get_or_insert(LoadError::NotFinite { name, source });
                }
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        self.decoder = decoder;
        Ok(())
    }

    /// The same model, adapters and all, over the projections of `base`: how an adapter that was
    /// trained beside packed weights comes to stand beside the full ones. They are not quite those
    /// it was trained with: outputs differ by what packing rounded off.
    ///
    /// # Errors
    ///
    /// Fails where `base` has other projections.
    pub fn on_base(&self, base: &Vlm) -> Result<Vlm, LoadError> {
        let mut weights = Vec::new();
        base.decoder.clone().named_linears("", |name, linear| {
            weights.push((name.to_owned(), linear.weight.clone()));
        });
        let (mut on_base, mut weights, mut same) = (self.clone(), weights.into_iter(), true);
        on_base.decoder.named_linears("", |name, linear| match weights.next() {
            Some((other, weight)) if other == name && weight.dims() == linear.shape() => {
                linear.weight = weight;
            }
            _ => same = false,
        });
        if same && weights.next().is_none() {
            Ok(on_base)
        } else {
            let source = "its decoder's projections are not those of the model".into();
            Err(LoadError::Other { what: "the full base".to_owned(), source })
        }
    }

    /// Bytes of the tensors by part.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let mut memory = Memory::default();
        self.read(|name, slot| {
            let part = if name.contains(".lora_") {
                &mut memory.adapters
            } else if !name.starts_with("language_model.") {
                &mut memory.vision
            } else if name.contains("_proj.") {
                &mut memory.base
            } else if name.contains("norm") {
                &mut memory.norms
            } else {
                &mut memory.embeddings
            };
            *part += slot.shape().iter().product::<usize>() * size_of::<f32>();
        });
        self.decoder.clone().linears(|_, linear| {
            if let Weight::Frozen(matrix) = &linear.weight {
                memory.base += matrix.bytes();
            }
        });
        memory
    }
}
