//! The group pass: sampler against scorer, shared prefix against replicated prompts, many in
//! flight against one at a time.

mod alike;
mod checkpoints;
mod fixtures;
mod flight;
mod observed;
mod prefix;
mod sampler;
mod support;
