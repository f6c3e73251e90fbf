//! The group pass: one prompt encoded once, G continuations sampled and scored against it.
//!
//! ```text
//! prompts --encode--> Prefix --sample--> G completions each, with log-probabilities
//!                        \------score--> teacher-forced log-probabilities and entropy
//! ```
//!
//! Sampler and scorer run the same decoder over the same weights; the tests compare their
//! log-probabilities token by token.

pub mod alike;
pub mod builder;
pub mod pass;
pub mod prompt;
pub mod sample;
pub mod score;
pub mod token;

pub use alike::encode_alike;
pub use builder::{PromptBuilder, PromptError, WorldClips};
pub use pass::{Pass, Reads};
pub use prompt::{PromptInput, Visual, encode};
pub use sample::{Observed, SampleRequest, Sampled, sample, sample_observed};
pub use score::{response_hidden, score};
pub use token::{Choice, SamplingParams, Vocabulary};
