//! The facade of oracle-rlaif: every room under one name, and what the commands share.
//!
//! ```text
//! video file -> frames -> prompt -> rollouts -> ranking -> advantages -> loss -> checkpoint -> report
//! ```

pub use {
    rlaif_annotate as annotate, rlaif_data as data, rlaif_eval as eval, rlaif_model as model,
    rlaif_objective as objective, rlaif_ops as ops, rlaif_oracle as oracle, rlaif_rank as rank,
    rlaif_rollout as rollout, rlaif_train as train, rlaif_video as video, rlaif_world as world,
};

pub mod answers;
pub mod asked;
pub mod candidates;
pub mod device;
pub mod folder;
pub mod hub;
pub mod judges;
pub mod local_judge;
pub mod memory;
pub mod oracle_check;
pub mod pairs;
pub mod pictures;
pub mod recipe;
pub mod reward_model;
pub mod runs;
pub mod serve;
pub mod source;
mod tame;
pub mod world_groups;
