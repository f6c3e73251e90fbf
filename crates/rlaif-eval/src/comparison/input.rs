//! What a comparison is made from: answers, cost and learning curve of each method under each seed.

use serde::{Deserialize, Serialize};

use crate::item::ItemResult;

/// What a run used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Completions sampled from the policy in training.
    pub completions: u64,
    /// Verdicts asked of the judge: rankings, scores or preferences.
    pub judge_calls: u64,
    /// Seconds that the judge spent on them.
    pub judge_seconds: f64,
    /// Seconds of the whole run.
    pub wall_seconds: f64,
}

/// One point of a learning curve: accuracies as fractions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Training step after which it was taken, 0 before the first.
    pub step: u64,
    /// Completions sampled so far.
    pub completions: u64,
    /// Verdicts asked so far.
    pub judge_calls: u64,
    /// Accuracy on multiple-choice questions, in `0..=1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple_choice: Option<f64>,
    /// Accuracy on open-ended questions, in `0..=1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_ended: Option<f64>,
}

/// One method under one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedRun {
    /// The seed; runs of several methods under one seed are paired.
    pub seed: u64,
    /// Answers to the held-out questions.
    pub items: Vec<ItemResult>,
    /// What the run used up.
    pub cost: Cost,
    /// Accuracies during training, where they were taken.
    pub curve: Vec<CurvePoint>,
}

/// One method under all its seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodRuns {
    /// Key, for instance `vlm_rlaif`.
    pub name: String,
    /// What tables say, for instance `VLM-RLAIF (PPO)`.
    pub label: String,
    /// One sentence on what it is.
    pub about: String,
    /// Peak learning rate of the runs; `None` for methods that do not train.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// One run for each seed, in any order.
    pub runs: Vec<SeedRun>,
}

/// What to know about a comparison besides its numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ComparisonFacts {
    /// Headline.
    pub title: String,
    /// Command that makes the comparison.
    pub command: String,
    /// Commit of the code that ran.
    pub commit: String,
    /// Machine it ran on, in words.
    pub machine: String,
    /// Anything else a reader should know, a sentence or two each.
    pub notes: Vec<String>,
    /// How each method's learning rate was chosen.
    pub selection: Vec<Selection>,
}

/// How one method's learning rate was chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// Label of the method.
    pub method: String,
    /// Learning rates tried, each with the accuracy on validation questions in `0..=1`.
    pub candidates: Vec<(f64, f64)>,
    /// The one that was taken.
    pub chosen: f64,
}
