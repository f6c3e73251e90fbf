//! `generate`: ask a checkpoint about a video.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use oracle_rlaif::folder::{self, Folder};
use oracle_rlaif::recipe::VideoConfig;
use rlaif_data::{Example, Message, VideoRef};
use rlaif_rollout::{SampleRequest, SamplingParams, encode, sample};
use rlaif_train::batch::vocabulary;
use rlaif_video::Sampling;
use serde::Serialize;

use super::progress::print;
use super::{Context, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct GenerateArgs {
    /// Checkpoint folder, or a name on the Hugging Face hub
    #[arg(long, visible_alias = "model", value_name = "DIR|NAME")]
    checkpoint: PathBuf,
    /// Video file, animated image, folder of frames, or `world:test/3`
    #[arg(long, value_name = "FILE")]
    video: String,
    /// The question
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// 0 takes the likeliest token
    #[arg(long, default_value_t = 0.0)]
    temperature: f64,
    /// Keep the likeliest tokens up to this probability
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Keep this many of the likeliest tokens; 0 keeps all
    #[arg(long, default_value_t = 0)]
    top_k: usize,
    /// Longest answer in tokens
    #[arg(long, default_value_t = 64)]
    max_new_tokens: usize,
    /// Frames taken from the video; the checkpoint's `num_frames` where absent
    #[arg(long)]
    frames: Option<usize>,
    /// Seed of the sampling
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Print one JSON object: text, tokens, logprobs, `prompt_tokens`
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer {
    text: String,
    tokens: Vec<u32>,
    /// Of each token under the unmodified distribution.
    logprobs: Vec<f32>,
    prompt_tokens: usize,
    finish_reason: rlaif_data::FinishReason,
}

pub(crate) fn run(context: &Context, args: &GenerateArgs) -> Result<Outcome> {
    let start = Folder::open(&args.checkpoint, &context.device)?;
    let video = VideoConfig {
        sampling: args.frames.map(|frames| Sampling::Uniform { frames }),
        ..VideoConfig::default()
    };
    let length = args.max_new_tokens.max(1);
    let builder = start.builder(&video, folder::world_clips(), length)?;
    let example = Example {
        id: "prompt".to_owned(),
        video: match args.video.strip_prefix("world:") {
            Some(address) => VideoRef::World(address.to_owned()),
            None => VideoRef::File(PathBuf::from(&args.video)),
        },
        messages: vec![Message::ask(&args.prompt)],
        reference: None,
        choices: None,
        category: None,
        narrative: None,
        meta: serde_json::Map::new(),
    };
    let input = builder.prompt(&start.model, &example)?;
    let prefix = encode(&start.model, &[&input]);
    let params = SamplingParams {
        temperature: args.temperature,
        top_p: args.top_p,
        top_k: args.top_k,
        max_completion_length: length,
        min_completion_length: 0,
    };
    let request = SampleRequest { prompt: 0, seed: args.seed };
    let vocabulary = vocabulary(&start.tokenizer, &start.model);
    let sampled = sample(&start.model, &prefix, &[request], &params, &vocabulary)
        .into_iter()
        .next()
        .context("nothing was sampled")?;
    let text = start.tokenizer.decode(&sampled.token_ids);
    if args.json {
        print(&serde_json::to_string(&Answer {
            text,
            tokens: sampled.token_ids,
            logprobs: sampled.logprobs,
            prompt_tokens: input.ids.len(),
            finish_reason: sampled.finish_reason,
        })?);
    } else {
        print(&text);
    }
    Ok(Outcome::Done)
}
