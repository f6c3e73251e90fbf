//! Recipes: one TOML file per run, any key overridable with `--set train.beta=0.02`.
//!
//! Unknown keys are errors that name the nearest valid one. The resolved recipe, every default
//! filled in, is written into the run folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rlaif_data::Columns;
use rlaif_oracle::OracleConfig;
use rlaif_train::{GrpoConfig, SftConfig};
use rlaif_video::{BadClipPolicy, Sampling};
use serde::{Deserialize, Serialize};

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
    /// Who ranks. Needed by `train`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oracle: Option<OracleConfig>,
    /// Supervised fine-tuning. Needed by `sft`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sft: Option<SftConfig>,
    /// Fine-tuning from ranks. Needed by `train`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<GrpoConfig>,
    /// Evaluation after training.
    #[serde(default)]
    pub eval: EvalConfig,
}

fn default_seed() -> u64 {
    42
}

/// `[model]`: exactly one of the two keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSource {
    /// A Hugging Face folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// A small model with random weights and ClipWorld's vocabulary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_world: Option<ClipWorldModel>,
}

/// Size of the model for ClipWorld.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClipWorldModel {
    /// Width of the decoder. Default 128.
    pub hidden_size: usize,
    /// Blocks of the decoder. Default 4.
    pub num_hidden_layers: usize,
    /// Width of the vision tower. Default 96.
    pub vision_hidden_size: usize,
    /// Blocks of the vision tower; the last one but one feeds the projector. Default 3.
    pub vision_layers: usize,
}

impl Default for ClipWorldModel {
    fn default() -> Self {
        ClipWorldModel {
            hidden_size: 128,
            num_hidden_layers: 4,
            vision_hidden_size: 96,
            vision_layers: 3,
        }
    }
}

/// `[video]`: how clips are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VideoConfig {
    /// Frames that are taken; where absent, as many as the model's `num_frames` says, evenly
    /// spread, or 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// What happens to a row whose clip cannot be read. Default `error`.
    pub on_bad_clip: BadClipPolicy,
    /// Folder of the feature cache; in memory alone where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_dir: Option<PathBuf>,
    /// Memory of the feature cache in MiB. Default 512.
    pub cache_memory_mib: u64,
}

impl Default for VideoConfig {
    fn default() -> Self {
        VideoConfig {
            sampling: None,
            on_bad_clip: BadClipPolicy::default(),
            cache_dir: None,
            cache_memory_mib: 512,
        }
    }
}

/// `[data]`: where rows come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Rows to train on.
    pub train: SourceConfig,
    /// Rows for supervised fine-tuning; those of `train` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sft: Option<SourceConfig>,
    /// Rows to evaluate on after training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval: Option<SourceConfig>,
}

/// One source of rows: a file, or ClipWorld.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceConfig {
    /// A JSONL file, or a JSON array in VLM-RLAIF's layout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Names of the columns in that file, where they are not ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
    /// Folder that relative video paths start from; the file's own folder where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_root: Option<PathBuf>,
    /// ClipWorld, rendered in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub world: Option<WorldSource>,
}

/// Clips of ClipWorld and the questions about them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldSource {
    /// `train`, `validation` or `test`.
    pub split: String,
    /// Number of clips.
    pub clips: u64,
    /// First clip. Default 0.
    #[serde(default)]
    pub first: u64,
    /// Seed of the world. Default 0.
    #[serde(default)]
    pub seed: u64,
    /// Most objects in a clip, 1 to 3. Default 3.
    #[serde(default = "default_max_objects")]
    pub max_objects: usize,
    /// Which questions: `multiple_choice`, `open_ended` or `all`. Default `all`.
    #[serde(default)]
    pub questions: Questions,
    /// Questions kept per clip, taken by the seed; 0 keeps all. Default 0.
    #[serde(default)]
    pub questions_per_clip: usize,
}

fn default_max_objects() -> usize {
    rlaif_world::WorldConfig::default().max_objects
}

/// Which kinds of questions are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Questions {
    /// Four options, answered with a letter.
    MultipleChoice,
    /// Answered in words.
    OpenEnded,
    /// Both.
    #[default]
    All,
}

/// `[eval]`: evaluation after training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// Longest generated answer in tokens. Default 32.
    pub max_completion_length: usize,
    /// Prompts that go through the model together. Default 16.
    pub batch_size: usize,
    /// Bootstrap resamples. Default 2000.
    pub resamples: usize,
}

impl Default for EvalConfig {
    fn default() -> Self {
        EvalConfig { max_completion_length: 32, batch_size: 16, resamples: 2000 }
    }
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
        let recipe: Recipe = if overrides.is_empty() {
            toml::from_str(text).map_err(|error| explain(&error, Some(text)))?
        } else {
            let mut table: toml::Table =
                toml::from_str(text).map_err(|error| explain(&error, Some(text)))?;
            for set in overrides {
                apply(&mut table, set)?;
            }
            table.try_into().map_err(|error: toml::de::Error| explain(&error, None))?
        };
        recipe.checked()
    }

    fn checked(mut self) -> Result<Recipe> {
        if self.model.path.is_some() == self.model.clip_world.is_some() {
            bail!("`model` needs exactly one of `path` and `clip_world`");
        }
        for (name, source) in [
            ("data.train", Some(&self.data.train)),
            ("data.sft", self.data.sft.as_ref()),
            ("data.eval", self.data.eval.as_ref()),
        ] {
            if let Some(source) = source
                && source.path.is_some() == source.world.is_some()
            {
                bail!("`{name}` needs exactly one of `path` and `world`");
            }
        }
        if let Some(sft) = &mut self.sft {
            sft.seed = self.seed;
            if sft.batch_size == 0 || sft.clips_per_batch == 0 {
                bail!("`sft.batch_size` and `sft.clips_per_batch` must be at least 1");
            }
        }
        if let Some(train) = &mut self.train {
            train.seed = self.seed;
            train.check().map_err(anyhow::Error::msg)?;
        }
        if self.eval.batch_size == 0 || self.eval.max_completion_length == 0 {
            bail!("`eval.batch_size` and `eval.max_completion_length` must be at least 1");
        }
        Ok(self)
    }

    fn resolve_paths(&mut self, folder: &Path) {
        let resolve = |path: &mut Option<PathBuf>| {
            if let Some(path) = path
                && path.is_relative()
            {
                let joined = folder.join(&path);
                *path = std::path::absolute(&joined).unwrap_or(joined);
            }
        };
        resolve(&mut self.model.path);
        resolve(&mut self.video.cache_dir);
        let data = &mut self.data;
        let sources = [Some(&mut data.train), data.sft.as_mut(), data.eval.as_mut()];
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
