//! Recipes: one TOML file per run, any key overridable with `--set train.beta=0.02`.
//!
//! Unknown keys are errors that name the nearest valid one. The resolved recipe, every default
//! filled in, is written into the run folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rlaif_model::Precision;
use rlaif_oracle::RankingConfig;
use rlaif_train::{DpoConfig, GrpoConfig, MethodKind, RewardModelConfig, SftConfig, Trainable};
use serde::{Deserialize, Serialize};

use crate::hub;

mod judge;
mod oracles;
mod sections;

pub use judge::JudgeRecipe;
pub use oracles::{
    AskingConfig, ModelJudgeConfig, OpenAiOracleConfig, OracleConfig, OracleEntry, Oracles,
    RewardModelOracleConfig,
};
pub use sections::{
    ClipWorldModel, DataConfig, EvalConfig, ModelSource, PreferencesConfig, Questions,
    RewardConfig, SourceConfig, VideoConfig, WorldSource,
};

/// A whole recipe.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Seed of data order, sampling, adapters and weights from nothing. Default 42.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// The model to start from.
    pub model: ModelSource,
    /// How clips are read.
    #[serde(default)]
    pub video: VideoConfig,
    /// Rows to train and to evaluate on.
    pub data: DataConfig,
    /// Who ranks. Needed by `preferences`, and by `train` with `grpo_rank`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oracle: Option<Oracles>,
    /// What becomes of verdicts: several Oracles, disagreement, groups without one.
    #[serde(default)]
    pub ranking: RankingConfig,
    /// Who scores. Needed by `train` with `grpo`, `rloo` or `ppo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<RewardConfig>,
    /// Supervised fine-tuning. Needed by `sft`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sft: Option<SftConfig>,
    /// Sampling answers and having them judged. Needed by `preferences`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferences: Option<PreferencesConfig>,
    /// Training a reward model. Needed by `reward`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward_model: Option<RewardModelConfig>,
    /// Direct preference optimization. Needed by `dpo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpo: Option<DpoConfig>,
    /// Fine-tuning from judged groups. Needed by `train`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<GrpoConfig>,
    /// Evaluation after training.
    #[serde(default)]
    pub eval: EvalConfig,
}

fn default_seed() -> u64 {
    42
}

impl Recipe {
    /// Reads a recipe and applies `key.path=value` overrides. Relative paths in the recipe start
    /// from its own folder, and are absolute afterwards: the resolved recipe reads back anywhere.
    ///
    /// # Errors
    ///
    /// Names the file, the line and the key; for an unknown key also the nearest known one.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Recipe> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("recipe `{}`", path.display()))?;
        let mut recipe = Recipe::parse(&text, overrides)
            .with_context(|| format!("recipe `{}`", path.display()))?;
        if let Some(folder) = path.parent() {
            recipe.resolve_paths(folder);
        }
        Ok(recipe)
    }

    /// Parses a recipe with overrides and checks it.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), without the file's name.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Recipe> {
        read_toml::<Recipe>(text, overrides)?.checked()
    }

    fn checked(mut self) -> Result<Recipe> {
        if self.model.path.is_some() == self.model.clip_world.is_some() {
            bail!("`model` needs exactly one of `path` and `clip_world`");
        }
        self.check_base_precision()?;
        for (name, source) in [
            ("data.train", Some(&self.data.train)),
            ("data.sft", self.data.sft.as_ref()),
            ("data.eval", self.data.eval.as_ref()),
            ("data.preferences", self.data.preferences.as_ref()),
        ] {
            if let Some(source) = source
                && source.path.is_some() == source.world.is_some()
            {
                bail!("`{name}` needs exactly one of `path` and `world`");
            }
        }
        judge::check(self.oracle.as_ref(), &self.ranking)?;
        if let Some(sft) = &mut self.sft {
            sft.seed = self.seed;
            if sft.batch_size == 0 || sft.clips_per_batch == 0 {
                bail!("`sft.batch_size` and `sft.clips_per_batch` must be at least 1");
            }
        }
        if self.data.preferences.as_ref().is_some_and(|source| source.path.is_none()) {
            bail!("`data.preferences` needs `path`: pairs are read from a file");
        }
        if let Some(preferences) = &mut self.preferences {
            preferences.seed = self.seed;
            preferences.check().map_err(anyhow::Error::msg)?;
        }
        if let Some(reward_model) = &mut self.reward_model {
            reward_model.seed = self.seed;
            reward_model.check().map_err(anyhow::Error::msg)?;
        }
        if let Some(dpo) = &mut self.dpo {
            dpo.seed = self.seed;
            dpo.check().map_err(anyhow::Error::msg)?;
        }
        if let Some(train) = &mut self.train {
            train.seed = self.seed;
            train.check().map_err(anyhow::Error::msg)?;
            if train.method == MethodKind::GrpoRank
                && self.oracle.is_none()
                && self.reward.is_some()
            {
                bail!(
                    "`[reward]` is for `train.method` = \"grpo\", \"rloo\" or \"ppo\"; `grpo_rank` \
                     learns from an `[oracle]`"
                );
            }
        }
        if self.eval.batch_size == 0 || self.eval.max_completion_length == 0 {
            bail!("`eval.batch_size` and `eval.max_completion_length` must be at least 1");
        }
        Ok(self)
    }

    /// Packed weights take no training, and random ones are not worth packing.
    fn check_base_precision(&self) -> Result<()> {
        let precision = self.model.base_precision;
        if precision == Precision::F32 {
            return Ok(());
        }
        if self.model.path.is_none() {
            bail!(
                "`model.base_precision` = \"{precision}\" is for `model.path`: weights that start \
                 random are trained, and packed weights cannot be"
            );
        }
        for (section, trainable) in [
            ("sft", self.sft.as_ref().map(|sft| &sft.trainable)),
            ("train", self.train.as_ref().map(|train| &train.trainable)),
            ("dpo", self.dpo.as_ref().map(|dpo| &dpo.trainable)),
            ("reward_model", self.reward_model.as_ref().map(|model| &model.trainable)),
        ] {
            if trainable.is_some_and(|trainable| !matches!(trainable, Trainable::Lora(_))) {
                bail!(
                    "`model.base_precision` = \"{precision}\" leaves adapters to train: set \
                     `{section}.trainable = {{ type = \"lora\" }}`, or keep the weights as \
                     \"float32\""
                );
            }
        }
        Ok(())
    }

    fn resolve_paths(&mut self, folder: &Path) {
        let resolve = |path: &mut Option<PathBuf>| {
            if let Some(path) = path {
                resolve(folder, path);
            }
        };
        if let Some(path) = &mut self.model.path {
            resolve_model(folder, path);
        }
        resolve(&mut self.video.cache_dir);
        if let Some(RewardConfig::RewardModel { path, .. }) = &mut self.reward {
            resolve_model(folder, path);
        }
        judge::resolve_paths(self.oracle.as_mut(), &mut self.ranking, folder);
        let data = &mut self.data;
        let sources = [
            Some(&mut data.train),
            data.sft.as_mut(),
            data.eval.as_mut(),
            data.preferences.as_mut(),
        ];
        for source in sources.into_iter().flatten() {
            resolve(&mut source.path);
            resolve(&mut source.video_root);
        }
    }

    /// The recipe with every default filled in, as TOML.
    ///
    /// # Errors
    ///
    /// Fails where a value has no TOML form.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).context("the recipe cannot be written as TOML")
    }
}

