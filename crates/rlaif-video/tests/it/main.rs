//! Tests of rlaif-video against reference implementations and real files.

mod cache;
mod golden;
mod images;
mod limits;
mod long;
mod parity;
mod qwen;
mod smolvlm;
mod support;
mod video;
