//! Groups of a file, put to an Oracle batch by batch.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rlaif_oracle::{
    Cancel, Oracle, OracleError, OracleMetrics, OracleWorker, RankRequest, Verdict,
};
use rlaif_train::Control;

/// Groups that are handed to the Oracle together.
const BATCH: usize = 8;
const GLANCE: Duration = Duration::from_millis(100);

/// What an Oracle said of many groups.
pub struct Asked {
    /// One result a request, in their order.
    pub verdicts: Vec<Result<Verdict, OracleError>>,
    /// What happened, counted.
    pub metrics: OracleMetrics,
    /// What it cost.
    pub usage: rlaif_oracle::Usage,
}

impl Asked {
    /// The failure for good that ended the asking, where one did.
    #[must_use]
    pub fn stopped_by(&self) -> Option<&OracleError> {
        failures(&self.verdicts).find(|error| error.is_permanent())
    }
}

fn failures(verdicts: &[Result<Verdict, OracleError>]) -> impl Iterator<Item = &OracleError> {
    verdicts.iter().filter_map(|verdict| verdict.as_ref().err())
}

/// Asks `oracle` about all `requests`; `done` hears how many have come back. Where the run is to stop, or
/// an Oracle fails for good, the rest comes back as an error.
///
/// # Errors
///
/// Where there is no thread to be had.
pub fn ask(
    oracle: Box<dyn Oracle>,
    requests: &[RankRequest],
    control: &Control,
    done: &mut dyn FnMut(usize),
) -> Result<Asked> {
    let cancel = Cancel::new();
    let worker = OracleWorker::start(oracle, &cancel).context("the Oracle's thread")?;
    let pending: Vec<_> =
        requests.chunks(BATCH).map(|batch| worker.submit(batch.to_vec())).collect();
    let (mut verdicts, mut metrics) =
        (Vec::with_capacity(requests.len()), OracleMetrics::default());
    for mut waiting in pending {
        while !waiting.wait_for(GLANCE) {
            if control.stopping() {
                cancel.cancel();
            }
        }
        let outcome = waiting.wait();
        metrics += &outcome.metrics;
        if failures(&outcome.verdicts).any(OracleError::is_permanent) {
            cancel.cancel();
        }
        verdicts.extend(outcome.verdicts);
        done(verdicts.len());
    }
    Ok(Asked { verdicts, metrics, usage: worker.usage() })
}
