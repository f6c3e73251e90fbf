//! The memory that a recipe's steps take, as a table.

use anyhow::{Context as _, Result, bail};
use burn::tensor::Device;
use oracle_rlaif::folder::Folder;
use oracle_rlaif::hub;
use oracle_rlaif::recipe::Recipe;

use rlaif_model::hf::{Architecture, ModelConfig};
use rlaif_model::{Grid, n_visual_tokens};
use rlaif_train::memory::{Demand, Estimate, Kernels, Part, estimate};
use rlaif_video::{FRAMES_LIMIT, Sampling};

use super::CheckArgs;
use crate::commands::progress::{print, say};

/// Where a run computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Place {
    /// The CPU.
    Cpu,
    /// A GPU.
    Gpu,
}

/// Prints the table, and fails where a step does not fit.
pub(super) fn check(recipe: &Recipe, args: &CheckArgs) -> Result<()> {
    let Some(train) = &recipe.train else {
        bail!("the estimate is of the steps of `[train]`, and the recipe has none");
    };
    let config = model(recipe, args)?;
    let frame = bounded_frame(args.frame_size, recipe.video.max_pixels);
    let grid = grid(&config, frames(recipe, args, &config)?, frame);
    let (kernels, feature_cache) = match args.on {
        Place::Cpu => (Kernels::Fused, recipe.video.cache_memory_mib << 20),
        // It is the host's.
        Place::Gpu => (Kernels::Portable, 0),
    };
    if train.trainable == rlaif_train::Trainable::Everything {
        bail!(
            "`train.trainable = {{ type = \"everything\" }}` trains the vision tower, whose \
             activations the estimate does not count; use `all` or `lora`"
        );
    }
    let demand = Demand {
        model: &config,
        base: recipe.model.base_precision,
        train,
        grid,
        text_tokens: args.text_tokens,
        feature_cache,
        kernels,
    };
    bounded(&demand)?;
    let estimate = estimate(&demand);
    show(&estimate, n_visual_tokens(&config.arch, grid), grid);
    let Some(memory) = args.memory else { return Ok(()) };
    let (step, run) = (estimate.step_bytes(), estimate.run_bytes());
    if step > memory {
        bail!(
            "a step takes about {}, and there are {}; lower `train.prompts_per_batch`, set \
             `train.gradient_checkpointing = true`, take fewer frames, or pack the weights \
             (`model.base_precision`)",
            gigabytes(step),
            gigabytes(memory)
        );
    }
    if run > memory {
        let end = format!(
            "the steps fit, but writing the merged model after the last one takes about {}",
            gigabytes(run)
        );
        if train.save_steps == 0 || !train.max_steps.is_multiple_of(train.save_steps) {
            bail!(
                "{end}, and there are {}; make `train.max_steps` a multiple of \
                 `train.save_steps`, so that the last checkpoint holds the adapter",
                gigabytes(memory)
            );
        }
        say(&format!("{end}: the adapter is in the last checkpoint"));
    }
    print(&format!("a step fits into {}", gigabytes(memory)));
    Ok(())
}

/// Tokens of a step that the estimate counts with.
const MOST_TOKENS: f64 = 1e7;

/// Refuses sizes of which nothing sensible can be said.
fn bounded(demand: &Demand<'_>) -> Result<()> {
    let train = demand.train;
    let prompt =
        n_visual_tokens(&demand.model.arch, demand.grid) as f64 + demand.text_tokens as f64;
    let completions = train.num_generations as f64 * train.sampling.max_completion_length as f64;
    let tokens = train.prompts_per_step as f64 * (prompt + completions);
    if tokens > MOST_TOKENS {
        bail!("a step of {tokens:.0} tokens is beyond any memory; at most {MOST_TOKENS:.0}");
    }
    Ok(())
}

fn model(recipe: &Recipe, args: &CheckArgs) -> Result<ModelConfig> {
    if let Some(path) = &args.config {
        if path.is_dir() {
            return Ok(ModelConfig::open(path)?);
        }
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        return ModelConfig::from_json(&value).with_context(|| path.display().to_string());
    }
    if let Some(sizes) = &recipe.model.clip_world {
        return Ok(Folder::clip_world(sizes, recipe.seed, &Device::flex())?.model.config);
    }
    match &recipe.model.path {
        Some(path) => ModelConfig::open(hub::here(path)?)
            .with_context(|| "the model's shapes; or give them with `--config config.json`"),
        None => bail!("the recipe has no model; give one with `--config config.json`"),
    }
}

