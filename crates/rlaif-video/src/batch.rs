//! What a data set run does about clips that cannot be read.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::VideoError;

/// What to do about a clip that cannot be read; `on_bad_clip` in a recipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadClipPolicy {
    /// Stop with the clip's error. The default: nothing is dropped unasked.
    #[default]
    Error,
    /// Leave the row out and count it by reason.
    Skip,
}

impl FromStr for BadClipPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "error" => Ok(BadClipPolicy::Error),
            "skip" => Ok(BadClipPolicy::Skip),
            other => Err(format!("`on_bad_clip` must be `skip` or `error`, got `{other}`")),
        }
    }
}

/// A row that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedClip {
    /// Place of the row in the data set, from 0.
    pub row: usize,
    /// [`VideoError::reason`].
    pub reason: String,
    /// The whole message, which names the file.
    pub message: String,
}

/// How many clips of a data set could be read, and why the others could not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClipCounts {
    /// Rows that were read.
    pub loaded: usize,
    /// Rows that were left out, by [`VideoError::reason`].
    pub skipped: BTreeMap<String, usize>,
    /// The first rows that were left out, at most [`ClipCounts::EXAMPLES`].
    pub examples: Vec<SkippedClip>,
}

impl ClipCounts {
    /// Skipped rows whose message is kept.
    pub const EXAMPLES: usize = 20;

    /// Counts the outcome of one row: the value where it was read, `None` where it is skipped.
    ///
    /// # Errors
    ///
    /// The row's own error under [`BadClipPolicy::Error`], and under either policy where not the
    /// clip is at fault ([`VideoError::is_clip_fault`]): skipping every clip because ffmpeg is
    /// not installed would help nobody.
    pub fn admit<T>(
        &mut self,
        policy: BadClipPolicy,
        row: usize,
        outcome: Result<T, VideoError>,
    ) -> Result<Option<T>, VideoError> {
        match outcome {
            Ok(value) => {
                self.loaded += 1;
                Ok(Some(value))
            }
            Err(error) if policy == BadClipPolicy::Skip && error.is_clip_fault() => {
                let (reason, message) = (error.reason().to_owned(), chain(&error));
                tracing::warn!(row, reason, message, "skipped a bad clip");
                *self.skipped.entry(reason.clone()).or_default() += 1;
                if self.examples.len() < Self::EXAMPLES {
                    self.examples.push(SkippedClip { row, reason, message });
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Rows that were left out, for all reasons.
    #[must_use]
    pub fn total_skipped(&self) -> usize {
        self.skipped.values().sum()
    }

    /// Refuses a run of which nothing is left.
    ///
    /// # Errors
    ///
    /// [`VideoError::AllSkipped`] where rows were skipped and none was read.
    pub fn check_any_loaded(&self) -> Result<(), VideoError> {
        match self.examples.first() {
            Some(first) if self.loaded == 0 => Err(VideoError::AllSkipped {
                rows: self.total_skipped(),
                reasons: reasons(&self.skipped),
                first: first.message.clone(),
            }),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for ClipCounts {
    /// One line: `98 clips read, 2 skipped (truncated: 1, zero_frames: 1)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} clips read, {} skipped", self.loaded, self.total_skipped())?;
        if !self.skipped.is_empty() {
            write!(f, " ({})", reasons(&self.skipped))?;
        }
        Ok(())
    }
}

/// Reads many rows with `load`, in order. Returns what was read with its row's number, and the
/// counts; [`ClipCounts::admit`] does the same row by row where the clips do not fit in memory.
///
/// # Errors
///
/// As [`ClipCounts::admit`], and [`VideoError::AllSkipped`] where no row could be read.
pub fn load_rows<R, T>(
    rows: impl IntoIterator<Item = R>,
    policy: BadClipPolicy,
    mut load: impl FnMut(R) -> Result<T, VideoError>,
) -> Result<(Vec<(usize, T)>, ClipCounts), VideoError> {
    let mut counts = ClipCounts::default();
    let mut loaded = Vec::new();
    for (row, reference) in rows.into_iter().enumerate() {
        if let Some(value) = counts.admit(policy, row, load(reference))? {
            loaded.push((row, value));
        }
    }
    counts.check_any_loaded()?;
    Ok((loaded, counts))
}

fn reasons(skipped: &BTreeMap<String, usize>) -> String {
    let counts: Vec<String> =
        skipped.iter().map(|(reason, count)| format!("{reason}: {count}")).collect();
    counts.join(", ")
}

/// The message with those of its causes.
fn chain(error: &VideoError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(row: u32) -> Result<u32, VideoError> {
        let path = format!("{row}.mp4").into();
        match row {
            1 => Err(VideoError::ZeroFrames { path }),
            3 => Err(VideoError::Truncated { path, detail: "half".to_owned() }),
            4 => Err(VideoError::FfmpegMissing { program: "ffmpeg".into(), path }),
            _ => Ok(row * 10),
        }
    }

    #[test]
    fn skipping_keeps_the_rows_and_the_reasons() {
        let (loaded, counts) = load_rows([0, 1, 2, 3], BadClipPolicy::Skip, outcome).unwrap();
        assert_eq!(loaded, [(0, 0), (2, 20)]);
        assert_eq!(counts.to_string(), "2 clips read, 2 skipped (truncated: 1, zero_frames: 1)");
        assert_eq!(counts.examples[1].row, 3);
        assert!(counts.examples[1].message.contains("3.mp4"));
    }

    #[test]
    fn the_strict_policy_stops_at_the_first() {
        let error = load_rows([0, 1, 2, 3], BadClipPolicy::Error, outcome).unwrap_err();
        assert_eq!(error.reason(), "zero_frames");
    }

    #[test]
    fn a_fault_of_the_machine_is_never_skipped() {
        let error = load_rows([0, 1, 4], BadClipPolicy::Skip, outcome).unwrap_err();
        assert_eq!(error.reason(), "ffmpeg_missing");
    }

    #[test]
    fn a_run_without_a_single_good_clip_stops() {
        let error = load_rows([1, 3], BadClipPolicy::Skip, outcome).unwrap_err();
        assert!(matches!(&error, VideoError::AllSkipped { rows: 2, .. }), "{error}");
        assert!(error.to_string().contains("1.mp4"), "{error}");
    }

    #[test]
    fn policies_read_from_recipes() {
        assert_eq!(
            serde_json::from_str::<BadClipPolicy>(r#""skip""#).unwrap(),
            BadClipPolicy::Skip
        );
        assert_eq!("error".parse(), Ok(BadClipPolicy::Error));
        assert!("drop".parse::<BadClipPolicy>().unwrap_err().contains("`drop`"));
    }
}
