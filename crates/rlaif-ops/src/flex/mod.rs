//! The fused forms, for Burn's CPU backend.

mod activation;
mod buffer;
mod extension;
mod linear;
mod math;
mod norm;
mod reduce;
mod rotary;
mod skinny;

pub(crate) use activation::{Activation, Swiglu};
pub(crate) use extension::{Fused, is_fused};
pub(crate) use linear::{Linear, LoraLinear};
pub(crate) use norm::{LayerNorm, RmsNorm};
pub(crate) use rotary::Rotary;
