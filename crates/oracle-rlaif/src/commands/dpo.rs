//! `dpo`: fine-tuning from preference pairs.

use std::path::PathBuf;

use anyhow::Result;
use oracle_rlaif::folder::Folder;

use super::progress::say;
use super::{Context, Outcome, RecipeArgs, eval, stage};

#[derive(Debug, clap::Args)]
pub(crate) struct DpoArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Run folder: the checkpoint, its metrics and its recipe
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go on from the last whole checkpoint in the run folder
    #[arg(long)]
    resume: bool,
}

pub(crate) fn run(context: &Context, args: &DpoArgs) -> Result<Outcome> {
    let recipe = args.recipe.read()?;
    context.catch_interrupts()?;
    let start = Folder::from_source(&recipe.model, recipe.seed, &context.device)?;
    let from = stage::open_run(&args.out, &recipe, args.resume)?;
    let Some(policy) = stage::dpo(context, &start, &recipe, &args.out, from.as_ref())? else {
        let command = format!("dpo --recipe {}", args.recipe.recipe.display());
        stage::say_how_to_resume(&command, &args.out);
        return Ok(Outcome::Interrupted);
    };
    say(&format!("checkpoint: {}", args.out.display()));
    if recipe.data.eval.is_some() {
        eval::compare(context, &start, &policy, &recipe, &args.out, "dpo")?;
    }
    say(&format!("report: {}", super::report::write(&args.out)?.display()));
    Ok(Outcome::Done)
}
