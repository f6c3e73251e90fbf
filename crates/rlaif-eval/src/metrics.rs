//! Reads `metrics.jsonl`, the log of a training run: one JSON object a line.
//!
//! ```text
//! {"step": 1, "loss": 2.31, "rank/ndcg": 0.81, "phase": "train"}
//! ```
//!
//! `step` is required and never falls from one line to the next. A number is a value, `null` is a
//! value that was not finite (it reads as NaN and plots as a gap), a string is a label; anything
//! else is an error. A run that was killed may leave half a line at the end of the file, without a
//! line break behind it: that one is dropped and [`MetricsLog::truncated`] says so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// One line of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricsRecord {
    /// Optimizer step, counted from the start of the run.
    pub step: u64,
    /// Values by name; NaN where the log says `null`.
    pub values: BTreeMap<String, f64>,
    /// Text fields by name.
    pub labels: BTreeMap<String, String>,
}

/// A log in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricsLog {
    /// Records with steps that never fall.
    pub records: Vec<MetricsRecord>,
    /// Half a line at the end was dropped.
    pub truncated: bool,
}

/// A log that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The file cannot be opened or read.
    #[error("cannot read the metrics of the run from `{path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not JSON.
    #[error("{at}: expected one JSON object a line")]
    NotJson {
        /// File and line.
        at: Place,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A line is JSON of another form.
    #[error("{at}: expected a JSON object, got `{got}`")]
    NotAnObject {
        /// File and line.
        at: Place,
        /// The value.
        got: Value,
    },
    /// The step is missing or no whole number.
    #[error("{at}: expected `step` to be a whole number from 0, got `{got}`")]
    BadStep {
        /// File and line.
        at: Place,
        /// The value; `null` where it is missing.
        got: Value,
    },
    /// A field is neither number, text nor null.
    #[error("{at}: expected `{field}` to be a number, a string or null, got `{got}`")]
    BadField {
        /// File and line.
        at: Place,
        /// The field.
        field: String,
        /// The value.
        got: Value,
    },
    /// The step falls.
    #[error(
        "{at}: step {step} comes after step {previous}; \
         the log holds two runs or a resume that did not cut it"
    )]
    StepFalls {
        /// File and line.
        at: Place,
        /// The step of this line.
        step: u64,
        /// The step of the line before.
        previous: u64,
    },
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

impl MetricsLog {
    /// Reads a log from a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or a line other than an unfinished last one is not a record.
    pub fn read(path: &Path) -> Result<Self, MetricsError> {
        let bytes = std::fs::read(path)
            .map_err(|source| MetricsError::Unreadable { path: path.to_owned(), source })?;
        MetricsLog::parse(&bytes, path)
    }

