//! `reward`: a reward model from preference pairs.

use std::path::PathBuf;

use anyhow::Result;
use oracle_rlaif::folder::Folder;

use super::progress::{print, say};
use super::{Context, Outcome, RecipeArgs, stage};

#[derive(Debug, clap::Args)]
pub(crate) struct RewardArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Run folder: the reward model, its metrics, its grade on held-out pairs, and its recipe
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go on from the last whole checkpoint in the run folder
    #[arg(long)]
    resume: bool,
    /// Print the grade as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, args: &RewardArgs) -> Result<Outcome> {
    let recipe = args.recipe.read()?;
    context.catch_interrupts()?;
    let start = Folder::from_source(&recipe.model, recipe.seed, &context.device)?;
    let from = stage::open_run(&args.out, &recipe, args.resume)?;
    let Some(report) = stage::reward_model(context, &start, &recipe, &args.out, from.as_ref())?
    else {
        let command = format!("reward --recipe {}", args.recipe.recipe.display());
        stage::say_how_to_resume(&command, &args.out);
        return Ok(Outcome::Interrupted);
    };
    if args.json {
        print(&serde_json::to_string_pretty(&report)?);
    } else if let Some(grade) = &report.held_out {
        print(&format!(
            "held-out pairs  {:>6}\naccuracy        {:>6.1} % [{:.1}, {:.1}]\nnll             \
             {:>6.3} (knowing nothing: 0.693)\nbrier           {:>6.3} (knowing nothing: \
             0.250)\ncalibration err {:>6.3}",
            grade.n,
            100.0 * grade.accuracy,
            100.0 * grade.ci95[0],
            100.0 * grade.ci95[1],
            grade.nll,
            grade.brier,
            grade.ece
        ));
    } else {
        say("no pairs were held out: the reward model was not graded");
    }
    say(&format!("reward model: {}", args.out.display()));
    say(&format!("report: {}", super::report::write(&args.out)?.display()));
    Ok(Outcome::Done)
}
