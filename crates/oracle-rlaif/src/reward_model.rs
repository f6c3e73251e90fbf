//! A trained reward model, asked: as a reward it gives its scores, as an Oracle its order alone.
//!
//! ```text
//! question, answer, "grade it: {narrative}", "the quality is"  ->  w · h(last token)
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use burn::tensor::Device;
use rlaif_data::{Example, Message, Role, write_atomic};
use rlaif_model::ScalarVlm;
use rlaif_oracle::{Cancel, Oracle, OracleError, RankRequest, Verdict};
use rlaif_rank::Ranking;
use rlaif_rollout::{PromptBuilder, PromptInput, Visual};
use rlaif_train::reward_model::{ScoredItem, scores};
use rlaif_train::{Reward, RewardError, RewardModelConfig};
use serde::{Deserialize, Serialize};

use crate::folder::{self, Folder};
use crate::hub;
use crate::recipe::VideoConfig;
use crate::source::common_beginning;

/// File beside the model that says how it is asked.
const SETTINGS: &str = "reward_model.json";
const VERSION: u32 = 1;
/// Groups that go through the model together.
const GROUPS_TOGETHER: usize = 16;

/// How a reward model is asked: the same in training and afterwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    version: u32,
    /// The user's turn that asks for the grade.
    pub prompt: String,
    /// The beginning of the assistant's turn, read after its last token.
    pub opening: String,
    /// Whether the narrative takes the place of `{narrative}`.
    pub narrative: bool,
    /// Mean score over the held-out answers.
    pub mean: f64,
    /// Deviation of the scores of the held-out answers.
    pub std: f64,
}

impl Settings {
    /// Settings of a model under training.
    #[must_use]
    pub fn of(config: &RewardModelConfig) -> Self {
        Settings {
            version: VERSION,
            prompt: config.prompt.clone(),
            opening: config.opening.clone(),
            narrative: config.narrative,
            mean: 0.0,
            std: 1.0,
        }
    }

    /// Writes them into a model's folder.
    ///
    /// # Errors
    ///
    /// Fails where the file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        Ok(write_atomic(folder.join(SETTINGS), &serde_json::to_vec_pretty(self)?)?)
    }

    fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(SETTINGS);
        let text = std::fs::read(&path).with_context(|| {
            format!("`{}`: no reward model; `oracle-rlaif reward` makes one", path.display())
        })?;
        let settings: Settings =
            serde_json::from_slice(&text).with_context(|| format!("`{}`", path.display()))?;
        if settings.version != VERSION || !(settings.std.is_finite() && settings.std > 0.0) {
            bail!(
                "`{}`: not of version {VERSION}, or with a `std` that is no deviation",
                path.display()
            );
        }
        Ok(settings)
    }

    fn request(&self, narrative: Option<&str>) -> String {
        let narrative = narrative.filter(|_| self.narrative).unwrap_or_default();
        self.prompt.replace("{narrative}", narrative).trim().to_owned()
    }
}

/// A question with answers, as a reward model reads them.
///
/// # Errors
///
/// Fails on text that cannot be encoded, a prompt that does not fit, and a narrative that is asked
/// for and not there.
pub fn scored_item(
    model: &ScalarVlm,
    builder: &PromptBuilder,
    settings: &Settings,
    question: &[Message],
    visual: &Visual,
    narrative: Option<&str>,
    candidates: &[&str],
) -> Result<ScoredItem> {
    if settings.narrative && narrative.is_none_or(|text| text.trim().is_empty()) {
        bail!(
            "it has no `narrative`, and the reward model reads one; add the column, or train with \
             `reward_model.narrative = false`"
        );
    }
    let opening = match settings.opening.trim() {
        "" => Vec::new(),
        opening => builder.tokenizer.encode_continuation(opening)?,
    };
    let mut whole: Vec<PromptInput> = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let mut messages = question.to_vec();
        messages.push(Message::text(Role::Assistant, *candidate));
        messages.push(Message::text(Role::User, settings.request(narrative)));
        let mut input = builder.prompt_about(&model.vlm, &messages, visual.clone())?;
        input.extend(&opening);
        whole.push(input);
    }
    let ids: Vec<&[u32]> = whole.iter().map(|input| input.ids.as_slice()).collect();
    let first = whole.first().context("there is no answer to score")?;
    let common = common_beginning(&ids, first.visual_end());
    let shared = first.truncated(common);
    let continuations = ids.iter().map(|ids| ids[common..].to_vec()).collect();
    Ok(ScoredItem { shared, continuations })
}

/// The different answers of a request, and which of them each candidate is.
type Merged = (Arc<ScoredItem>, Vec<usize>);

/// A reward model with all that it needs to read a question.
pub struct RewardModel {
    /// The model and its head.
    pub model: ScalarVlm,
    /// How it is asked.
    pub settings: Settings,
    path: PathBuf,
    builder: PromptBuilder,
    normalize: bool,
}

