//! Training loops, optimizer, schedules, metrics, checkpoints and resume.
//!
//! One file per algorithm. [`online`] is the loop over sampled groups, and [`grpo_rank`](mod@grpo_rank),
//! [`grpo`](mod@grpo), [`rloo`](mod@rloo) and [`ppo`](mod@ppo) what is particular to each method;
//! [`sft`], [`dpo`](mod@dpo) and [`reward_model`] learn from what is written down. Each step reads
//! like the algorithm box; what they share are functions ([`optim`], [`order`], [`checkpoint`],
//! [`run`]). Nothing here knows which Oracle ranks, which reward scores or which advantage is used:
//! those arrive as values.

pub mod batch;
pub mod checkpoint;
pub mod completions;
pub mod config;
pub mod dpo;
mod drive;
pub mod error;
pub mod flops;
pub mod grpo;
pub mod grpo_rank;
pub mod memory;
pub mod method;
pub mod metrics;
pub mod online;
pub mod optim;
pub mod order;
pub mod phase;
pub mod plan;
pub mod ppo;
pub mod ranked;
pub mod reward;
pub mod reward_model;
pub mod rloo;
pub mod run;
pub mod schedule;
pub mod sft;
mod step_metrics;

pub use config::{
    DpoConfig, GrpoConfig, KlEstimator, MethodKind, PpoConfig, RefreshReference, RewardModelConfig,
    SftConfig, Trainable,
};
pub use dpo::Dpo;
pub use error::TrainError;
pub use method::Method;
pub use metrics::Metrics;
pub use online::{Online, Prompted};
pub use reward::{Reward, RewardError};
pub use reward_model::RewardTraining;
pub use run::{Control, Event, Run};
pub use sft::{Sft, SftItem, SftTurn};
