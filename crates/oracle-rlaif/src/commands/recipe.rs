//! `recipe check`: is the recipe sound, and what are all its values?

use anyhow::Result;

use super::progress::print;
use super::{Outcome, RecipeArgs};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum RecipeCommand {
    /// Check a recipe and print it with every default filled in
    Check(RecipeArgs),
}

pub(crate) fn run(command: &RecipeCommand) -> Result<Outcome> {
    let RecipeCommand::Check(args) = command;
    print(args.read()?.to_toml()?.trim_end());
    Ok(Outcome::Done)
}
