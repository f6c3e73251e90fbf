//! Stages in a run folder: what the commands share. Each trains or collects what its section of the
//! recipe says, and stops in good order when asked.

use std::path::Path;

use anyhow::{Result, bail};
use oracle_rlaif::recipe::Recipe;
use oracle_rlaif::{folder, source};
use rlaif_data::{Example, Preference, VideoRef, write_atomic};
use rlaif_rollout::PromptError;
use rlaif_train::checkpoint::{self, Checkpoint};
use rlaif_train::{Event, Metrics, Run, TrainError};
use rlaif_video::BadClipPolicy;

use super::Context;
use super::progress::{Progress, say};

mod dpo;
mod online;
mod preferences;
mod reward_model;
mod sft;

pub(super) use dpo::dpo;
pub(super) use online::online;
pub(super) use preferences::{Collected, preferences};
pub(super) use reward_model::{RewardModelReport, reward_model};
pub(super) use sft::sft;

/// Runs a loop with a bar, its metrics and checkpoints in `out`. Returns true where it reached the
/// end.
fn run_loop(
    context: &Context,
    out: &Path,
    bar: Progress,
    total: u64,
    done: u64,
    say: &dyn Fn(&Metrics) -> String,
    train: impl FnOnce(&mut Run<'_>) -> Result<bool, TrainError>,
) -> Result<bool> {
    let (mut bar, mut done) = (bar, done);
    let mut listen = |event: Event<'_>| match event {
        Event::Phase { name, .. } => bar.at(done, name),
        Event::Step { step, metrics, .. } => {
            done = step;
            bar.at(step, say(metrics));
        }
        Event::Saved { path } => tracing::info!(path = %path.display(), "checkpoint"),
    };
    let mut run =
        Run { folder: Some(out.to_owned()), control: context.control.clone(), listen: &mut listen };
    let whole = train(&mut run)?;
    bar.done(&if whole { format!("{total} steps") } else { "stopped".to_owned() });
    Ok(whole)
}

/// Prepares a run folder: new, or one to go on with. Returns the checkpoint to go on from.
pub(super) fn open_run(out: &Path, recipe: &Recipe, resume: bool) -> Result<Option<Checkpoint>> {
    let text = recipe.to_toml()?;
    let file = out.join("recipe.toml");
    if !resume {
        folder::fresh(out)?;
        write_atomic(&file, text.as_bytes())?;
        return Ok(None);
    }
    if !out.is_dir() {
        bail!("`{}` is no run folder to resume", out.display());
    }
    if let Ok(before) = std::fs::read_to_string(&file)
        && before != text
    {
        if without_limits(&before) == without_limits(&text) {
            // A larger budget or another rate: the run is the same.
            write_atomic(&file, text.as_bytes())?;
            return whole(out);
        }
        bail!(
            "the recipe is not the one that `{}` was started with; resume with that one: \
             `--recipe {}`",
            out.display(),
            file.display()
        );
    }
    let found = whole(out)?;
    if found.is_none() {
        write_atomic(&file, text.as_bytes())?;
    }
    Ok(found)
}

/// The last whole checkpoint, with the metrics cut after its step.
fn whole(out: &Path) -> Result<Option<Checkpoint>> {
    let found = checkpoint::latest(out)?;
    let step = found.as_ref().map_or(0, |checkpoint| checkpoint.state.step);
    rlaif_train::metrics::truncate_after(&out.join("metrics.jsonl"), step)?;
    if found.is_none() {
        say(&format!("`{}` holds no whole checkpoint: starting again", out.display()));
    }
    Ok(found)
}

/// A recipe without the limits of its Oracles, which change no verdict; none where it is no TOML.
fn without_limits(recipe: &str) -> Option<toml::Table> {
    let mut table: toml::Table = toml::from_str(recipe).ok()?;
    let entries = match table.get_mut("oracle") {
        Some(toml::Value::Array(entries)) => entries.as_mut_slice(),
        Some(one) => std::slice::from_mut(one),
        None => &mut [],
    };
    for entry in entries {
        entry.as_table_mut().map(|entry| entry.remove("limits"));
    }
    Some(table)
}

/// [`source::readable`] with its progress shown.
fn readable(
    context: &Context,
    rows: Vec<Example>,
    policy: BadClipPolicy,
    read: &dyn Fn(&VideoRef) -> Result<(), PromptError>,
) -> Result<Vec<Example>> {
    let mut bar = Progress::start("reading clips", rows.len() as u64, context.quiet);
    let (kept, counts) = source::readable(rows, policy, read, &mut |done| bar.at(done as u64, ""))?;
    bar.done(&counts.to_string());
    Ok(kept)
}

/// The pairs whose clips can be read, each clip read once.
fn readable_pairs(
    context: &Context,
    pairs: Vec<Preference>,
    policy: BadClipPolicy,
    read: &dyn Fn(&VideoRef) -> Result<(), PromptError>,
) -> Result<Vec<Preference>> {
    let mut bar = Progress::start("reading clips", pairs.len() as u64, context.quiet);
    let (kept, counts) =
        source::readable(pairs, policy, read, &mut |done| bar.at(done as u64, ""))?;
    bar.done(&counts.to_string());
    Ok(kept)
}

/// A metric for the bar; not a number where it is missing.
fn number(metrics: &Metrics, name: &str) -> f64 {
    metrics.get(name).copied().unwrap_or(f64::NAN)
}

/// Says how to go on after Ctrl-C.
pub(super) fn say_how_to_resume(command: &str, out: &Path) {
    say(&format!("stopped; go on with: oracle-rlaif {command} --out {} --resume", out.display()));
}
