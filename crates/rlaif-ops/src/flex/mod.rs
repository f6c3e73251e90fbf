//! The fused forms, for Burn's CPU backend.

mod activation;
mod attention;
mod attention_grad;
mod buffer;
mod extension;
mod frozen;
mod linear;
mod math;
mod norm;
mod reduce;
mod rotary;
mod skinny;
mod token_stats;

pub(crate) use activation::{Activation, Swiglu};
pub(crate) use attention::Attention;
pub(crate) use extension::{Fused, is_flex, is_fused};
pub(crate) use frozen::{FrozenLinear, FrozenLora};
pub(crate) use linear::{Linear, LoraLinear};
pub(crate) use norm::{LayerNorm, RmsNorm};
pub(crate) use rotary::Rotary;
pub(crate) use token_stats::TokenStats;
