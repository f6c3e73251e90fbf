//! What a finished cell is worth: its answers to the test questions, its learning curve, its cost.

use std::path::Path;

use anyhow::Result;
use oracle_rlaif::recipe::Recipe;
use rlaif_data::Example;
use rlaif_eval::comparison::{Cost, CurvePoint, SeedRun};
use rlaif_eval::{ItemKind, ItemResult, MetricsLog, report};

use super::cell::{Accuracy, Exam};
use super::plan::{Arm, Learns};
use super::run::{Experiment, Trained};

impl Experiment<'_> {
    /// One arm of a seed, tested.
    pub(super) fn tested(
        &self,
        seed: u64,
        arm: &Arm,
        trained: &Trained,
        exam: &Exam<'_>,
        test: &[Example],
    ) -> Result<SeedRun> {
        let items = exam.test(&trained.folder, test)?;
        let points = exam.curve(&trained.folder, test)?;
        let at_start = exam.test(&self.seed_folder(seed).join("sft"), test)?;
        let log = trained.folder.join("metrics.jsonl");
        let during = if arm.learns == Learns::Nothing {
            During::default()
        } else {
            During::read(&log, arm, &Recipe::read(&trained.folder.join("recipe.toml"), &[])?)?
        };
        let before = &trained.before;
        let begin = accuracy_of(&at_start);
        let mut curve = vec![point(&begin, 0, 0)];
        if before.completions > 0 {
            curve.push(point(&begin, before.completions, before.calls));
        }
        if arm.learns != Learns::Nothing {
            // The last checkpoint, where one was due, is the model that was tested.
            let last = Accuracy { step: during.steps, ..accuracy_of(&items) };
            let on_the_way = points.iter().filter(|point| point.step < during.steps);
            for reached in on_the_way.chain([&last]) {
                let completions = before.completions + during.completions_per_step * reached.step;
                let calls = before.calls + during.calls_per_step * reached.step;
                curve.push(point(reached, completions, calls));
            }
        }
        let cost = Cost {
            completions: before.completions + during.completions_per_step * during.steps,
            judge_calls: before.calls + during.calls_per_step * during.steps,
            judge_seconds: before.judge_seconds + during.judge_seconds,
            wall_seconds: before.seconds,
        };
        Ok(SeedRun { seed, items, cost, curve })
    }
}

/// What a method's own steps use up.
#[derive(Default)]
struct During {
    steps: u64,
    completions_per_step: u64,
    calls_per_step: u64,
    judge_seconds: f64,
}

impl During {
    fn read(log: &Path, arm: &Arm, recipe: &Recipe) -> Result<Self> {
        if let (Learns::Pairs, Some(dpo)) = (arm.learns, &recipe.dpo) {
            return Ok(During { steps: dpo.max_steps, ..During::default() });
        }
        let Some(train) = &recipe.train else { return Ok(During::default()) };
        let log = MetricsLog::read(log)?;
        let judged = matches!(arm.learns, Learns::Judge | Learns::Truth);
        let prompts = train.prompts_per_step as u64;
        let latency: f64 = log.series("oracle/latency").iter().map(|(_, s)| s).sum();
        Ok(During {
            steps: train.max_steps,
            completions_per_step: prompts * train.num_generations as u64,
            calls_per_step: if judged { prompts } else { 0 },
            judge_seconds: if judged { latency * prompts as f64 } else { 0.0 },
        })
    }
}

fn point(at: &Accuracy, completions: u64, judge_calls: u64) -> CurvePoint {
    CurvePoint {
        step: at.step,
        completions,
        judge_calls,
        multiple_choice: at.multiple_choice,
        open_ended: at.open_ended,
    }
}

fn accuracy_of(items: &[ItemResult]) -> Accuracy {
    let mean = |kind| {
        let measure = report::headline(items, kind);
        let values: Vec<f64> = items
            .iter()
            .filter(|item| item.kind == kind)
            .filter_map(|item| measure.value(item))
            .collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    Accuracy {
        step: 0,
        multiple_choice: mean(ItemKind::MultipleChoice),
        open_ended: mean(ItemKind::OpenEnded),
    }
}
