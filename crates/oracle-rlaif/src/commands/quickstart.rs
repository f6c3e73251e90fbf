//! `quickstart`: the whole method on ClipWorld, from nothing to a table with intervals.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use oracle_rlaif::folder::{self, Folder};
use oracle_rlaif::recipe::Recipe;
use oracle_rlaif::{memory, source};
use rlaif_data::{Example, write_atomic, write_jsonl};
use rlaif_eval::summary::Stages;
use rlaif_eval::{EvalReport, Gains, ItemResult, RunFacts, Summary, render_summary};
use rlaif_model::Vlm;

use super::progress::{print, say};
use super::{Context, Outcome, eval, report, stage};

/// The recipe that `quickstart` follows; `recipe.toml` in the run folder is the resolved one.
const RECIPE: &str = include_str!("../../../../recipes/quickstart.toml");

/// What `--quick` changes: the same stages, too short to gain much.
const QUICK: [&str; 5] = [
    "data.sft.world.clips=256",
    "sft.max_steps=40",
    "train.max_steps=8",
    "data.train.world.clips=64",
    "data.eval.world.clips=12",
];

#[derive(Debug, clap::Args)]
pub(crate) struct QuickstartArgs {
    /// Run folder; `runs/quickstart`, or the next free number after it, where absent
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seed of weights, data order and sampling
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// All stages in well under a minute, too short to gain much
    #[arg(long)]
    quick: bool,
    /// Override a key of the recipe, for instance `--set train.advantage=linear`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Print `summary.json` instead of the table
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, args: &QuickstartArgs) -> Result<Outcome> {
    let started = Instant::now();
    let mut overrides = vec![format!("seed={}", args.seed)];
    if args.quick {
        overrides.extend(QUICK.map(str::to_owned));
    }
    overrides.extend_from_slice(&args.overrides);
    let recipe = Recipe::parse(RECIPE, &overrides).context("the quickstart's recipe")?;
    let out = folder::fresh(&args.out.clone().unwrap_or_else(free_folder))?;
    write_atomic(out.join("recipe.toml"), recipe.to_toml()?.as_bytes())?;
    context.catch_interrupts()?;

    say("1 of 3: supervised fine-tuning of a small video-language model from random weights");
    let nothing = Folder::from_source(&recipe.model, recipe.seed, &context.device)?;
    let (sft_out, rl_out) = (out.join("sft"), out.join("oracle-rlaif"));
    stage::open_run(&sft_out, &recipe, false)?;
    let Some(sft) = stage::sft(context, &nothing, &recipe, &sft_out, None)? else {
        return Ok(interrupted(&out));
    };
    let start = Folder { model: sft, ..nothing };

    say("2 of 3: an Oracle ranks its sampled answers, GRPO_rank follows the order");
    stage::open_run(&rl_out, &recipe, false)?;
    let Some(policy) = stage::online(context, &start, &recipe, &rl_out, None)? else {
        return Ok(interrupted(&out));
    };

    say("3 of 3: the same questions about held-out videos, to both checkpoints");
    let source = recipe.data.eval.as_ref().context("the quickstart's recipe has no `data.eval`")?;
    let rows = source::rows(source)?;
    let before = evaluated(context, &start, &start.model, &rows, &recipe, "sft", &sft_out)?;
    let after = evaluated(context, &start, &policy, &rows, &recipe, "oracle_rlaif", &rl_out)?;
    let gain = Gains::between(
        ("sft", &before.1),
        ("oracle_rlaif", &after.1),
        &eval::bootstrap(&recipe.eval),
    )?;
    let Some(peak_rss_bytes) = memory::peak_rss_bytes() else {
        anyhow::bail!("this system does not say how much memory the run took");
    };
    let summary = Summary {
        facts: RunFacts {
            wall_seconds: started.elapsed().as_secs_f64(),
            peak_rss_bytes,
            seed: recipe.seed,
        },
        stages: Stages { sft: before.0, oracle_rlaif: after.0 },
        gain,
    };
    write_atomic(out.join("summary.json"), &serde_json::to_vec_pretty(&summary)?)?;
    let html = report::write(&out)?;
    if args.json {
        print(&serde_json::to_string_pretty(&summary)?);
    } else {
        print(render_summary(&summary).trim_end());
    }
    say(&format!("run folder: {}", out.display()));
    say(&format!("report:     {}", html.display()));
    Ok(Outcome::Done)
}

/// Evaluates a checkpoint and keeps its answers beside it.
fn evaluated(
    context: &Context,
    start: &Folder,
    model: &Vlm,
    rows: &[Example],
    recipe: &Recipe,
    name: &str,
    out: &Path,
) -> Result<(EvalReport, Vec<ItemResult>)> {
    let checkpoint = out.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let plan =
        eval::Plan { name, checkpoint: &checkpoint, video: &recipe.video, config: &recipe.eval };
    let (report, items) = eval::evaluate(context, start, model, rows, &plan)?;
    write_jsonl(out.join("answers.jsonl"), &items)?;
    Ok((report, items))
}

/// `runs/quickstart`, or the first of `runs/quickstart-2`, `-3`, ... that is not there.
fn free_folder() -> PathBuf {
    let first = PathBuf::from("runs/quickstart");
    if !first.exists() {
        return first;
    }
    (2..1000)
        .map(|number| PathBuf::from(format!("runs/quickstart-{number}")))
        .find(|path| !path.exists())
        .unwrap_or(first)
}

fn interrupted(out: &Path) -> Outcome {
    say(&format!(
        "stopped; what was trained so far lies in {}. The quickstart starts anew: for runs that \
         resume use `sft` and `train` with {}",
        out.display(),
        out.join("recipe.toml").display()
    ));
    Outcome::Interrupted
}
