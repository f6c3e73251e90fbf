//! The command line as scripts and people use it.

mod baselines;
mod checkpoints;
mod commands;
mod files;
mod merge;
mod packed;
mod quickstart;
mod reproduce;
mod resume;
mod support;
