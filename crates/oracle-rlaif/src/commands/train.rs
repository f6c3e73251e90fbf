//! `train`: fine-tuning from an Oracle's rankings, or from a reward's scores.

use std::path::PathBuf;

use anyhow::Result;
use oracle_rlaif::folder::Folder;
use rlaif_train::{MethodKind, TrainError};

use super::progress::say;
use super::{Context, Outcome, RecipeArgs, eval, stage};

#[derive(Debug, clap::Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Run folder: the checkpoint, its metrics, what was sampled, and its recipe
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go on from the last whole checkpoint in the run folder
    #[arg(long)]
    resume: bool,
}

pub(crate) fn run(context: &Context, args: &TrainArgs) -> Result<Outcome> {
    let recipe = args.recipe.read()?;
    context.catch_interrupts()?;
    let start = Folder::from_source(&recipe.model, recipe.seed, &context.device)?;
    let from = stage::open_run(&args.out, &recipe, args.resume)?;
    let trained = stage::online(context, &start, &recipe, &args.out, from.as_ref());
    let stopped = |error: &anyhow::Error| {
        matches!(
            error.downcast_ref(),
            Some(TrainError::OracleStopped { .. } | TrainError::NothingRanked { .. })
        )
    };
    if matches!(&trained, Ok(None)) || trained.as_ref().is_err_and(stopped) {
        let command = format!("train --recipe {}", args.recipe.recipe.display());
        stage::say_how_to_resume(&command, &args.out);
    }
    let Some(policy) = trained? else { return Ok(Outcome::Interrupted) };
    say(&format!("checkpoint: {}", args.out.display()));
    let method = recipe.train.as_ref().map(|train| train.method).unwrap_or_default();
    let name = match method {
        MethodKind::GrpoRank => "oracle_rlaif",
        MethodKind::Grpo => "grpo",
        MethodKind::Rloo => "rloo",
        MethodKind::Ppo => "ppo",
    };
    if recipe.data.eval.is_some() {
        eval::compare(context, &start, &policy, &recipe, &args.out, name)?;
    }
    say(&format!("report: {}", super::report::write(&args.out)?.display()));
    Ok(Outcome::Done)
}
