//! Another checkpoint in this process as judge.
//!
//! ```text
//! by = "chat":        messages, clip -> LocalModel -> LocalChat -> text, read by a protocol
//! by = "likelihood":  question, clip, G answers -> LocalModel -> LikelihoodOracle -> their order
//! ```
//!
//! - [`config`] says which checkpoint and how it is asked, [`model`] opens it and makes prompts.
//! - [`chat`] answers chats, as a server would: one of [`rlaif_oracle::ChatModel`].
//! - [`likelihood`] asks nothing and orders answers by how likely the judge finds them.
//!
//! A judge computes on threads of its own ([`model`] says why), and several requests go through
//! the model at once: what one of them gets depends on no other, up to the rounding of sums in 32
//! bits, whose order the number of rows decides.

pub mod chat;
pub mod config;
mod digest;
pub mod likelihood;
mod messages;
pub mod model;

pub use chat::LocalChat;
pub use config::{JudgesBy, ModelOracleConfig, Normalize};
pub use likelihood::LikelihoodOracle;
pub use model::LocalModel;
