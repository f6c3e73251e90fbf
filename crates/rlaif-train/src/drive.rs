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

/// Steps to the last one, or until asked to stop. Returns true where it reached the end.
pub(crate) fn drive(work: &mut impl Loop, run: &mut Run<'_>) -> Result<bool, TrainError> {
    let total = work.max_steps();
    while *work.step() < total {
        let metrics = work.one_step(run)?;
        *work.step() += 1;
        let step = *work.step();
        if let Some(folder) = &run.folder {
            metrics::append(&folder.join("metrics.jsonl"), step, &metrics)?;
        }
        (run.listen)(Event::Step { step, total, metrics: &metrics });
        let (save_steps, keep) = work.saving();
        let stopping = run.control.stopping() && step < total;
        let due = save_steps > 0 && step.is_multiple_of(save_steps);
        if let (Some(folder), true) = (&run.folder, stopping || due) {
            let path = work.checkpoint(folder)?;
            checkpoint::prune(folder, keep)?;
            (run.listen)(Event::Saved { path: &path });
        }
        if stopping {
            return Ok(false);
        }
    }
    Ok(true)
}
