//! Cost and learning curves, averaged over seeds.

use serde::{Deserialize, Serialize};

use super::error::ComparisonError;
use super::input::{Cost, CurvePoint, MethodRuns};
use crate::item::ItemKind;

/// [`Cost`], averaged over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanCost {
    /// Completions sampled from the policy in training.
    pub completions: f64,
    /// Verdicts asked of the judge.
    pub judge_calls: f64,
    /// Seconds that the judge spent on them.
    pub judge_seconds: f64,
    /// Seconds of a whole run.
    pub wall_seconds: f64,
}

/// Accuracies at one step: their mean over seeds, the least and the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// Mean in `0..=1`.
    pub mean: f64,
    /// Accuracy under the worst seed.
    pub min: f64,
    /// Accuracy under the best seed.
    pub max: f64,
}

/// A point of a learning curve over all seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanCurvePoint {
    /// Training step; under the first seed, where runs are of different lengths.
    pub step: u64,
    /// Completions sampled so far, mean over seeds.
    pub completions: f64,
    /// Verdicts asked so far, mean over seeds.
    pub judge_calls: f64,
    /// Accuracy on multiple-choice questions; `None` unless taken under every seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple_choice: Option<Band>,
    /// Accuracy on open-ended questions; `None` unless taken under every seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_ended: Option<Band>,
}

impl MeanCurvePoint {
    /// The accuracy on questions of a kind.
    #[must_use]
    pub fn of(&self, kind: ItemKind) -> Option<&Band> {
        match kind {
            ItemKind::MultipleChoice => self.multiple_choice.as_ref(),
            ItemKind::OpenEnded => self.open_ended.as_ref(),
        }
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    values.sum::<f64>() / n
}

/// Mean cost of a method's runs, of which there is at least one.
pub(super) fn cost(method: &MethodRuns) -> MeanCost {
    let over_runs = |pick: fn(&Cost) -> f64| mean(method.runs.iter().map(|run| pick(&run.cost)));
    MeanCost {
        completions: over_runs(|cost| cost.completions as f64),
        judge_calls: over_runs(|cost| cost.judge_calls as f64),
        judge_seconds: over_runs(|cost| cost.judge_seconds),
        wall_seconds: over_runs(|cost| cost.wall_seconds),
    }
}

/// Mean curve of a method: the first points of all seeds, the second points, and so on, as long as
/// every seed has one. Runs on data of their own may differ in their number of steps.
pub(super) fn curve(method: &MethodRuns) -> Result<Vec<MeanCurvePoint>, ComparisonError> {
    for run in &method.runs {
        for point in &run.curve {
            let accuracies = [point.multiple_choice, point.open_ended].into_iter().flatten();
            if let Some(got) = accuracies.into_iter().find(|a| !(0.0..=1.0).contains(a)) {
                let (method, seed, step) = (method.name.clone(), run.seed, point.step);
                return Err(ComparisonError::CurveRange { method, seed, step, got });
            }
        }
    }
    let shortest = method.runs.iter().map(|run| run.curve.len()).min().unwrap_or(0);
    let at = |place: usize| -> Vec<CurvePoint> {
        method.runs.iter().map(|run| run.curve[place]).collect()
    };
    Ok((0..shortest).map(|place| mean_point(&at(place))).collect())
}

fn mean_point(points: &[CurvePoint]) -> MeanCurvePoint {
    let band = |pick: fn(&CurvePoint) -> Option<f64>| {
        let values: Vec<f64> = points.iter().map(pick).collect::<Option<_>>()?;
        Some(Band {
            mean: mean(values.iter().copied()),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    };
    MeanCurvePoint {
        step: points.first().map_or(0, |point| point.step),
        completions: mean(points.iter().map(|point| point.completions as f64)),
        judge_calls: mean(points.iter().map(|point| point.judge_calls as f64)),
        multiple_choice: band(|point| point.multiple_choice),
        open_ended: band(|point| point.open_ended),
    }
}
