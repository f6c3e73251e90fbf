//! The model against `transformers` and PEFT, through the checkpoints and golden values that
//! `tools/make_llava_fixtures.py` wrote.

mod adapter;
mod architectures;
mod folder;
mod memory;
mod original;
mod packed;
mod parity;
mod support;