impl RewardModel {
    /// Opens a folder that `oracle-rlaif reward` wrote.
    ///
    /// # Errors
    ///
    /// Names the file that is missing or cannot be used.
    pub fn open(path: &Path, video: &VideoConfig, device: &Device) -> Result<Self> {
        let path = &hub::locate(path)?;
        let settings = Settings::open(path)?;
        let folder = Folder::open(path, device)?;
        let model = ScalarVlm::with_head(folder.model.clone(), path)
            .with_context(|| format!("the head of the reward model in `{}`", path.display()))?;
        let room = folder.tokenizer.encode_continuation(settings.opening.trim())?.len();
        let builder = folder.builder(video, folder::world_clips(), room)?;
        let path = path.to_owned();
        Ok(RewardModel { model, settings, path, builder, normalize: false })
    }

    /// The same with scores of mean 0 and deviation 1 over its held-out answers.
    #[must_use]
    pub fn normalized(self, normalize: bool) -> Self {
        RewardModel { normalize, ..self }
    }

    /// Digest of the tower that it sees with.
    #[must_use]
    pub fn tower_digest(&self) -> &str {
        &self.builder.tower_digest
    }

    /// Scores of the candidates of every request; identical ones are read once.
    fn scores(&self, requests: &[RankRequest]) -> Vec<Result<Vec<f64>, String>> {
        let mut out = Vec::with_capacity(requests.len());
        for chunk in requests.chunks(GROUPS_TOGETHER) {
            let items: Vec<Result<Merged, String>> =
                chunk.iter().map(|r| self.item(r).map_err(|e| format!("{e:#}"))).collect();
            let whole: Vec<Arc<ScoredItem>> =
                items.iter().flatten().map(|(item, _)| item.clone()).collect();
            let values: Vec<f32> = if whole.is_empty() {
                Vec::new()
            } else {
                scores(&self.model, &whole).to_data().iter::<f32>().collect()
            };
            let mut at = 0;
            for item in items {
                out.push(item.map(|(item, place)| {
                    let own = &values[at..at + item.continuations.len()];
                    at += own.len();
                    place.iter().map(|unique| self.value(own[*unique])).collect()
                }));
            }
        }
        out
    }

    fn value(&self, score: f32) -> f64 {
        let score = f64::from(score);
        if self.normalize { (score - self.settings.mean) / self.settings.std } else { score }
    }

    fn item(&self, request: &RankRequest) -> Result<Merged> {
        let Example { video, narrative, .. } = &request.example;
        let mut unique: Vec<&str> = Vec::new();
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        let mut place = Vec::with_capacity(request.candidates.len());
        for candidate in &request.candidates {
            place.push(*known.entry(candidate).or_insert_with(|| {
                unique.push(candidate);
                unique.len() - 1
            }));
        }
        let features = self.builder.features(&self.model.vlm, video)?;
        let item = scored_item(
            &self.model,
            &self.builder,
            &self.settings,
            request.example.prompt(),
            &Visual::Features(features),
            narrative.as_deref(),
            &unique,
        )?;
        Ok((Arc::new(item), place))
    }
}

impl Reward for RewardModel {
    fn name(&self) -> &'static str {
        "reward_model"
    }

    fn rewards(&mut self, requests: &[RankRequest]) -> Vec<Result<Vec<f64>, RewardError>> {
        let scores = self.scores(requests).into_iter().zip(requests);
        let error = |reason, request: &RankRequest| RewardError {
            example: request.example.id.clone(),
            reason,
        };
        scores.map(|(s, request)| s.map_err(|reason| error(reason, request))).collect()
    }
}

impl Oracle for RewardModel {
    fn name(&self) -> &'static str {
        "reward_model"
    }

    /// The order of the scores; the scores themselves stay here.
    fn rank(&self, requests: &[RankRequest], cancel: &Cancel) -> Vec<Result<Verdict, OracleError>> {
        let mut out = Vec::with_capacity(requests.len());
        for chunk in requests.chunks(GROUPS_TOGETHER) {
            if cancel.is_cancelled() {
                let rest = &requests[out.len()..];
                out.extend(rest.iter().map(|request| {
                    Err(OracleError::Cancelled { example: request.example.id.clone() })
                }));
                break;
            }
            let start = Instant::now();
            let scores = self.scores(chunk);
            let each = start.elapsed() / u32::try_from(chunk.len()).unwrap_or(1);
            for (request, scores) in chunk.iter().zip(scores) {
                let ranking = scores.and_then(|scores| {
                    Ranking::from_scores(&scores).map_err(|error| error.to_string())
                });
                out.push(ranking.map(|ranking| Verdict::new(ranking, each)).map_err(|message| {
                    OracleError::Reported {
                        oracle: format!("reward_model `{}`", self.path.display()),
                        example: request.example.id.clone(),
                        message,
                    }
                }));
            }
        }
        out
    }
}
