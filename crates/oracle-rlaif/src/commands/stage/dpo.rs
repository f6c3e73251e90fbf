//! Direct preference optimization.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use oracle_rlaif::folder::{self, Folder};
use oracle_rlaif::pairs;
use oracle_rlaif::recipe::Recipe;
use rlaif_model::Vlm;
use rlaif_train::checkpoint::Checkpoint;
use rlaif_train::{Dpo, Metrics, SftItem, TrainError};

use super::{number, readable_pairs, run_loop};
use crate::commands::Context;
use crate::commands::progress::Progress;

/// `[dpo]` on `start`'s model in `out`. `None` where Ctrl-C stopped it.
pub(in crate::commands) fn dpo(
    context: &Context,
    start: &Folder,
    recipe: &Recipe,
    out: &Path,
    resume: Option<&Checkpoint>,
) -> Result<Option<Vlm>> {
    let Some(config) = recipe.dpo.clone() else {
        bail!("the recipe has no `[dpo]` section");
    };
    let source = recipe.data.preferences.as_ref();
    let all = pairs::read(source.context("the recipe has no `data.preferences`: which pairs?")?)?;
    let builder = start.builder(&recipe.video, folder::world_clips(), 0)?;
    let all = readable_pairs(context, all, recipe.video.on_bad_clip, &|video| {
        builder.features(&start.model, video).map(drop)
    })?;
    let pair = |position: usize| -> Result<Arc<SftItem>, TrainError> {
        let pair = &all[position];
        let item = pairs::answered(&start.model, &builder, pair);
        item.map(Arc::new).map_err(|error| TrainError::Prompt {
            id: pair.id.clone(),
            source: format!("{error:#}").into(),
        })
    };
    let (total, trainable) = (config.max_steps, config.trainable.clone());
    let vocabulary = rlaif_train::batch::vocabulary(&start.tokenizer, &start.model);
    let mut dpo = Dpo::new(start.model.clone(), config, vocabulary.forbidden)?;
    if let Some(from) = resume {
        dpo.resume(from)?;
    }
    let save = |model: &Vlm, path: &Path| start.save_checkpoint(model, &trainable, path);
    let say = |metrics: &Metrics| {
        format!(
            "loss {:.3} accuracy {:.2}",
            number(metrics, "loss"),
            number(metrics, "rewards/accuracies")
        )
    };
    let bar = Progress::start("dpo", total, context.quiet);
    let done = dpo.step;
    let whole = run_loop(context, out, bar, total, done, &say, |run| {
        dpo.train(all.len(), &pair, run, &save)
    })?;
    if !whole {
        return Ok(None);
    }
    start.save(&dpo.policy, out)?;
    Ok(Some(dpo.policy.merged()))
}
