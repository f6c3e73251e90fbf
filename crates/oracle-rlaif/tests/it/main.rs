//! The command line as scripts and people use it.

mod annotate;
mod baselines;
mod checkpoints;
mod commands;
#[cfg(any(feature = "cuda", feature = "vulkan", feature = "metal", feature = "wgpu"))]
mod device;
mod files;
mod hub;
mod judges;
mod local_judge;
mod memory;
mod merge;
mod oracles;
mod original;
mod packed;
mod quickstart;
mod rank;
mod reproduce;
mod resume;
mod serve;
mod support;
