//! The cells of the experiment: which there are, what each is run with, what becomes of them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use oracle_rlaif::folder::Folder;
use oracle_rlaif::recipe::Recipe;
use oracle_rlaif::source;
use rlaif_data::Example;
use rlaif_eval::comparison::Selection;

use super::cell::{Exam, cell};
use super::plan::{Arm, Learns};
use crate::commands::Context;
use crate::commands::progress::say;
use crate::commands::stage::{self, Collected, RewardModelReport};

/// Points of a learning curve.
const POINTS: u64 = 5;

/// The experiment.
pub(super) struct Experiment<'a> {
    pub(super) context: &'a Context,
    /// Recipe that all cells are made of, and its text.
    pub(super) text: &'a str,
    pub(super) overrides: &'a [String],
    pub(super) out: &'a Path,
    /// Learning rates tried.
    pub(super) grid: Vec<f64>,
    /// Seeds of the runs; learning rates are chosen under the first.
    pub(super) seeds: Vec<u64>,
}

/// What ended in good order, or was stopped by Ctrl-C.
pub(super) type Stoppable<T> = Result<Option<T>>;

/// `?` for [`Stoppable`].
macro_rules! or_stop {
    ($value:expr) => {
        match $value? {
            Some(value) => value,
            None => return Ok(None),
        }
    };
}
pub(super) use or_stop;

/// What every method may use: verdicts of the judge, and completions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) calls: u64,
    pub(super) completions: u64,
}

