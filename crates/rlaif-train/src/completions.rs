//! `completions/step-N.jsonl`: what was sampled, how it was ranked, the advantages. A run can be
//! read without a dashboard.

use std::path::Path;

use rlaif_data::{Example, FinishReason, Group};
use serde::{Deserialize, Serialize};

use crate::error::{TrainError, at};
use crate::method::Judgement;

/// One group of one step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Step, counted from 1.
    pub step: u64,
    /// [`Example::id`].
    pub id: String,
    /// The video.
    pub video: String,
    /// The question.
    pub question: String,
    /// A right answer, where the data set has one.
    pub reference: Option<String>,
    /// The ranking, like `[2] > [1] = [3]`; absent where the judge failed.
    pub ranking: Option<String>,
    /// Why there is no ranking.
    pub failure: Option<String>,
    /// Who voted and how, where several did, like `["gemma", "[2] > [1]"]`; of the answers as they
    /// were shown, identical ones once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub votes: Vec<(String, String)>,
    /// The sampled answers.
    pub completions: Vec<CompletionRecord>,
}

/// One answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CompletionRecord {
    /// Its text.
    pub text: String,
    /// Tokens.
    pub tokens: usize,
    /// Mean log-probability of its tokens under the policy.
    pub mean_logprob: f32,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Level the judge gave it, 0 best.
    pub level: Option<usize>,
    /// Its reward, where the judge gives numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<f64>,
    /// Its advantage.
    pub advantage: Option<f64>,
}

impl GroupRecord {
    /// Puts a record together.
    #[must_use]
    pub fn new(
        step: u64,
        example: &Example,
        group: &Group,
        verdict: Result<&Judgement, &String>,
        advantages: Option<&[f64]>,
    ) -> Self {
        let judgement = verdict.ok();
        let completions = group
            .completions
            .iter()
            .enumerate()
            .map(|(index, completion)| CompletionRecord {
                text: completion.text.clone(),
                tokens: completion.token_ids.len(),
                mean_logprob: completion.mean_logprob(),
                finish_reason: completion.finish_reason,
                level: judgement.and_then(|j| j.ranking.levels()[index]),
                reward: judgement.and_then(|j| Some(j.rewards.as_ref()?[index])),
                advantage: advantages.map(|values| values[index]),
            })
            .collect();
        GroupRecord {
            step,
            id: example.id.clone(),
            video: example.video.to_string(),
            question: example.question(),
            reference: example.target(),
            ranking: judgement.map(|j| j.ranking.to_string()),
            failure: verdict.err().cloned(),
            votes: judgement.map(|j| j.votes.clone()).unwrap_or_default(),
            completions,
        }
    }
}

/// Writes the groups of one step, replacing what an interrupted attempt left.
///
/// # Errors
///
/// Fails where the file cannot be written.
pub fn write(run: &Path, step: u64, records: &[GroupRecord]) -> Result<(), TrainError> {
    let folder = run.join("completions");
    std::fs::create_dir_all(&folder).map_err(at(&folder))?;
    let path = folder.join(format!("step-{step:06}.jsonl"));
    let mut text = String::new();
    for record in records {
        text += &serde_json::to_string(record).map_err(|e| at(&path)(e.into()))?;
        text.push('\n');
    }
    let temporary = path.with_extension("jsonl.tmp");
    std::fs::write(&temporary, text).map_err(at(&temporary))?;
    std::fs::rename(&temporary, &path).map_err(at(&path))
}
