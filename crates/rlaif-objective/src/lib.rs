//! Objectives as pure functions from tensors to loss and metrics.
//!
//! Nothing here sees text, a rank, a file or a model: advantages arrive as numbers per token, and
//! how tokens are averaged arrives as one weight per token ([`aggregate`]).

pub mod aggregate;
pub mod grpo;
pub mod kl;
pub mod sft;

pub use aggregate::{Aggregation, token_weights};
pub use grpo::{GrpoInput, GrpoKnobs, GrpoOutput, grpo};
pub use kl::{ExactKl, exact_kl, k3};
pub use sft::sft;
