//! Training loops, optimizer, schedules, metrics, checkpoints and resume.
//!
//! One file per algorithm: [`sft`] and [`grpo`]. Each step reads like the algorithm box; what the
//! two share are functions ([`optim`], [`order`], [`checkpoint`], [`run`]), not a base trainer.
//! Nothing here knows which Oracle ranks or which advantage is used: those arrive as values.

pub mod batch;
pub mod checkpoint;
pub mod completions;
pub mod config;
pub mod error;
pub mod flops;
pub mod grpo;
pub mod metrics;
pub mod optim;
pub mod order;
pub mod phase;
mod plan;
pub mod ranked;
pub mod run;
pub mod schedule;
pub mod sft;
mod step_metrics;

pub use config::{GrpoConfig, KlEstimator, RefreshReference, SftConfig, Trainable};
pub use error::TrainError;
pub use grpo::{Grpo, Prompted};
pub use metrics::Metrics;
pub use run::{Control, Event, Run};
pub use sft::{Sft, SftItem, SftTurn};
