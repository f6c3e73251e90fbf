//! What packing the decoder's projections costs and saves: for each precision the memory by part,
//! how far the next-token distributions move from those of the full weights, and the time of a
//! decoding step.
//!
//!     cargo run --release -p oracle-rlaif --example base_precision -- CHECKPOINT
//!
//! The prompts are the questions on 40 clips of ClipWorld's test split, so the checkpoint should be
//! one that `quickstart` made. A name of a precision after the folder measures that one alone, so
//! that the peak of memory is its own. A random decoder of 151 million weights, where a step is
//! bound by reading them:
//!
//!     oracle-rlaif quickstart --quick --out runs/large --set model.clip_world.hidden_size=1024 \
//!         --set model.clip_world.num_hidden_layers=12 --set sft.max_steps=1 --set train.max_steps=1

#![expect(clippy::print_stdout, reason = "the table is the program's output")]

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor};
use oracle_rlaif::folder::{Folder, world_clips};
use oracle_rlaif::recipe::{SourceConfig, VideoConfig, WorldSource};
use oracle_rlaif::{memory, source};
use rlaif_model::{Precision, Suffix};
use rlaif_rollout::{PromptInput, encode};

const ALL: [Precision; 4] = [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Nf4];
/// Rows of a decoding step.
const ROWS: usize = 5;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().context("which checkpoint folder?")?;
    let only = arguments.next();
    let mut full: Option<(Tensor<2>, f64)> = None;
    println!(
        "{:<9} {:>9} {:>9} {:>9} {:>9} {:>10} {:>9} {:>9} {:>9} {:>8}",
        "",
        "base MB",
        "embed MB",
        "vision MB",
        "peak MB",
        "logits err",
        "KL mean",
        "KL max",
        "argmax",
        "step ms"
    );
    for base in ALL.into_iter().filter(|p| only.as_ref().is_none_or(|only| *only == p.to_string()))
    {
        let folder = Folder::open_with(Path::new(&path), base, &Device::flex())?;
        let peak = memory::peak_rss_bytes().unwrap_or(0) as f64;
        let logits = next_tokens(&folder)?;
        let step = decoding_step(&folder)?;
        let (expected, _) = full.get_or_insert_with(|| (logits.clone(), step));
        let m = folder.model.memory();
        let [error, mean, max, same] = distances(&logits, expected);
        println!(
            "{base:<9} {:>9.2} {:>9.2} {:>9.2} {:>9.1} {error:>10.2e} {mean:>9.2e} {max:>9.2e} {:>8.1}% {:>8.3}",
            m.base as f64 * 1e-6,
            m.embeddings as f64 * 1e-6,
            m.vision as f64 * 1e-6,
            peak * 1e-6,
            100.0 * same,
            step * 1e3,
        );
    }
    Ok(())
}

fn prompts(folder: &Folder) -> Result<Vec<PromptInput>> {
    let world = WorldSource {
        split: "test".to_owned(),
        clips: 40,
        first: 0,
        seed: 0,
        max_objects: 1,
        questions: oracle_rlaif::recipe::Questions::All,
        questions_per_clip: 0,
    };
    let rows = source::rows(&SourceConfig { world: Some(world), ..SourceConfig::default() })?;
    let builder = folder.builder(&VideoConfig::default(), world_clips(), 8)?;
    rows.iter().map(|row| Ok(builder.prompt(&folder.model, row)?)).collect()
}

/// Logits of the answers' first tokens, `[prompts, vocabulary]`.
fn next_tokens(folder: &Folder) -> Result<Tensor<2>> {
    let (prompts, head) = (prompts(folder)?, folder.model.decoder.head().transpose());
    let logits = prompts
        .chunks(32)
        .map(|chunk| {
            let prefix = encode(&folder.model, &chunk.iter().collect::<Vec<_>>());
            prefix.last_hidden.matmul(head.clone())
        })
        .collect();
    Ok(Tensor::cat(logits, 0))
}

/// Relative error of the logits, mean and largest KL(full ‖ packed), and how often the likeliest
/// token is the same.
fn distances(logits: &Tensor<2>, full: &Tensor<2>) -> [f64; 4] {
    let host = |t: Tensor<2>| -> Vec<f64> { t.to_data().iter::<f64>().collect() };
    let norm = |t: Tensor<2>| host(t).iter().map(|x| x * x).sum::<f64>().sqrt();
    let (p, q) = (log_softmax(full.clone(), 1), log_softmax(logits.clone(), 1));
    let kl = host((p.clone().exp() * (p - q)).sum_dim(1));
    let likeliest = |t: &Tensor<2>| -> Vec<i64> { t.clone().argmax(1).to_data().iter().collect() };
    let (a, b) = (likeliest(logits), likeliest(full));
    let same = a.iter().zip(&b).filter(|(a, b)| a == b).count();
    [
        norm(logits.clone() - full.clone()) / norm(full.clone()),
        kl.iter().sum::<f64>() / kl.len() as f64,
        kl.iter().copied().fold(0.0, f64::max),
        same as f64 / a.len() as f64,
    ]
}

/// Median seconds of one token for some continuations of one prompt, without sampling it.
fn decoding_step(folder: &Folder) -> Result<f64> {
    let prompt = prompts(folder)?.into_iter().next().context("ClipWorld has questions")?;
    let decoder = &folder.model.decoder;
    let prefix = encode(&folder.model, &[&prompt]);
    let embeds = decoder.embed_tokens(&[1; ROWS]);
    let mut seconds: Vec<f64> = (0..10)
        .flat_map(|_| {
            let mut suffix = Suffix::new(decoder, vec![0; ROWS], 16, &Device::flex());
            let mut steps = Vec::new();
            for _ in 0..16 {
                let start = Instant::now();
                let hidden = decoder.step(&prefix, &mut suffix, embeds.clone());
                std::hint::black_box(hidden.into_data());
                steps.push(start.elapsed().as_secs_f64());
            }
            steps
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}