/// The most frames that a clip may have.
fn frames(recipe: &Recipe, args: &CheckArgs, config: &ModelConfig) -> Result<usize> {
    let frames = match (args.frames, recipe.video.sampling) {
        (Some(frames), _) | (None, Some(Sampling::Uniform { frames })) => frames,
        (
            None,
            Some(
                Sampling::Fps { max_frames, .. }
                | Sampling::SmolVlm { max_frames, .. }
                | Sampling::QwenVl { max_frames, .. },
            ),
        ) => max_frames,
        (None, None) if config.llava().is_some() => config.num_frames.unwrap_or(8),
        (None, None) => bail!(
            "the recipe leaves the frames of a clip to the model's own preprocessing; say how many \
             with `video.sampling` or `--frames`"
        ),
    };
    if !(1..=FRAMES_LIMIT).contains(&frames) {
        bail!("{frames} frames; a clip has 1 to {FRAMES_LIMIT}");
    }
    Ok(frames)
}

/// The frame, made smaller where it has more pixels than allowed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sides of at most 16384 pixels, made smaller"
)]
fn bounded_frame(frame: [usize; 2], max_pixels: Option<u64>) -> [usize; 2] {
    let pixels = frame.map(|side| side as f64).iter().product::<f64>();
    match max_pixels {
        Some(most) if pixels > most as f64 => {
            let shrink = (most as f64 / pixels).sqrt();
            frame.map(|side| (side as f64 * shrink) as usize)
        }
        _ => frame,
    }
}

/// Patches of a clip.
fn grid(config: &ModelConfig, frames: usize, frame: [usize; 2]) -> Grid {
    match &config.arch {
        Architecture::Llava(arch) => square(frames, arch.vision.image_size, arch.vision.patch_size),
        Architecture::SmolVlm(arch) => {
            square(frames, arch.vision.image_size, arch.vision.patch_size)
        }
        Architecture::Qwen2_5Vl(arch) => {
            let merge = arch.spatial_merge_size;
            let unit = merge * arch.patch_size;
            let [h, w] = frame.map(|side| ((side + unit / 2) / unit).max(1) * merge);
            Grid { t: frames.div_ceil(arch.temporal_patch_size), h, w }
        }
    }
}

fn square(frames: usize, side: usize, patch: usize) -> Grid {
    let n = side / patch;
    Grid { t: frames, h: n, w: n }
}

fn show(estimate: &Estimate, visual: usize, grid: Grid) {
    print(&format!(
        "{} parameters, {} trained; a prompt of {} tokens, {visual} of them visual ({} x {} x {} \
         patches)",
        millions(estimate.parameters),
        millions(estimate.trained),
        estimate.prompt_tokens,
        grid.t,
        grid.h,
        grid.w
    ));
    section("all the while", estimate.resident_bytes(), &estimate.resident);
    for phase in &estimate.phases {
        section(phase.name, phase.bytes(), &phase.parts);
    }
    row("a step, at most", estimate.step_bytes());
    row("the run, at most", estimate.run_bytes());
}

fn section(name: &str, bytes: u64, parts: &[Part]) {
    row(name, bytes);
    for part in parts.iter().filter(|part| part.bytes > 0) {
        row(&format!("  {}", part.name), part.bytes);
    }
}

fn row(name: &str, bytes: u64) {
    print(&format!("{name:<52} {:>12}", gigabytes(bytes)));
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.3} GB", bytes as f64 * 1e-9)
}

fn millions(numbers: u64) -> String {
    format!("{:.2} M", numbers as f64 * 1e-6)
}

/// `24GB`, `8GiB`, `500MB`: bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("expected a size such as 24GB, 8GiB or 500MB".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| format!("`{digits}` is no whole number"))?;
    number.checked_mul(unit).ok_or_else(|| "too large".to_owned())
}

/// `360x640`: height and width.
pub(super) fn frame(text: &str) -> Result<[usize; 2], String> {
    let sides: Option<Vec<usize>> = text
        .split('x')
        .map(|side| side.parse().ok().filter(|side| (1..=1 << 14).contains(side)))
        .collect();
    sides
        .and_then(|sides| <[usize; 2]>::try_from(sides).ok())
        .ok_or_else(|| "expected height and width in pixels such as 360x640".to_owned())
}
