//! `recipe check`: is the recipe sound, what are all its values, and does its run fit?

use std::path::PathBuf;

use anyhow::Result;

use super::progress::print;
use super::{Outcome, RecipeArgs};

mod memory;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum RecipeCommand {
    /// Check a recipe and print it with every default filled in
    ///
    /// With `--memory` or `--config` it prints what the steps of `[train]` take instead, estimated
    /// from shapes: no weights are read.
    Check(CheckArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Memory that a step has to fit into, for instance 24GB or 8GiB
    #[arg(long, value_name = "SIZE", value_parser = memory::size)]
    memory: Option<u64>,
    /// `config.json` of the model, or its folder; without it, the recipe's own model
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Whose operations compute: the CPU's fused ones, or Burn's own on a GPU, which hold more
    #[arg(long, value_enum, default_value_t = memory::Place::Cpu)]
    on: memory::Place,
    /// Tokens of a prompt beside the visual ones
    #[arg(long, value_name = "TOKENS", default_value_t = 128)]
    text_tokens: usize,
    /// Frames of a clip; without it, the most that the recipe's `video.sampling` takes
    #[arg(long)]
    frames: Option<usize>,
    /// Height and width of frames where the model takes them as they are (Qwen2.5-VL)
    #[arg(long, value_name = "HEIGHTxWIDTH", value_parser = memory::frame, default_value = "360x640")]
    frame_size: [usize; 2],
}

pub(crate) fn run(command: &RecipeCommand) -> Result<Outcome> {
    let RecipeCommand::Check(args) = command;
    let recipe = args.recipe.read()?;
    if args.memory.is_some() || args.config.is_some() {
        memory::check(&recipe, args)?;
    } else {
        print(recipe.to_toml()?.trim_end());
    }
    Ok(Outcome::Done)
}
