//! What can be wrong with a data set: every message names the file, the line and the field.

use std::io;
use std::path::PathBuf;

use crate::columns::ColumnClash;

/// A data set that cannot be read.
///
/// Lines count from 1. In a JSON array the line is the one on which the item starts.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file system refused.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds no row.
    #[error("{}: no rows; expected one JSON object a line, or a JSON array", path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that are no UTF-8.
    #[error("{}:{line}: not UTF-8 at byte {byte} of the line{hint}", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The first bad byte, counted from 1.
        byte: usize,
        /// What it may be instead; begins with `; ` or is empty.
        hint: &'static str,
    },
    /// A line that is too long to be a row.
    #[error(
        "{}:{line}: longer than {limit} bytes; rows hold paths, not pixels (raise \
         `max_line_bytes` if this is right)",
        path.display()
    )]
    LineTooLong {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A line that is no JSON.
    #[error("{}:{line}:{column}: not valid JSON: {problem}{hint}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The byte in the line, counted from 1; 0 at its end.
        column: usize,
        /// What the parser met.
        problem: String,
        /// What may be meant; begins with `; ` or is empty.
        hint: &'static str,
    },
    /// A row that is no object with one value a key.
    #[error("{}:{line}: {problem}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What it is instead.
        problem: String,
    },
    /// A field that is missing, or does not hold what it should.
    #[error("{}:{line}: `{field}`: {problem}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The field, as a path into the row: `messages[0].content[1].video`.
        field: String,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// Two rows of one name.
    #[error(
        "{}:{line}: `{field}`: `{id}` is the id of line {first_line} already; ids are unique \
         within a file",
        path.display()
    )]
    DuplicateId {
        /// The file.
        path: PathBuf,
        /// The line of the second.
        line: usize,
        /// The line of the first.
        first_line: usize,
        /// The column of the id.
        field: String,
        /// The id.
        id: String,
    },
    /// A column map that is not one.
    #[error("the column map cannot be used")]
    Columns(#[from] ColumnClash),
}

/// What is wrong in a row whose place the reader knows.
#[derive(Debug)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) problem: String,
}

impl FieldError {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        FieldError { field: field.into(), problem: problem.into() }
    }

    /// `expected ..., got ...`, the value cut short.
    pub(crate) fn expected(
        field: impl Into<String>,
        expected: &str,
        got: &serde_json::Value,
    ) -> Self {
        let mut shown = got.to_string();
        if let Some((cut, _)) = shown.char_indices().nth(60) {
            shown.truncate(cut);
            shown.push_str("...");
        }
        FieldError::new(field, format!("expected {expected}, got `{shown}`"))
    }

    pub(crate) fn at(self, path: &std::path::Path, line: usize) -> DataError {
        let FieldError { field, problem } = self;
        DataError::Field { path: path.to_owned(), line, field, problem }
    }
}
