//! A checkpoint as judge, on the tiny checkpoints that `transformers` wrote: what it replies and how
//! it orders, against the same model asked in the plainest way.

mod chat;
mod likelihood;
mod trained;

use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::Device;
use oracle_rlaif::folder::Folder;
use oracle_rlaif::local_judge::{LocalModel, ModelOracleConfig};
use oracle_rlaif::recipe::VideoConfig;
use rlaif_data::VideoRef;
use rlaif_video::Sampling;

/// One of each architecture.
const FIXTURES: [&str; 3] = ["llava-a", "smolvlm-a", "qwen2_5-vl-a"];

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../rlaif-model/tests/fixtures").join(name)
}

/// Few frames and short replies: the smallest of the checkpoints has 256 positions.
fn config(name: &str) -> ModelOracleConfig {
    ModelOracleConfig {
        max_tokens: 6,
        sampling: Some(Sampling::Uniform { frames: 2 }),
        ..ModelOracleConfig::new(fixture(name))
    }
}

fn folder(name: &str) -> Folder {
    Folder::open(&fixture(name), &Device::flex()).expect("a checkpoint")
}

fn judge(config: &ModelOracleConfig) -> Arc<LocalModel> {
    let video = VideoConfig::default();
    Arc::new(LocalModel::open(config, &video, &Device::flex()).expect("a judge"))
}

fn world(clip: usize) -> VideoRef {
    VideoRef::World(format!("train/{clip}"))
}
