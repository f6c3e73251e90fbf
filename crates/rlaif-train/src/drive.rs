//! What all loops do around a step: log it, write checkpoints, stop when asked.

use std::path::{Path, PathBuf};

use crate::checkpoint;
use crate::error::TrainError;
use crate::metrics::{self, Metrics};
use crate::run::{Event, Run};

/// A loop as [`drive`] sees it.
pub(crate) trait Loop {
    /// Steps done.
    fn step(&mut self) -> &mut u64;
    /// Steps in all.
    fn max_steps(&self) -> u64;
    /// Steps between checkpoints, 0 for none; and how many are kept, 0 for all.
    fn saving(&self) -> (u64, usize);
    /// Writes `checkpoint-<step>` into the run folder.
    fn checkpoint(&self, folder: &Path) -> Result<PathBuf, TrainError>;
    /// One step.
    fn one_step(&mut self, run: &mut Run<'_>) -> Result<Metrics, TrainError>;
}

/// Steps to the last one, or until asked to stop. Returns true where it reached the end. What a
/// judge's failure ends leaves a checkpoint of the step before.
pub(crate) fn drive(work: &mut impl Loop, run: &mut Run<'_>) -> Result<bool, TrainError> {
    let total = work.max_steps();
    let mut saved = *work.step();
    while *work.step() < total {
        let metrics = match work.one_step(run) {
            Ok(metrics) => metrics,
            Err(error) if error.is_before_the_update() => {
                if *work.step() > saved {
                    save(work, run)?;
                }
                return match error {
                    TrainError::Interrupted { .. } => Ok(false),
                    other => Err(other),
                };
            }
            Err(error) => return Err(error),
        };
        *work.step() += 1;
        let step = *work.step();
        if let Some(folder) = &run.folder {
            metrics::append(&folder.join("metrics.jsonl"), step, &metrics)?;
        }
        (run.listen)(Event::Step { step, total, metrics: &metrics });
        let (save_steps, _) = work.saving();
        let stopping = run.control.stopping() && step < total;
        let due = save_steps > 0 && step.is_multiple_of(save_steps);
        if stopping || due {
            save(work, run)?;
            saved = step;
        }
        if stopping {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes a checkpoint where the run has a folder.
fn save(work: &mut impl Loop, run: &mut Run<'_>) -> Result<(), TrainError> {
    let Some(folder) = &run.folder else { return Ok(()) };
    let path = work.checkpoint(folder)?;
    checkpoint::prune(folder, work.saving().1)?;
    (run.listen)(Event::Saved { path: &path });
    Ok(())
}
