//! The command line as scripts and people use it.

mod commands;
mod files;
mod quickstart;
mod resume;
mod support;
