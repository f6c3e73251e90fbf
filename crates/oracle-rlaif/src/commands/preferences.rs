//! `preferences`: sampled answers, a judge's order, pairs.

use std::path::PathBuf;

use anyhow::Result;
use oracle_rlaif::folder::Folder;

use super::progress::{print, say};
use super::{Context, Outcome, RecipeArgs, stage};

#[derive(Debug, clap::Args)]
pub(crate) struct PreferencesArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Folder for `trl.jsonl`, `vlm-rlaif.jsonl`, `vlm-rlaif.json`, `judged.jsonl` and `collected.json`
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go on after the questions that were judged already
    #[arg(long)]
    resume: bool,
    /// Print what was collected as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, args: &PreferencesArgs) -> Result<Outcome> {
    let recipe = args.recipe.read()?;
    context.catch_interrupts()?;
    let start = Folder::from_source(&recipe.model, recipe.seed, &context.device)?;
    stage::open_run(&args.out, &recipe, args.resume)?;
    let Some(collected) = stage::preferences(context, &start, &recipe, &args.out)? else {
        let command = format!("preferences --recipe {}", args.recipe.recipe.display());
        stage::say_how_to_resume(&command, &args.out);
        return Ok(Outcome::Interrupted);
    };
    if args.json {
        print(&serde_json::to_string_pretty(&collected)?);
    } else {
        print(&format!(
            "questions judged  {}\nanswers sampled   {}\nwithout an order  {}\nall tied          \
             {}\npairs written     {}",
            collected.groups,
            collected.completions,
            collected.failures,
            collected.all_tied,
            collected.pairs
        ));
    }
    say(&format!("pairs: {}", args.out.join("trl.jsonl").display()));
    Ok(Outcome::Done)
}
