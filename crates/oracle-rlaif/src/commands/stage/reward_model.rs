//! Training a reward model, and grading it on pairs that it never saw.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use oracle_rlaif::folder::{self, Folder};
use oracle_rlaif::pairs::{self, HeldOut};
use oracle_rlaif::recipe::Recipe;
use oracle_rlaif::reward_model::Settings;
use rlaif_data::write_atomic;
use rlaif_eval::Calibration;
use rlaif_model::{LoadError, ScalarVlm};
use rlaif_train::checkpoint::Checkpoint;
use rlaif_train::reward_model::ScoredItem;
use rlaif_train::{Metrics, RewardTraining, TrainError, Trainable};
use serde::{Deserialize, Serialize};

use super::{number, readable_pairs, run_loop};
use crate::commands::Context;
use crate::commands::progress::Progress;

/// `held-out.json` of a reward model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::commands) struct RewardModelReport {
    /// Pairs trained on.
    pub(in crate::commands) train_pairs: usize,
    /// Accuracy and calibration on pairs about other videos; absent where none were held out.
    pub(in crate::commands) held_out: Option<Calibration>,
}

/// `[reward_model]` from `start`'s model in `out`. `None` where Ctrl-C stopped it.
pub(in crate::commands) fn reward_model(
    context: &Context,
    start: &Folder,
    recipe: &Recipe,
    out: &Path,
    resume: Option<&Checkpoint>,
) -> Result<Option<RewardModelReport>> {
    let Some(config) = recipe.reward_model.clone() else {
        bail!("the recipe has no `[reward_model]` section");
    };
    if config.trainable == Trainable::Everything {
        bail!(
            "`reward_model.trainable` cannot be `everything`: the tower stays that of the policy, \
             whose features are computed once"
        );
    }
    let source = recipe.data.preferences.as_ref();
    let all = pairs::read(source.context("the recipe has no `data.preferences`: which pairs?")?)?;
    let mut settings = Settings::of(&config);
    let room = start.tokenizer.encode_continuation(settings.opening.trim())?.len();
    let builder = start.builder(&recipe.video, folder::world_clips(), room)?;
    let all = readable_pairs(context, all, recipe.video.on_bad_clip, &|video| {
        builder.features(&start.model, video).map(drop)
    })?;
    let (train, held) = pairs::split(all, config.held_out);

    let (total, trainable, together) =
        (config.max_steps, config.trainable.clone(), config.pairs_per_batch);
    let mut work = RewardTraining::new(start.model.clone(), config)?;
    if let Some(from) = resume {
        work.resume(from)?;
    }
    // The prompts of all pairs are built with the model as it stands; only its sizes matter.
    let sizes = ScalarVlm::new(start.model.clone());
    let pair = |position: usize| -> Result<Arc<ScoredItem>, TrainError> {
        let pair = &train[position];
        pairs::compared(&sizes, &builder, &settings, pair).map(Arc::new).map_err(|error| {
            TrainError::Prompt { id: pair.id.clone(), source: format!("{error:#}").into() }
        })
    };
    let save = |model: &ScalarVlm, path: &Path| -> Result<(), LoadError> {
        start.save_checkpoint(&model.vlm, &trainable, path)?;
        model.save_head(path)
    };
    let say = |metrics: &Metrics| {
        format!("loss {:.3} accuracy {:.2}", number(metrics, "loss"), number(metrics, "accuracy"))
    };
    let bar = Progress::start("reward model", total, context.quiet);
    let done = work.step;
    let whole = run_loop(context, out, bar, total, done, &say, |run| {
        work.train(train.len(), &pair, run, &save)
    })?;
    if !whole {
        return Ok(None);
    }

    let model = work.model.merged();
    let mut bar = Progress::start("held-out pairs", held.len() as u64, context.quiet);
    let grade = pairs::held_out(&model, &builder, &settings, &held, together, &mut |n| {
        bar.at(n as u64, "");
    })?;
    bar.done(&format!("{} pairs", held.len()));
    if let Some(HeldOut { mean, std, .. }) = &grade {
        settings.mean = *mean;
        settings.std = if *std > 0.0 { *std } else { 1.0 };
    }
    start.save(&model.vlm, out)?;
    model.save_head(out)?;
    settings.save(out)?;
    let report = RewardModelReport {
        train_pairs: train.len(),
        held_out: grade.map(|grade| grade.calibration),
    };
    write_atomic(out.join("held-out.json"), &serde_json::to_vec_pretty(&report)?)?;
    Ok(Some(report))
}
