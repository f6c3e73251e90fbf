//! Supervised fine-tuning.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use oracle_rlaif::folder::Folder;
use oracle_rlaif::recipe::Recipe;
use oracle_rlaif::{folder, source};
use rlaif_data::{Example, VideoRef};
use rlaif_model::Vlm;
use rlaif_train::checkpoint::Checkpoint;
use rlaif_train::{Metrics, Sft, SftItem, TrainError, Trainable};

use super::{number, readable, run_loop};
use crate::commands::Context;
use crate::commands::progress::Progress;

/// Supervised fine-tuning of `folder`'s model in `out`. `None` where Ctrl-C stopped it.
pub(in crate::commands) fn sft(
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
    let mut sft = Sft::new(start.model.clone(), config, vocabulary.forbidden)?;
    if let Some(from) = resume {
        sft.resume(from)?;
    }
    let bar = Progress::start("supervised", total, context.quiet);
    let save = |model: &Vlm, path: &Path| start.save_checkpoint(model, &trainable, path);
    let say = |metrics: &Metrics| format!("loss {:.3}", number(metrics, "loss"));
    let done = sft.step;
    let whole = run_loop(context, out, bar, total, done, &say, |run| {
        sft.train(groups.len(), &item, run, &save)
    })?;
    if !whole {
        return Ok(None);
    }
    start.save(&sft.policy, out)?;
    Ok(Some(sft.policy.merged()))
}
