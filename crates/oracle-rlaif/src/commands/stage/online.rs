//! The methods that learn from sampled groups: `GRPO_rank`, GRPO, RLOO and PPO.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use oracle_rlaif::folder::{self, Folder};
use oracle_rlaif::recipe::Recipe;
use oracle_rlaif::{judges, source};
use rlaif_data::{Example, VideoRef};
use rlaif_model::{ScalarVlm, Vlm};
use rlaif_oracle::{Cancel, OracleWorker};
use rlaif_train::checkpoint::Checkpoint;
use rlaif_train::grpo::Grpo;
use rlaif_train::grpo_rank::GrpoRank;
use rlaif_train::ppo::Ppo;
use rlaif_train::rloo::Rloo;
use rlaif_train::{GrpoConfig, Method, MethodKind, Metrics, Online, Prompted, TrainError};

use super::{number, readable, run_loop};
use crate::commands::Context;
use crate::commands::progress::Progress;

/// `[train]` on `start`'s model in `out`. `None` where Ctrl-C stopped it.
pub(in crate::commands) fn online(
    context: &Context,
    start: &Folder,
    recipe: &Recipe,
    out: &Path,
    resume: Option<&Checkpoint>,
) -> Result<Option<Vlm>> {
    let Some(config) = recipe.train.clone() else {
        bail!("the recipe has no `[train]` section");
    };
    let rows = source::rows(&recipe.data.train)?;
    let builder = start.builder(
        &recipe.video,
        folder::world_clips(),
        config.sampling.max_completion_length,
    )?;
    let method = method(context, recipe, out, &config, &start.model, &builder.tower_digest)?;
    let read = |video: &VideoRef| builder.features(&start.model, video).map(drop);
    let rows = readable(context, rows, recipe.video.on_bad_clip, &read)?;

    let (total, trainable, scored) =
        (config.max_steps, config.trainable.clone(), config.method.is_scored());
    let title = match config.method {
        MethodKind::GrpoRank => "oracle-ranked",
        MethodKind::Grpo => "grpo",
        MethodKind::Rloo => "rloo",
        MethodKind::Ppo => "ppo",
    };
    let mut online = Online::new(start.model.clone(), config, start.tokenizer.clone(), method)?;
    if let Some(from) = resume {
        online.resume(from)?;
    }
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
    let say = |metrics: &Metrics| {
        let (name, key) = if scored { ("reward", "reward") } else { ("ndcg", "rank/ndcg") };
        format!(
            "{name} {:.3} kl {:.3} length {:.1}",
            number(metrics, key),
            number(metrics, "kl"),
            number(metrics, "completions/mean_length")
        )
    };
    let bar = Progress::start(title, total, context.quiet);
    let done = online.step;
    let whole = run_loop(context, out, bar, total, done, &say, |run| {
        online.train(rows.len(), &prompt, run, &save)
    })?;
    if !whole {
        return Ok(None);
    }
    start.save(&online.policy, out)?;
    Ok(Some(online.policy.merged()))
}

/// The method with its judge.
fn method(
    context: &Context,
    recipe: &Recipe,
    out: &Path,
    config: &GrpoConfig,
    policy: &Vlm,
    tower_digest: &str,
) -> Result<Box<dyn Method>> {
    if config.method == MethodKind::GrpoRank {
        let oracle = judges::of_run(recipe, out, &context.device)?;
        let oracle = OracleWorker::start(oracle, &Cancel::new()).context("the Oracle's thread")?;
        return Ok(Box::new(GrpoRank::new(oracle, recipe.ranking.clone())));
    }
    let source = judges::reward(recipe.reward.as_ref(), &recipe.video, &context.device)?;
    Ok(match config.method {
        MethodKind::Grpo => Box::new(Grpo::new(source.reward)),
        MethodKind::Rloo => Box::new(Rloo::new(source.reward)),
        _ => {
            // The critic begins as the reward model, or as the policy where there is none.
            let (start, digest) =
                source.critic.unwrap_or((policy.clone(), tower_digest.to_owned()));
            if digest != tower_digest {
                bail!(
                    "the reward model sees with another vision tower than the policy, and PPO's \
                     critic reads the policy's clips; train the reward model from the same \
                     checkpoint"
                );
            }
            let critic = ScalarVlm::new(start);
            Box::new(Ppo::new(source.reward, critic, config.trainable.clone(), config.seed))
        }
    })
}
