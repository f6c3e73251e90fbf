//! Video-language models: vision tower, projector, decoder, LoRA, Hugging Face folders.
//!
//! ```text
//! Pixels -> tower -> projector, pooling -> visual tokens \
//!                                                           embeds -> decoder -> hidden states
//! token ids ----------------------------> token embeddings /
//! ```
//!
//! A [`Vlm`] is plain data: a tree of tensors that clones by reference count. Weights live on the
//! plain device; [`Parameters::tracked`] makes the copy that a training pass differentiates. A
//! reference policy is such a clone, without its adapters ([`Vlm::without_lora`]): it costs no
//! memory until the policy's own weights change.

pub mod adapter;
mod block;
pub mod decoder;
pub mod hf;
pub mod kv;
pub mod layers;
pub mod load;
pub mod lora;
pub mod parameters;
pub mod precision;
pub mod recompute;
pub mod scalar;
pub mod vision;
pub mod vlm;

pub use adapter::{attach_adapter, save_adapter};
pub use decoder::Decoder;
pub use kv::{KvLayer, Positions, Prefix, Suffix, Turn};
pub use layers::{Linear, Weight};
pub use load::{
    LoadError, LoadOptions, init, load, load_resolved, load_with, save, standardise_visual_tokens,
};
pub use lora::LoraConfig;
pub use parameters::{Gradients, Parameters, Slot};
pub use precision::{Memory, Precision};
pub use recompute::Recompute;
pub use scalar::ScalarVlm;
pub use vision::{Grid, GridError, Vision, n_visual_tokens};
pub use vlm::Vlm;