/// A path of a recipe in `folder`, made absolute.
fn resolve(folder: &Path, path: &mut PathBuf) {
    if path.is_relative() {
        let joined = folder.join(&path);
        *path = std::path::absolute(&joined).unwrap_or(joined);
    }
}

/// The same for a model: one that is no folder beside the recipe and has the form of a name on the hub
/// stays a name.
fn resolve_model(folder: &Path, path: &mut PathBuf) {
    if !hub::is_name(&path.to_string_lossy()) || folder.join(&path).exists() {
        resolve(folder, path);
    } else if path.is_dir()
        && let Ok(absolute) = std::path::absolute(&path)
    {
        *path = absolute;
    }
}

/// Reads TOML with overrides.
fn read_toml<T: serde::de::DeserializeOwned>(text: &str, overrides: &[String]) -> Result<T> {
    if overrides.is_empty() {
        return toml::from_str(text).map_err(|error| explain(&error, Some(text)));
    }
    let mut table: toml::Table =
        toml::from_str(text).map_err(|error| explain(&error, Some(text)))?;
    for set in overrides {
        apply(&mut table, set)?;
    }
    table.try_into().map_err(|error: toml::de::Error| explain(&error, None))
}

/// Puts `a.b.c=value` into a table. The value is TOML; a bare word is a string.
fn apply(table: &mut toml::Table, set: &str) -> Result<()> {
    let Some((key, text)) = set.split_once('=') else {
        bail!("`--set {set}`: expected `key.path=value`");
    };
    let value = toml::from_str::<toml::Table>(&format!("v = {text}"))
        .ok()
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let Some(last) = parts.pop().filter(|last| !last.is_empty()) else {
        bail!("`--set {set}`: the key is empty");
    };
    let mut at = table;
    for part in parts {
        let entry =
            at.entry(part.to_owned()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = match entry {
            toml::Value::Table(table) => table,
            _ => bail!("`--set {set}`: `{part}` is a value, not a section"),
        };
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

/// A TOML error in one line: where in `text` it is, and the nearest valid name where a key is
/// unknown.
fn explain(error: &toml::de::Error, text: Option<&str>) -> anyhow::Error {
    let place = error
        .span()
        .zip(text)
        .and_then(|(span, text)| text.get(..span.start))
        .map(|before| format!("line {}: ", before.matches('\n').count() + 1));
    // Without a text to point into, the whole message names the section.
    let message = match &place {
        Some(_) => error.message().to_owned(),
        None => error.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    };
    let hint = nearest(&message).map(|name| format!("; did you mean `{name}`?"));
    anyhow::anyhow!("{}{message}{}", place.unwrap_or_default(), hint.unwrap_or_default())
}

/// The valid name most like the one that `message` says is unknown.
fn nearest(message: &str) -> Option<&str> {
    let at = message.find("unknown field").or_else(|| message.find("unknown variant"))?;
    let mut quoted = message[at..].split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    quoted.max_by(|a, b| {
        strsim::jaro_winkler(a, unknown).total_cmp(&strsim::jaro_winkler(b, unknown))
    })
}

#[cfg(test)]
mod tests;