impl Experiment<'_> {
    /// The recipe of a cell.
    pub(super) fn recipe(&self, seed: u64, more: &[String]) -> Result<Recipe> {
        let mut overrides = self.overrides.to_vec();
        overrides.push(format!("seed={seed}"));
        let cache = self.out.join(format!("seed-{seed}/features"));
        overrides.push(format!("video.cache_dir='{}'", absolute(&cache).display()));
        overrides.extend_from_slice(more);
        Recipe::parse(self.text, &overrides).context("the experiment's recipe")
    }

    /// What the recipe's `[train]` uses up.
    pub(super) fn budget(&self) -> Result<Budget> {
        let recipe = self.recipe(0, &[])?;
        let train = recipe.train.context("the experiment's recipe has no `[train]`")?;
        let calls = train.max_steps * train.prompts_per_step as u64;
        Ok(Budget { calls, completions: calls * train.num_generations as u64 })
    }

    pub(super) fn seed_folder(&self, seed: u64) -> PathBuf {
        self.out.join(format!("seed-{seed}"))
    }

    /// The supervised checkpoint of a seed.
    pub(super) fn start(&self, seed: u64) -> Stoppable<(PathBuf, f64)> {
        let folder = self.seed_folder(seed).join("sft");
        // The other sections say nothing about it, and a study may set them otherwise.
        let whole = self.recipe(seed, &[])?;
        let recipe = Recipe {
            oracle: None,
            preferences: None,
            reward_model: None,
            dpo: None,
            train: None,
            ..whole
        };
        self.announce(seed, "supervised start", &folder);
        let ((), seconds) = or_stop!(cell(&folder, &recipe, |from| {
            let nothing = Folder::from_source(&recipe.model, seed, &self.context.device)?;
            let trained = stage::sft(self.context, &nothing, &recipe, &folder, from)?;
            Ok(trained.map(|_| ()))
        }));
        Ok(Some((folder, seconds)))
    }

    /// Judged answers of a seed's supervised checkpoint, `answers` to a question.
    fn preferences(
        &self,
        seed: u64,
        answers: usize,
        pairs: &str,
    ) -> Stoppable<(PathBuf, Collected, f64)> {
        let (start, _) = or_stop!(self.start(seed));
        let folder = self.seed_folder(seed).join(format!("preferences-{pairs}"));
        let recipe = self.recipe(
            seed,
            &[
                from(&start),
                format!("preferences.prompts={}", self.budget()?.calls),
                format!("preferences.num_generations={answers}"),
                format!("preferences.pairs={pairs}"),
            ],
        )?;
        self.announce(seed, &format!("preferences, {answers} answers"), &folder);
        let (collected, seconds) = or_stop!(cell(&folder, &recipe, |_| {
            let start = Folder::from_source(&recipe.model, seed, &self.context.device)?;
            stage::preferences(self.context, &start, &recipe, &folder)
        }));
        Ok(Some((folder, collected, seconds)))
    }

    /// A reward model of a seed under one learning rate, and its accuracy on held-out pairs.
    fn reward_model(&self, seed: u64, narrative: bool, rate: f64) -> Stoppable<Trained> {
        let (start, _) = or_stop!(self.start(seed));
        let base = self.recipe(seed, &[])?;
        let answers = base.preferences.context("the recipe has no `[preferences]`")?;
        let (pairs, collected, before) =
            or_stop!(self.preferences(seed, answers.num_generations, "all"));
        let kind = if narrative { "narrative" } else { "plain" };
        let folder = self.seed_folder(seed).join(format!("reward-{kind}/lr-{rate:e}"));
        let config = base.reward_model.context("the recipe has no `[reward_model]`")?;
        // One pass over the pairs (VLM-RLAIF).
        let held = 1.0 - config.held_out;
        let steps = steps(collected.pairs as f64 * held / config.batch_size as f64);
        let recipe = self.recipe(
            seed,
            &[
                from(&start),
                format!("data.preferences.path='{}'", absolute(&pairs.join("trl.jsonl")).display()),
                format!("reward_model.narrative={narrative}"),
                format!("reward_model.learning_rate={rate}"),
                format!("reward_model.max_steps={steps}"),
            ],
        )?;
        self.announce(seed, &format!("reward model ({kind}), lr {rate:e}"), &folder);
        let (report, seconds): (RewardModelReport, f64) =
            or_stop!(cell(&folder, &recipe, |from| {
                let start = Folder::from_source(&recipe.model, seed, &self.context.device)?;
                stage::reward_model(self.context, &start, &recipe, &folder, from)
            }));
        let accuracy = report.held_out.map_or(0.0, |grade| grade.accuracy);
        Ok(Some(Trained {
            folder,
            accuracy,
            before: Before {
                seconds: before + seconds,
                judge_seconds: collected.judge_seconds,
                completions: collected.completions as u64,
                calls: collected.groups as u64,
            },
        }))
    }

    /// The learning rate whose reward model is right most often, under the first seed.
    pub(super) fn best_reward_rate(&self, narrative: bool) -> Stoppable<Selection> {
        let mut candidates = Vec::new();
        for rate in &self.grid {
            let trained = or_stop!(self.reward_model(self.seeds[0], narrative, *rate));
            candidates.push((*rate, trained.accuracy));
        }
        let kind = if narrative { "with narratives" } else { "without narratives" };
        Ok(Some(selection(format!("reward model {kind} (held-out pairs)"), candidates)))
    }

    /// One arm of a seed under one learning rate: its folder, and what came before and of it.
    pub(super) fn arm(&self, seed: u64, arm: &Arm, rate: f64, place: &str) -> Stoppable<Trained> {
        let (start, sft_seconds) = or_stop!(self.start(seed));
        if arm.learns == Learns::Nothing {
            let before = Before { seconds: sft_seconds, ..Before::default() };
            return Ok(Some(Trained { folder: start, accuracy: 0.0, before }));
        }
        let budget = self.budget()?;
        let mut more = vec![from(&start)];
        more.extend_from_slice(&arm.overrides);
        let mut before = Before::default();
        match arm.learns {
            Learns::Scores | Learns::Order => {
                let narrative = arm.learns == Learns::Scores;
                let best = or_stop!(self.best_reward_rate(narrative));
                let model = or_stop!(self.reward_model(seed, narrative, best.chosen));
                let path = absolute(&model.folder);
                let judge = format!("={{type='reward_model',path='{}'}}", path.display());
                let table = if narrative { "reward" } else { "oracle" };
                more.push(format!("{table}{judge}"));
                before = model.before;
            }
            Learns::Truth => more.push("reward={type='world'}".to_owned()),
            Learns::Pairs => {
                let recipe = self.recipe(seed, &[])?;
                let train = recipe.train.context("the recipe has no `[train]`")?;
                let (pairs, collected, seconds) =
                    or_stop!(self.preferences(seed, train.num_generations, "extremes"));
                let batch = recipe.dpo.context("the recipe has no `[dpo]`")?.batch_size;
                let steps = steps(collected.pairs as f64 / batch as f64);
                let path = absolute(&pairs.join("trl.jsonl"));
                more.push(format!("data.preferences.path='{}'", path.display()));
                more.push(format!("dpo.learning_rate={rate}"));
                more.push(format!("dpo.max_steps={steps}"));
                more.push(format!("dpo.save_steps={}", steps.div_ceil(POINTS)));
                more.push("dpo.save_total_limit=0".to_owned());
                before = Before {
                    seconds,
                    judge_seconds: collected.judge_seconds,
                    completions: collected.completions as u64,
                    calls: collected.groups as u64,
                };
            }
            Learns::Judge | Learns::Nothing => {}
        }
        if arm.learns != Learns::Pairs {
            let train = self.recipe(seed, &more)?.train.context("the recipe has no `[train]`")?;
            let per_step = (train.prompts_per_step * train.num_generations) as u64;
            // What preference data has used up of the completions is missing here.
            let steps = (budget.completions.saturating_sub(before.completions) / per_step).max(1);
            more.push(format!("train.learning_rate={rate}"));
            more.push(format!("train.max_steps={steps}"));
            more.push(format!("train.save_steps={}", steps.div_ceil(POINTS)));
            more.push("train.save_total_limit=0".to_owned());
        }
        let folder = self.seed_folder(seed).join(place).join(format!("lr-{rate:e}"));
        let recipe = self.recipe(seed, &more)?;
        self.announce(seed, &format!("{}, lr {rate:e}", arm.label), &folder);
        let ((), seconds) = or_stop!(cell(&folder, &recipe, |from| {
            let start = Folder::from_source(&recipe.model, seed, &self.context.device)?;
            let trained = if arm.learns == Learns::Pairs {
                stage::dpo(self.context, &start, &recipe, &folder, from)?
            } else {
                stage::online(self.context, &start, &recipe, &folder, from)?
            };
            Ok(trained.map(|_| ()))
        }));
        before.seconds += seconds;
        Ok(Some(Trained { folder, accuracy: 0.0, before }))
    }

    /// The learning rate of the grid that is best on validation questions, under the first seed.
    pub(super) fn best_rate(
        &self,
        arm: &Arm,
        exam: &Exam<'_>,
        validation: &[Example],
    ) -> Stoppable<Selection> {
        let mut candidates = Vec::new();
        for rate in &self.grid {
            let trained = or_stop!(self.arm(self.seeds[0], arm, *rate, &arm.name));
            let accuracy = exam.validate(&trained.folder, validation)?;
            candidates.push((*rate, accuracy.mean()));
        }
        Ok(Some(selection(arm.label.clone(), candidates)))
    }

    /// One line for a cell that is about to run.
    fn announce(&self, seed: u64, what: &str, folder: &Path) {
        if !folder.join("cell.json").is_file() && !self.context.quiet {
            say(&format!("-- seed {seed}: {what}"));
        }
    }
}

