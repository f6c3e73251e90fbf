//! Reading data sets: [`read_examples`], [`read_preferences`], and a [`Reader`] with options.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::FieldError;
use crate::layout::Layout;
use crate::rows::{Row, for_each_row};
use crate::{Columns, DataError, Example, Preference};

/// Reads the examples of a JSONL file or a JSON array; the [crate] describes the layouts.
///
/// Relative video paths start at the folder of the file; use a [`Reader`] for another root. What
/// the rows carry and nothing reads is reported as a warning of `tracing`, once a field.
///
/// # Errors
///
/// With file, line and field, at the first row that is not as described.
pub fn read_examples(path: impl AsRef<Path>, columns: &Columns) -> Result<Vec<Example>, DataError> {
    let reader = Reader { columns: columns.clone(), ..Reader::default() };
    Ok(reader.examples(path)?.warned())
}

/// Reads preferences the same way.
///
/// # Errors
///
/// With file, line and field, at the first row that is not as described.
pub fn read_preferences(
    path: impl AsRef<Path>,
    columns: &Columns,
) -> Result<Vec<Preference>, DataError> {
    let reader = Reader { columns: columns.clone(), ..Reader::default() };
    Ok(reader.preferences(path)?.warned())
}

/// How data sets are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Which column holds what.
    pub columns: Columns,
    /// Where relative video paths start; the folder of the file when `None`.
    pub video_root: Option<PathBuf>,
    /// The longest row in bytes. Default 16 MiB: a row holds text and paths.
    pub max_line_bytes: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Reader { columns: Columns::default(), video_root: None, max_line_bytes: 16 << 20 }
    }
}

/// Rows, and what was in them that nothing reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded<T> {
    /// The rows, in the order of the file.
    pub rows: Vec<T>,
    /// Fields without effect, by name.
    pub notes: Vec<Note>,
}

/// A field that some rows carry and that has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file.
    pub path: PathBuf,
    /// The field, indices left out: `messages[].name`.
    pub field: String,
    /// Whether it is kept in `meta.video_options` or dropped.
    pub kept: bool,
    /// Line of the first row with it.
    pub first_line: usize,
    /// How many times it came.
    pub count: usize,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = if self.kept {
            "is kept in `meta.video_options` and has no effect; frames are sampled as the run says"
        } else {
            "is ignored"
        };
        let Note { field, count, first_line, .. } = self;
        write!(f, "{}:{first_line}: `{field}` {fate} ({count} times)", self.path.display())
    }
}

impl<T> Loaded<T> {
    /// The rows, with a warning of `tracing` for each note.
    #[must_use]
    pub fn warned(self) -> Vec<T> {
        for note in &self.notes {
            tracing::warn!("{note}");
        }
        self.rows
    }
}

impl<T> Loaded<(usize, T)> {
    fn unnumbered(self) -> Loaded<T> {
        let rows = self.rows.into_iter().map(|(_, row)| row).collect();
        Loaded { rows, notes: self.notes }
    }
}

impl Reader {
    /// Reads the examples of a file.
    ///
    /// # Errors
    ///
    /// With file, line and field, at the first row that is not as described; a file without rows
    /// is an error, too.
    pub fn examples(&self, path: impl AsRef<Path>) -> Result<Loaded<Example>, DataError> {
        let path = path.as_ref();
        self.examples_from(open(path)?, path)
    }

    /// Reads examples from any input. `path` names it in messages, and its folder is where
    /// relative video paths start when there is no `video_root`.
    ///
    /// # Errors
    ///
    /// As [`Reader::examples`].
    pub fn examples_from(
        &self,
        input: impl Read,
        path: &Path,
    ) -> Result<Loaded<Example>, DataError> {
        Ok(self.numbered_examples_from(input, path)?.unnumbered())
    }

    /// Reads examples each with its line, counted from 1, for who reads more from the rows and names
    /// their places in messages: columns that an [`Example`] does not have are in its `meta`.
    ///
    /// # Errors
    ///
    /// As [`Reader::examples`].
    pub fn numbered_examples(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<Loaded<(usize, Example)>, DataError> {
        let path = path.as_ref();
        self.numbered_examples_from(open(path)?, path)
    }

    fn numbered_examples_from(
        &self,
        input: impl Read,
        path: &Path,
    ) -> Result<Loaded<(usize, Example)>, DataError> {
        self.read(input, path, |row, id| {
            let example = row.example(id)?;
            Ok((example.id.clone(), example))
        })
    }

    /// Reads the preferences of a file.
    ///
    /// # Errors
    ///
    /// As [`Reader::examples`].
    pub fn preferences(&self, path: impl AsRef<Path>) -> Result<Loaded<Preference>, DataError> {
        let path = path.as_ref();
        self.preferences_from(open(path)?, path)
    }

    /// Reads preferences from any input; see [`Reader::examples_from`].
    ///
    /// # Errors
    ///
    /// As [`Reader::examples`].
    pub fn preferences_from(
        &self,
        input: impl Read,
        path: &Path,
    ) -> Result<Loaded<Preference>, DataError> {
        let loaded = self.read(input, path, |row, id| {
            let preference = row.preference(id)?;
            Ok((preference.id.clone(), preference))
        })?;
        Ok(loaded.unnumbered())
    }

    /// `record` makes one of a row, given the id for a row without one, and returns its id. Each
    /// comes with its line.
    fn read<T>(
        &self,
        input: impl Read,
        path: &Path,
        record: impl Fn(&mut Layout<'_>, String) -> Result<(String, T), FieldError>,
    ) -> Result<Loaded<(usize, T)>, DataError> {
        let columns = self.columns.resolved()?;
        let beside = path.parent().unwrap_or(Path::new(""));
        let folder = self.video_root.as_deref().unwrap_or(beside);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();

        let mut rows = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut notes: BTreeMap<(String, bool), Note> = BTreeMap::new();
        let n_rows = for_each_row(input, path, self.max_line_bytes, |row| {
            let Row { line, item, object } = row;
            let id = match item {
                Some(item) => format!("{stem}#{item}"),
                None => format!("{stem}:{line}"),
            };
            let mut layout = Layout::new(object, &columns, folder);
            let (id, record) = record(&mut layout, id).map_err(|error| error.at(path, line))?;
            if let Some(first_line) = lines.insert(id.clone(), line) {
                let (path, field) = (path.to_owned(), columns.id.clone());
                return Err(DataError::DuplicateId { path, line, first_line, field, id });
            }
            for (field, kept) in layout.without_effect() {
                let path = path.to_owned();
                let new = Note { path, field: field.clone(), kept, first_line: line, count: 0 };
                notes.entry((field, kept)).or_insert(new).count += 1;
            }
            rows.push((line, record));
            Ok(())
        })?;
        if n_rows == 0 {
            return Err(DataError::NoRows { path: path.to_owned() });
        }
        Ok(Loaded { rows, notes: notes.into_values().collect() })
    }
}

fn open(path: &Path) -> Result<File, DataError> {
    File::open(path).map_err(|source| DataError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
