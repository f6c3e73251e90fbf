//! The sections of a recipe that belong to no other crate.

use std::path::PathBuf;

use rlaif_data::Columns;
use rlaif_model::Precision;
use rlaif_rank::PairRule;
use rlaif_rollout::SamplingParams;
use rlaif_video::{BadClipPolicy, Sampling};
use serde::{Deserialize, Serialize};

/// `[model]`: exactly one of `path` and `clip_world`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSource {
    /// A Hugging Face folder, or a name on the hub, `org/name` or `org/name@revision`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// A small model with random weights and ClipWorld's vocabulary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_world: Option<ClipWorldModel>,
    /// How the decoder's projections are kept: `float32`, or packed as `bfloat16`, `int8` or `nf4`.
    /// Packed weights are not trained: every stage needs `trainable` of type `lora`, which then is
    /// `QLoRA`. What a run writes at its end is the adapter merged into the full weights of `path`.
    /// Default `float32`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub base_precision: Precision,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
    /// Whether the visual tokens of the frames are pooled over space and time, as VLM-RLAIF does, or follow
    /// each other as they are. Default true. Other programs, `transformers` among them, know no pooling:
    /// a model that they are to serve is made without.
    #[serde(skip_serializing_if = "is_true")]
    pub pooling: bool,
    /// Frames that the model is shown of a clip, 1 to 64; without pooling each takes 16 tokens. Default 8.
    #[serde(skip_serializing_if = "is_eight")]
    pub frames: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_eight(value: &usize) -> bool {
    *value == WORLD_FRAMES
}

/// Frames of a clip of ClipWorld.
const WORLD_FRAMES: usize = 8;

impl Default for ClipWorldModel {
    fn default() -> Self {
        ClipWorldModel {
            hidden_size: 128,
            num_hidden_layers: 4,
            vision_hidden_size: 96,
            vision_layers: 3,
            pooling: true,
            frames: WORLD_FRAMES,
        }
    }
}

/// `[video]`: how clips are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VideoConfig {
    /// Frames that are taken; where absent, by the rule of the checkpoint's own processor, else as many
    /// as the model's `num_frames` says, evenly spread, or 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// Most pixels of a frame, in place of the checkpoint's own bound: for models that take frames of
    /// any size (Qwen2.5-VL), whose prompts grow with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pixels: Option<u64>,
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
            max_pixels: None,
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
    /// Pairs of answers, for `reward` and `dpo`: a file in TRL's or VLM-RLAIF's layout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferences: Option<SourceConfig>,
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

/// `[reward]`: who gives answers numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum RewardConfig {
    /// A reward model that `oracle-rlaif reward` made.
    RewardModel {
        /// Its folder.
        path: PathBuf,
        /// Whether scores are shifted and scaled to mean 0 and deviation 1 over the model's own
        /// held-out pairs. Default true.
        #[serde(default = "yes")]
        normalize: bool,
    },
    /// ClipWorld's truth as a number from 0 to 1: a reward that cannot be fooled.
    World {},
}

fn yes() -> bool {
    true
}

/// `[preferences]`: answers are sampled and judged, and become pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PreferencesConfig {
    /// Questions that are asked; rows are taken again, with other answers, where there are fewer.
    /// 0 asks each row once. Default 0.
    pub prompts: u64,
    /// Answers sampled for each question, at least 2. Default 2 (VLM-RLAIF).
    pub num_generations: usize,
    /// Questions that are sampled together. Default 16.
    pub prompts_per_batch: usize,
    /// Which pairs of a judged group are written. Default `all`.
    pub pairs: PairRule,
    /// Whether the judge is told the row's narrative. Default false.
    pub narrative: bool,
    /// Sampling of the answers.
    pub sampling: SamplingParams,
    /// Seed of data order and sampling; not a key of its own, the recipe has one for all.
    #[serde(skip)]
    pub seed: u64,
}

impl Default for PreferencesConfig {
    fn default() -> Self {
        PreferencesConfig {
            prompts: 0,
            num_generations: 2,
            prompts_per_batch: 16,
            pairs: PairRule::default(),
            narrative: false,
            sampling: SamplingParams::default(),
            seed: 42,
        }
    }
}

impl PreferencesConfig {
    /// # Errors
    ///
    /// Names the first knob that is out of its range.
    pub fn check(&self) -> Result<(), String> {
        if self.num_generations < 2 {
            return Err(format!(
                "`preferences.num_generations` must be at least 2 to compare, got {}",
                self.num_generations
            ));
        }
        if self.prompts_per_batch == 0 || self.sampling.max_completion_length == 0 {
            return Err("`preferences.prompts_per_batch` and \
                        `preferences.sampling.max_completion_length` must be at least 1"
                .to_owned());
        }
        let temperature = self.sampling.temperature;
        if temperature > 0.0 {
            return Ok(());
        }
        Err(format!(
            "`preferences.sampling.temperature` must be above 0, or all answers to a question are \
             the same; got {temperature}"
        ))
    }
}
