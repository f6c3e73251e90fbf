//! The command line as scripts and people use it.

mod baselines;
mod commands;
mod files;
mod original;
mod quickstart;
mod reproduce;
mod resume;
mod support;
