//! What each method reached, and on which questions.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::course::{MeanCost, MeanCurvePoint};
use super::crossed::CrossedBootstrap;
use super::panel::Panel;
use crate::bootstrap::Interval;
use crate::item::ItemKind;
use crate::measure::Measure;

/// A method's accuracy over seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Mean over seeds of the headline measure, in `0..=1`.
    pub accuracy: f64,
    /// Its 95 % interval over seeds and videos.
    pub ci95: Interval,
    /// Accuracy under each seed, in order of the seeds.
    pub per_seed: Vec<f64>,
    /// Number of questions.
    pub n: usize,
}

/// A method's accuracies on questions of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// All questions.
    #[serde(flatten)]
    pub overall: Score,
    /// The same by category.
    pub by_category: BTreeMap<String, Score>,
}

/// What one method reached, and what it cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodResult {
    /// Key, for instance `vlm_rlaif`.
    pub name: String,
    /// What tables say.
    pub label: String,
    /// One sentence on what it is.
    pub about: String,
    /// Peak learning rate; `None` for methods that do not train.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Mean cost of a run.
    pub cost: MeanCost,
    /// Multiple-choice questions; `None` where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple_choice: Option<Scores>,
    /// Open-ended questions; `None` where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_ended: Option<Scores>,
    /// Learning curve at the steps that all seeds evaluated; empty where none was taken.
    pub curve: Vec<MeanCurvePoint>,
}

impl MethodResult {
    /// The accuracies on questions of a kind.
    #[must_use]
    pub fn of(&self, kind: ItemKind) -> Option<&Scores> {
        match kind {
            ItemKind::MultipleChoice => self.multiple_choice.as_ref(),
            ItemKind::OpenEnded => self.open_ended.as_ref(),
        }
    }

    /// The accuracy on all questions of a kind, or on those of a category.
    #[must_use]
    pub fn score(&self, kind: ItemKind, category: Option<&str>) -> Option<&Score> {
        let scores = self.of(kind)?;
        match category {
            None => Some(&scores.overall),
            Some(category) => scores.by_category.get(category),
        }
    }
}

/// The questions of one kind that every run answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Questions {
    /// What `accuracy` counts.
    pub headline: Measure,
    /// Number of questions.
    pub n: usize,
    /// Number of different videos they are about.
    pub videos: usize,
    /// Accuracy of guessing, the mean of one over the number of options; multiple choice only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance: Option<f64>,
    /// Number of questions of each category.
    pub by_category: BTreeMap<String, usize>,
}

/// A method's accuracies, by index.
pub(super) fn scores(panel: &Panel, bootstrap: &CrossedBootstrap, method: usize) -> Option<Scores> {
    let score = |questions: &[usize]| {
        let table = panel.scores(method, questions)?;
        let share = bootstrap.share(&table)?;
        let (accuracy, ci95) = (share.mean, share.ci95);
        Some(Score { accuracy, ci95, per_seed: table.per_seed(), n: table.n() })
    };
    let all: Vec<usize> = (0..panel.questions.len()).collect();
    let by_category = panel
        .by_category()
        .into_iter()
        .filter_map(|(name, questions)| Some((name.to_owned(), score(&questions)?)))
        .collect();
    Some(Scores { overall: score(&all)?, by_category })
}

/// What a panel asks.
pub(super) fn questions(panel: &Panel) -> Questions {
    let videos: BTreeSet<&str> = panel.questions.iter().map(|q| q.head.video.as_str()).collect();
    let options = panel.questions.iter().filter_map(|q| Some(q.choices.as_ref()?.options.len()));
    let guesses: Vec<f64> = options.map(|options| 1.0 / options as f64).collect();
    Questions {
        headline: panel.measure,
        n: panel.questions.len(),
        videos: videos.len(),
        chance: (!guesses.is_empty()).then(|| guesses.iter().sum::<f64>() / guesses.len() as f64),
        by_category: panel
            .by_category()
            .into_iter()
            .map(|(name, questions)| (name.to_owned(), questions.len()))
            .collect(),
    }
}
