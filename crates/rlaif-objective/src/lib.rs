//! Objectives as pure functions from tensors to loss and metrics.
//!
//! Nothing here sees text, a rank, a file or a model: advantages arrive as numbers per token, and
//! how tokens are averaged arrives as one weight per token ([`aggregate`]).

pub mod aggregate;
pub mod gae;
pub mod grpo;
pub mod kl;
pub mod ppo;
pub mod preference;
pub mod rloo;
pub mod sft;

#[cfg(test)]
mod testing;

pub use aggregate::{Aggregation, token_weights};
pub use gae::{gae, whiten};
pub use grpo::{GrpoInput, GrpoKnobs, GrpoOutput, grpo};
pub use kl::{ExactKl, exact_kl, k3};
pub use ppo::{ValueInput, ValueOutput, shaped_rewards, value_loss};
pub use preference::{DpoInput, DpoOutput, bradley_terry, dpo};
pub use rloo::{RlooInput, leave_one_out, rloo};
pub use sft::sft;
