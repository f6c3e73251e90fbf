//! One cell of the experiment: a run folder that is trained, validated and tested once, and taken up
//! where an interrupted attempt left it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use oracle_rlaif::folder::Folder;
use oracle_rlaif::recipe::{EvalConfig, Recipe};
use oracle_rlaif::runs;
use rlaif_data::{Example, write_atomic, write_jsonl};
use rlaif_eval::{EvalReport, ItemResult};
use rlaif_train::checkpoint::Checkpoint;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::commands::{Context, eval, stage};

/// Accuracies of one checkpoint, as fractions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Accuracy {
    pub(super) step: u64,
    pub(super) multiple_choice: Option<f64>,
    pub(super) open_ended: Option<f64>,
}

impl Accuracy {
    fn of(step: u64, report: &EvalReport) -> Self {
        Accuracy {
            step,
            multiple_choice: report.multiple_choice.as_ref().map(|s| s.accuracy),
            open_ended: report.open_ended.as_ref().map(|s| s.accuracy),
        }
    }

    /// Mean of the two kinds: what learning rates are chosen by.
    pub(super) fn mean(&self) -> f64 {
        let both = [self.multiple_choice, self.open_ended];
        let known: Vec<f64> = both.into_iter().flatten().collect();
        known.iter().sum::<f64>() / known.len().max(1) as f64
    }
}

/// `cell.json`, written last: the cell is done.
#[derive(Serialize, Deserialize)]
struct Finished<T> {
    wall_seconds: f64,
    result: T,
}

/// Does `work` in `folder` unless it was done; what it gave, and the seconds it took over all
/// attempts. `None` where Ctrl-C stopped it.
pub(super) fn cell<T: Serialize + DeserializeOwned>(
    folder: &Path,
    recipe: &Recipe,
    work: impl FnOnce(Option<&Checkpoint>) -> Result<Option<T>>,
) -> Result<Option<(T, f64)>> {
    let done = folder.join("cell.json");
    let begun = folder.join("recipe.toml").is_file();
    if done.is_file() {
        let before = std::fs::read_to_string(folder.join("recipe.toml"))?;
        if before != recipe.to_toml()? {
            bail!(
                "`{}` was made with another recipe; choose another `--out`, or the settings of \
                 before",
                folder.display()
            );
        }
        let finished: Finished<T> = read_json(&done)?;
        return Ok(Some((finished.result, finished.wall_seconds)));
    }
    let clock = folder.join("elapsed.json");
    let before: f64 = if clock.is_file() { read_json(&clock)? } else { 0.0 };
    let start = Instant::now();
    std::fs::create_dir_all(folder)?;
    let from = stage::open_run(folder, recipe, begun)?;
    let result = work(from.as_ref())?;
    let wall_seconds = before + start.elapsed().as_secs_f64();
    let Some(result) = result else {
        write_json(&clock, &wall_seconds)?;
        return Ok(None);
    };
    let finished = Finished { wall_seconds, result };
    write_json(&done, &finished)?;
    Ok(Some((finished.result, wall_seconds)))
}

/// Questions and how they are asked.
pub(super) struct Exam<'a> {
    pub(super) context: &'a Context,
    pub(super) recipe: &'a Recipe,
    pub(super) config: &'a EvalConfig,
}

impl Exam<'_> {
    /// The accuracy of a finished cell on validation questions, taken once.
    pub(super) fn validate(&self, folder: &Path, rows: &[Example]) -> Result<Accuracy> {
        let path = folder.join("validation.json");
        if path.is_file() {
            return read_json(&path);
        }
        let (report, _) = self.ask(folder, rows, "validation")?;
        let accuracy = Accuracy::of(0, &report);
        write_json(&path, &accuracy)?;
        Ok(accuracy)
    }

    /// The answers of a finished cell to test questions, taken once.
    pub(super) fn test(&self, folder: &Path, rows: &[Example]) -> Result<Vec<ItemResult>> {
        let path = folder.join("answers.jsonl");
        if path.is_file() {
            return runs::read_lines(&path);
        }
        let (_, items) = self.ask(folder, rows, "test")?;
        write_jsonl(&path, &items)?;
        Ok(items)
    }

    /// Accuracies of the checkpoints on the way, taken once; the checkpoints are removed then.
    pub(super) fn curve(&self, folder: &Path, rows: &[Example]) -> Result<Vec<Accuracy>> {
        let path = folder.join("curve.json");
        if path.is_file() {
            return read_json(&path);
        }
        let mut points = Vec::new();
        let checkpoints = checkpoints(folder)?;
        for (step, checkpoint) in &checkpoints {
            let (report, _) = self.ask(checkpoint, rows, &format!("step {step}"))?;
            points.push(Accuracy::of(*step, &report));
        }
        write_json(&path, &points)?;
        for (_, checkpoint) in checkpoints {
            std::fs::remove_dir_all(&checkpoint)?;
        }
        Ok(points)
    }

    fn ask(
        &self,
        folder: &Path,
        rows: &[Example],
        name: &str,
    ) -> Result<(EvalReport, Vec<ItemResult>)> {
        let opened = Folder::open(folder, &self.context.device)?;
        let plan =
            eval::Plan { name, checkpoint: "", video: &self.recipe.video, config: self.config };
        eval::evaluate(self.context, &opened, &opened.model, rows, &plan)
    }
}

/// Checkpoints of a run in the order of their steps.
fn checkpoints(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let step = path
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(|n| n.strip_prefix("checkpoint-").and_then(|step| step.parse::<u64>().ok()));
        found.extend(step.map(|step| (step, path)));
    }
    found.sort();
    Ok(found)
}

/// Reads a JSON file.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).with_context(|| format!("`{}`", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| {
        format!("`{}` is damaged; remove its folder to run it again", path.display())
    })
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    Ok(write_atomic(path, &serde_json::to_vec_pretty(value)?)?)
}
