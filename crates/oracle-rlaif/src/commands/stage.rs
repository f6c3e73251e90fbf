//! One stage of training in a run folder: what `sft`, `train` and `quickstart` share.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use oracle_rlaif::folder::Folder;
use oracle_rlaif::recipe::Recipe;
use oracle_rlaif::{folder, source};
use rlaif_data::{Example, VideoRef, write_atomic};
use rlaif_model::Vlm;
use rlaif_oracle::{Cancel, OracleWorker};
use rlaif_rollout::PromptError;
use rlaif_train::checkpoint::{self, Checkpoint};
use rlaif_train::{Event, Grpo, Prompted, Run, Sft, SftItem, TrainError, Trainable};
use rlaif_video::BadClipPolicy;

use super::Context;
use super::progress::{Progress, say};

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
        bail!(
            "the recipe is not the one that `{}` was started with; resume with that one: \
             `--recipe {}`",
            out.display(),
            file.display()
        );
    }
    let found = checkpoint::latest(out)?;
    let step = found.as_ref().map_or(0, |checkpoint| checkpoint.state.step);
    rlaif_train::metrics::truncate_after(&out.join("metrics.jsonl"), step)?;
    if found.is_none() {
        say(&format!("`{}` holds no whole checkpoint: starting again", out.display()));
        write_atomic(&file, text.as_bytes())?;
    }
    Ok(found)
}

/// Supervised fine-tuning of `folder`'s model in `out`. `None` where Ctrl-C stopped it.
pub(super) fn sft(
    context: &Context,
    start: &Folder,
    recipe: &Recipe,
    out: &Path,
    resume: Option<&Checkpoint>,
) -> Result<Option<Vlm>> {
    let Some(config) = recipe.sft.clone() else {
        bail!("the recipe has no `[sft]` section");
    };
    let rows = source::rows(recipe.data.sft.as_ref().unwrap_or(&recipe.data.train))?;
    let builder = start.builder(&recipe.video, folder::world_clips(), 0)?;
    let trainable = config.trainable.clone();
    let train_tower = trainable == Trainable::Everything;
    let read = |video: &VideoRef| {
        if train_tower {
            builder.frames(&start.model, video).map(drop)
        } else {
            builder.features(&start.model, video).map(drop)
        }
    };
    let rows = readable(context, rows, recipe.video.on_bad_clip, &read)?;
    let groups = source::by_video(&rows);
    // Built anew each time: frames and features need not all be in memory together.
    let item = |position: usize| -> Result<Arc<SftItem>, TrainError> {
        let members: Vec<&Example> = groups[position].iter().map(|row| &rows[*row]).collect();
        source::sft_item(&start.model, &builder, &members, train_tower).map(Arc::new).map_err(
            |error| TrainError::Prompt {
                id: members.first().map(|row| row.id.clone()).unwrap_or_default(),
                source: format!("{error:#}").into(),
            },
        )
    };

    let vocabulary = rlaif_train::batch::vocabulary(&start.tokenizer, &start.model);
    let total = config.max_steps;
    let mut sft = Sft::new(start.model.clone(), config, vocabulary.forbidden);
    if let Some(from) = resume {
        sft.resume(from)?;
    }
    let mut bar = Progress::start("supervised", total, context.quiet);
    let mut listen = |event: Event<'_>| match event {
        Event::Step { step, metrics, .. } => {
            bar.at(step, format!("loss {:.3}", number(metrics, "loss")));
        }
        Event::Saved { path } => tracing::info!(path = %path.display(), "checkpoint"),
        Event::Phase { .. } => {}
    };
    let mut run =
        Run { folder: Some(out.to_owned()), control: context.control.clone(), listen: &mut listen };
    let save = |model: &Vlm, path: &Path| start.save_checkpoint(model, &trainable, path);
    let whole = sft.train(groups.len(), &item, &mut run, &save)?;
    if !whole {
        bar.done("stopped");
        return Ok(None);
    }
    bar.done(&format!("{total} steps"));
    start.save(&sft.policy, out)?;
    Ok(Some(sft.policy.merged()))
}

/// `GRPO_rank` on `start`'s model in `out`. `None` where Ctrl-C stopped it.
pub(super) fn grpo(
    context: &Context,
    start: &Folder,
    recipe: &Recipe,
    out: &Path,
    resume: Option<&Checkpoint>,
) -> Result<Option<Vlm>> {
    let Some(config) = recipe.train.clone() else {
        bail!("the recipe has no `[train]` section");
    };
    let Some(oracle) = &recipe.oracle else {
        bail!("the recipe has no `[oracle]` section: who ranks?");
    };
    let oracle = rlaif_oracle::build(oracle)?;
    let cancel = Cancel::new();
    let oracle = OracleWorker::start(oracle, &cancel).context("the Oracle's thread")?;
    let rows = source::rows(&recipe.data.train)?;
    let builder = start.builder(
        &recipe.video,
        folder::world_clips(),
        config.sampling.max_completion_length,
    )?;
    let read = |video: &VideoRef| builder.features(&start.model, video).map(drop);
    let rows = readable(context, rows, recipe.video.on_bad_clip, &read)?;

    let (total, trainable) = (config.max_steps, config.trainable.clone());
    let mut grpo = Grpo::new(start.model.clone(), config, start.tokenizer.clone(), oracle)?;
    if let Some(from) = resume {
        grpo.resume(from)?;
    }
    let mut bar = Progress::start("oracle-ranked", total, context.quiet);
    let mut done = grpo.step;
    let mut listen = |event: Event<'_>| match event {
        Event::Phase { name, .. } => bar.at(done, name),
        Event::Step { step, metrics, .. } => {
            done = step;
            bar.at(
                step,
                format!(
                    "ndcg {:.3} kl {:.3} length {:.1}",
                    number(metrics, "rank/ndcg"),
                    number(metrics, "kl"),
                    number(metrics, "completions/mean_length")
                ),
            );
        }
        Event::Saved { path } => tracing::info!(path = %path.display(), "checkpoint"),
    };
    let mut run =
        Run { folder: Some(out.to_owned()), control: context.control.clone(), listen: &mut listen };
    // Built anew each time: features come from the cache, whose size is bounded.
    let prompt = |position: usize| -> Result<Arc<Prompted>, TrainError> {
        let example: &Example = &rows[position];
        let input = builder.prompt(&start.model, example).map_err(|source| TrainError::Prompt {
            id: example.id.clone(),
            source: source.into(),
        })?;
        Ok(Arc::new(Prompted { position: position as u64, example: example.clone(), input }))
    };
    let save = |model: &Vlm, path: &Path| start.save_checkpoint(model, &trainable, path);
    let whole = grpo.train(rows.len(), &prompt, &mut run, &save)?;
    if !whole {
        bar.done("stopped");
        return Ok(None);
    }
    bar.done(&format!("{total} steps"));
    start.save(&grpo.policy, out)?;
    Ok(Some(grpo.policy.merged()))
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

/// A metric for the bar; not a number where it is missing.
fn number(metrics: &rlaif_train::Metrics, name: &str) -> f64 {
    metrics.get(name).copied().unwrap_or(f64::NAN)
}

/// Says how to go on after Ctrl-C.
pub(super) fn say_how_to_resume(command: &str, out: &Path) {
    say(&format!("stopped; go on with: oracle-rlaif {command} --out {} --resume", out.display()));
}
