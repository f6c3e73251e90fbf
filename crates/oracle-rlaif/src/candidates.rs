//! Files of groups: rows with candidate answers, and their order where it is known.
//!
//! ```json
//! {"video": "clips/a.mp4", "prompt": "What moves?", "candidates": ["A cat.", "A dog."], "ranking": "[2] > [1]"}
//! ```

use std::path::{Path, PathBuf};

use rlaif_data::{DataError, Example, Reader, WriteError, write_jsonl};
use rlaif_rank::Ranking;
use serde::Serialize;
use serde_json::Value;

/// Candidates of one row, at most.
pub const CANDIDATES_LIMIT: usize = 1000;

/// A row of our own layout with two more columns.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CandidateRow {
    /// The question, its video and what is known of the answer.
    #[serde(flatten)]
    pub example: Example,
    /// The candidate answers, 1 to [`CANDIDATES_LIMIT`].
    pub candidates: Vec<String>,
    /// Their order, best first, counted from 1: `[2] > [1] = [3]`. A ranking of the candidates; those
    /// that it does not name are unplaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranking: Option<String>,
}

/// Why a file of groups cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CandidatesError {
    /// What any data set can have wrong.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The columns that make a row a group.
    #[error("{}:{line}: `{field}`: {problem}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The column.
        field: &'static str,
        /// What is wrong and what was expected.
        problem: String,
    },
}

impl CandidateRow {
    /// The order as a ranking of the candidates; none where the row has none.
    #[must_use]
    pub fn parsed_ranking(&self) -> Option<Ranking> {
        // Rows that were read have been checked.
        Ranking::parse(self.ranking.as_deref()?, self.candidates.len()).ok()
    }
}

/// Reads the rows of a JSONL file or a JSON array as `reader` reads examples; `candidates` and
/// `ranking` are taken out of their `meta`.
///
/// # Errors
///
/// With file, line and field, at the first row that is not as described.
pub fn read_candidates(path: &Path, reader: &Reader) -> Result<Vec<CandidateRow>, CandidatesError> {
    let loaded = reader.numbered_examples(path)?;
    loaded
        .warned()
        .into_iter()
        .map(|(line, example)| {
            row(example).map_err(|(field, problem)| {
                let path = path.to_owned();
                CandidatesError::Field { path, line, field, problem }
            })
        })
        .collect()
}

/// Writes rows, whole or not at all, and returns how many. Paths of videos become absolute: where the
/// file lies says nothing of where they lie.
///
/// # Errors
///
/// When the file system refuses.
pub fn write_candidates<'a>(
    path: &Path,
    rows: impl IntoIterator<Item = &'a CandidateRow>,
) -> Result<usize, WriteError> {
    let whole = rows.into_iter().map(|row| CandidateRow {
        example: Example { video: row.example.video.absolute(), ..row.example.clone() },
        ..row.clone()
    });
    write_jsonl(path, whole)
}

fn row(mut example: Example) -> Result<CandidateRow, (&'static str, String)> {
    let candidates = candidates(example.meta.remove("candidates").unwrap_or(Value::Null))
        .map_err(|problem| ("candidates", problem))?;
    let ranking = match example.meta.remove("ranking") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => {
            Ranking::parse(&text, candidates.len())
                .map_err(|error| ("ranking", error.to_string()))?;
            Some(text)
        }
        Some(other) => {
            return Err((
                "ranking",
                format!("expected text as `[2] > [1]`, got `{}`", cut(&other)),
            ));
        }
    };
    Ok(CandidateRow { example, candidates, ranking })
}

fn candidates(value: Value) -> Result<Vec<String>, String> {
    let expected = format!("expected a list of 1 to {CANDIDATES_LIMIT} texts");
    let items = match value {
        Value::Array(items) if (1..=CANDIDATES_LIMIT).contains(&items.len()) => items,
        Value::Array(items) => return Err(format!("{expected}, got {}", items.len())),
        Value::Null => return Err(format!("missing; {expected}")),
        other => return Err(format!("{expected}, got `{}`", cut(&other))),
    };
    let text = |(at, item): (usize, Value)| match item {
        Value::String(text) => Ok(text),
        other => Err(format!("{expected}, got `{}` as number {}", cut(&other), at + 1)),
    };
    items.into_iter().enumerate().map(text).collect()
}

fn cut(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use rlaif_data::VideoRef;

    use super::*;

    fn read(rows: &str) -> Result<Vec<CandidateRow>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("groups.jsonl");
        std::fs::write(&path, rows).unwrap();
        let rows = read_candidates(&path, &Reader::default());
        rows.map_err(|error| error.to_string().rsplit('/').next().unwrap().to_owned())
    }

    #[test]
    fn rows_read_back_as_they_were_written_with_the_same_video() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("groups.jsonl");
        std::fs::write(
            &path,
            r#"{"video": "a.mp4", "prompt": "What?", "candidates": ["x", "y"], "ranking": "[2] > [1]", "by": "z"}"#,
        )
        .unwrap();
        let rows = read_candidates(&path, &Reader::default()).unwrap();
        assert_eq!(rows[0].candidates, ["x", "y"]);
        assert_eq!(rows[0].parsed_ranking().unwrap().levels(), [Some(1), Some(0)]);
        assert_eq!(rows[0].example.video, VideoRef::File(folder.path().join("a.mp4")));
        assert_eq!(rows[0].example.meta["by"], "z");
        assert_eq!(rows[0].example.meta.len(), 1);

        let elsewhere = tempfile::tempdir().unwrap();
        let copy = elsewhere.path().join("ranked.jsonl");
        assert_eq!(write_candidates(&copy, &rows).unwrap(), 1);
        assert_eq!(read_candidates(&copy, &Reader::default()).unwrap(), rows);
    }

    #[test]
    fn messages_name_the_line_and_the_column() {
        let good = r#"{"video": "a", "prompt": "?", "candidates": ["x", "y"]}"#;
        let second = |columns: &str| {
            read(&format!(
                "{good}\n\n{{\"video\": \"a\", \"prompt\": \"?\", \"id\": \"b\"{columns}}}\n"
            ))
            .unwrap_err()
        };
        assert_eq!(
            second(""),
            "groups.jsonl:3: `candidates`: missing; expected a list of 1 to 1000 texts"
        );
        assert!(second(r#", "candidates": []"#).ends_with("1 to 1000 texts, got 0"));
        assert!(second(r#", "candidates": ["x", 3]"#).ends_with("got `3` as number 2"));
        assert!(second(r#", "candidates": "x""#).ends_with("got `\"x\"`"));
        let label = second(r#", "candidates": ["x", "y"], "ranking": "[3] > [1]""#);
        assert!(
            label.starts_with("groups.jsonl:3: `ranking`: `[3]` names no candidate"),
            "{label}"
        );
        assert!(second(r#", "candidates": ["x"], "ranking": [1]"#).contains("expected text"));
        assert!(second(r#", "messages": 3"#).starts_with("groups.jsonl:3"));
    }
}
