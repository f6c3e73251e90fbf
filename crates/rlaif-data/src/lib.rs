//! Records that cross the rooms of oracle-rlaif: plain data, no tensors.
//!
//! ```text
//! Example (video + question) -> Clip -> Group (G Completions) -> Ranking -> advantages -> update
//! ```
//!
//! [`clip`] holds sampled frames, [`message`] chat messages with content blocks, [`example`] one
//! row of a data set, [`completion`] what a policy sampled.

pub mod clip;
pub mod completion;
pub mod example;
pub mod message;

pub use clip::{Clip, Frame, Pixels, VideoRef};
pub use completion::{Completion, FinishReason, Group};
pub use example::{Choices, Example};
pub use message::{Block, Message, Role};