/// Questions of the recipe's validation and test clips.
pub(super) fn questions(recipe: &Recipe) -> Result<(Vec<Example>, Vec<Example>)> {
    let test = recipe.data.eval.as_ref().context("the recipe has no `data.eval`")?;
    let mut validation = test.clone();
    if let Some(world) = &mut validation.world {
        "validation".clone_into(&mut world.split);
        world.clips = world.clips.div_ceil(2);
    }
    Ok((source::rows(&validation)?, source::rows(test)?))
}

/// A cell that was run, and what its pipeline used up until its own sampling began.
pub(super) struct Trained {
    pub(super) folder: PathBuf,
    /// Of a reward model, on held-out pairs.
    accuracy: f64,
    pub(super) before: Before,
}

/// What was used up before the method's own sampling; seconds count the method's too.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    pub(super) seconds: f64,
    pub(super) judge_seconds: f64,
    pub(super) completions: u64,
    pub(super) calls: u64,
}

fn selection(method: String, candidates: Vec<(f64, f64)>) -> Selection {
    let best = candidates.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    Selection { method, chosen: best.map_or(0.0, |(rate, _)| rate), candidates }
}

fn from(start: &Path) -> String {
    format!("model={{path='{}'}}", absolute(start).display())
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of steps")]
fn steps(number: f64) -> u64 {
    number.ceil().max(1.0) as u64
}
