//! Numbers of one step, and the file that keeps them: one JSON object a line.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::error::{TrainError, at};

/// Metric name to value. Names follow TRL where it has them.
pub type Metrics = BTreeMap<String, f64>;

/// Metrics that measure the clock: the only ones that differ between two runs of the same recipe
/// on the CPU device.
#[must_use]
pub fn measures_time(name: &str) -> bool {
    name.starts_with("time/")
        || name.starts_with("speed/")
        || name == "step_time"
        || name.starts_with("oracle/latency")
        || name.starts_with("reward/latency")
}

/// Appends one step.
///
/// # Errors
///
/// Fails where the file cannot be written.
pub fn append(path: &Path, step: u64, metrics: &Metrics) -> Result<(), TrainError> {
    // A struct and not a JSON map, whose order would be left to serde_json's features.
    #[derive(Serialize)]
    struct Record<'a> {
        step: u64,
        #[serde(flatten)]
        metrics: &'a Metrics,
    }
    let record = Record { step, metrics };
    let line = serde_json::to_string(&record).map_err(|e| at(path)(e.into()))? + "\n";
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).map_err(at(path))?;
    file.write_all(line.as_bytes()).map_err(at(path))
}

/// Drops the records after `step`, and a last line that a kill cut off: a resumed run writes them
/// again.
///
/// # Errors
///
/// Fails where the file cannot be read or written.
pub fn truncate_after(path: &Path, step: u64) -> Result<(), TrainError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(path)(error)),
    };
    let kept: String = text
        .lines()
        .filter(|line| {
            serde_json::from_str::<serde_json::Value>(line)
                .ok()
                .and_then(|record| record.get("step").and_then(serde_json::Value::as_u64))
                .is_some_and(|at| at <= step)
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    if kept.len() == text.len() {
        return Ok(());
    }
    let temporary = path.with_extension("jsonl.tmp");
    fs::write(&temporary, kept).map_err(at(&temporary))?;
    fs::rename(&temporary, path).map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_log_loses_what_came_after_its_checkpoint_and_the_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        truncate_after(&path, 3).unwrap();
        for step in 1..=5 {
            append(&path, step, &Metrics::from([("loss".to_owned(), 0.5)])).unwrap();
        }
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(br#"{"step": 3, "lo"#).unwrap();
        truncate_after(&path, 3).unwrap();
        let lines = fs::read_to_string(&path).unwrap();
        assert_eq!(lines.lines().count(), 3);
        assert_eq!(lines.lines().last().unwrap(), r#"{"step":3,"loss":0.5}"#);
    }
}