    /// Reads a log from memory; `path` is only named in errors.
    ///
    /// # Errors
    ///
    /// A line other than an unfinished last one is not a record.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, MetricsError> {
        let mut log = MetricsLog::default();
        for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let finished = line.last() == Some(&b'\n');
            if line.trim_ascii().is_empty() {
                continue;
            }
            let at = Place { path: path.to_owned(), line: index + 1 };
            let value = match serde_json::from_slice::<Value>(line) {
                Ok(value) => value,
                Err(_) if !finished => {
                    log.truncated = true;
                    break;
                }
                Err(source) => return Err(MetricsError::NotJson { at, source }),
            };
            let record = record(value, &at)?;
            match log.records.last() {
                Some(last) if last.step > record.step => {
                    let (step, previous) = (record.step, last.step);
                    return Err(MetricsError::StepFalls { at, step, previous });
                }
                _ => log.records.push(record),
            }
        }
        Ok(log)
    }

    /// `(step, value)` of every record that has the metric; NaN where the log says `null`.
    #[must_use]
    pub fn series(&self, metric: &str) -> Vec<(u64, f64)> {
        let point = |record: &MetricsRecord| Some((record.step, *record.values.get(metric)?));
        self.records.iter().filter_map(point).collect()
    }

    /// Names of all metrics in alphabetical order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.records.iter().flat_map(|r| r.values.keys().map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn record(value: Value, at: &Place) -> Result<MetricsRecord, MetricsError> {
    let at = || at.clone();
    let Value::Object(fields) = value else {
        return Err(MetricsError::NotAnObject { at: at(), got: value });
    };
    let step = fields.get("step").unwrap_or(&Value::Null);
    let Some(step) = step.as_u64() else {
        return Err(MetricsError::BadStep { at: at(), got: step.clone() });
    };
    let mut record = MetricsRecord { step, ..MetricsRecord::default() };
    for (field, value) in fields.into_iter().filter(|(field, _)| field != "step") {
        match value {
            Value::Null => {
                record.values.insert(field, f64::NAN);
            }
            Value::Number(number) => {
                record.values.insert(field, number.as_f64().unwrap_or(f64::NAN));
            }
            Value::String(text) => {
                record.labels.insert(field, text);
            }
            got => return Err(MetricsError::BadField { at: at(), field, got }),
        }
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<MetricsLog, MetricsError> {
        MetricsLog::parse(text.as_bytes(), Path::new("run/metrics.jsonl"))
    }

    #[test]
    fn records_become_series() {
        let log = parse(
            "{\"step\":1,\"loss\":2.5,\"phase\":\"sft\"}\n\n{\"step\":1,\"eval/accuracy\":1}\n\
             {\"step\":3,\"loss\":null}\n",
        )
        .unwrap();
        assert!(!log.truncated);
        assert_eq!(log.names(), ["eval/accuracy", "loss"]);
        assert_eq!(log.series("eval/accuracy"), [(1, 1.0)]);
        let loss = log.series("loss");
        assert_eq!(loss[0], (1, 2.5));
        assert!(loss[1].0 == 3 && loss[1].1.is_nan());
        assert_eq!(log.records[0].labels["phase"], "sft");
        assert!(log.series("kl").is_empty());
    }

    #[test]
    fn a_killed_runs_last_line_is_dropped() {
        let log = parse("{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"lo").unwrap();
        assert!(log.truncated);
        assert_eq!(log.records.len(), 1);
        // Cut inside a character of several bytes.
        let bytes = b"{\"step\":1}\n{\"step\":2,\"phase\":\"\xc3";
        assert!(MetricsLog::parse(bytes, Path::new("m")).unwrap().truncated);
        // Whole, only the line break is missing.
        let log = parse("{\"step\":1}\n{\"step\":2}").unwrap();
        assert_eq!((log.records.len(), log.truncated), (2, false));
    }

    proptest! {
        #[test]
        fn a_log_cut_anywhere_reads_up_to_the_cut(steps in 1_u64..6, cut in 0.0..1.0_f64) {
            let line = |step| format!("{{\"step\":{step},\"loss\":1.5,\"phase\":\"größer\"}}\n");
            let text: String = (0..steps).map(line).collect();
            let whole = parse(&text).unwrap();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below len")]
            let end = (cut * text.len() as f64) as usize;
            let log = MetricsLog::parse(&text.as_bytes()[..end], Path::new("m")).unwrap();
            prop_assert_eq!(&log.records[..], &whole.records[..log.records.len()]);
            let lines = text.as_bytes()[..end].split(|byte| *byte == b'\n').count() - 1;
            prop_assert!(log.records.len() >= lines);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            // Never a panic; what is read has steps in order.
            if let Ok(log) = MetricsLog::parse(&bytes, Path::new("m")) {
                prop_assert!(log.records.is_sorted_by_key(|record| record.step));
            }
        }
    }

    #[test]
    fn anything_else_names_file_line_and_field() {
        for (text, complaint) in [
            (
                "{\"step\":1}\n{\"step\":2,\"lo\n{\"step\":3}\n",
                "run/metrics.jsonl:2: expected one JSON",
            ),
            ("[1]\n", "run/metrics.jsonl:1: expected a JSON object, got `[1]`"),
            ("{\"loss\":1}\n", "expected `step` to be a whole number from 0, got `null`"),
            ("{\"step\":-1}\n", "got `-1`"),
            ("{\"step\":1,\"ok\":true}\n", "expected `ok` to be a number, a string or null"),
            ("{\"step\":5}\n{\"step\":4}\n", "run/metrics.jsonl:2: step 4 comes after step 5"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        assert!(MetricsLog::read(&path).unwrap_err().to_string().contains("metrics.jsonl"));
        std::fs::write(&path, "{\"step\":0,\"kl\":0.5}\n").unwrap();
        assert_eq!(MetricsLog::read(&path).unwrap().series("kl"), [(0, 0.5)]);
    }
}
