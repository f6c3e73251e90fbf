//! Every operation written with plain Burn tensor operations: for devices without a fused form,
//! and as the reference the fused forms are checked against.

mod activation;
mod attention;
mod linear;
mod norm;
mod rotary;
mod token_stats;

pub use activation::{gelu, gelu_tanh, quick_gelu, swiglu};
pub use attention::attention;
pub use linear::{linear, lora_linear};
pub use norm::{layer_norm, rms_norm};
pub use rotary::rotary;
pub use token_stats::{log_softmax_rows, token_stats};
