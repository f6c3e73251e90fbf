//! Fused tensor operations with gradients of their own, and a portable form of each.
//!
//! Every operation here exists twice.
//!
//! - The **portable form** ([`portable`]) is written with plain Burn tensor operations. It runs on
//!   any device and Burn's autodiff differentiates it.
//! - The **fused form** runs on Burn's CPU device `flex`, with and without autodiff, in 32-bit
//!   floats. It has its own backward, keeps fewer intermediate values and is bit-for-bit
//!   reproducible whatever the threads do.
//!
//! The functions at the root choose between the two by the device of their tensors, in one place.
//! Matrices are `[tokens, features]`; weights have the Hugging Face layout `[out, in]`.
//!
//! Shapes that do not fit together panic, as they do in Burn itself.

mod activation;
mod attention;
mod flex;
mod frozen;
mod linear;
mod norm;
pub mod peak;
pub mod portable;
mod rotary;
mod simd;
#[cfg(test)]
mod testing;
mod token_stats;

pub use activation::{gelu, gelu_tanh, quick_gelu, swiglu};
pub use attention::{Heads, Span, attention};
pub use frozen::{FrozenFormat, FrozenMatrix, NotFinite, frozen_linear, frozen_lora_linear};
pub use linear::{Lora, linear, lora_linear};
pub use norm::{layer_norm, rms_norm};
pub use rotary::rotary;
pub use token_stats::{TokenStats, log_softmax_rows, token_logprobs, token_stats};
