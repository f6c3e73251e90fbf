//! Files that are either whole or not there: written beside the target, synced, then renamed.
//!
//! A reader, a crash or a SIGKILL at any moment sees the old file or the new one, never half of
//! one. What a killed writer leaves behind is a hidden `.NAME.PID-N.tmp` beside the target, which
//! nothing reads and anyone may delete. Two writers of one path do not mix: the last rename wins.
//! A target that is a symbolic link is replaced, not followed.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::PreferenceRowError;

/// A file that could not be written. What was at its path before is still there.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The path has no file name, as `/` and `..` have none.
    #[error("`{}` is not the path of a file", path.display())]
    NoFileName {
        /// The path.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot write `{}`: {action} failed", path.display())]
    Io {
        /// The file that was to be written.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A row has no form in JSON.
    #[error("cannot write `{}`: row {row} has no form in JSON", path.display())]
    Serialize {
        /// The file that was to be written.
        path: PathBuf,
        /// Which row, counted from 1.
        row: usize,
        /// Why it has none.
        source: serde_json::Error,
    },
    /// A preference does not fit the layout.
    #[error("cannot write `{}`: row {row} does not fit", path.display())]
    Preference {
        /// The file that was to be written.
        path: PathBuf,
        /// Which row, counted from 1.
        row: usize,
        /// What of it does not.
        source: Box<PreferenceRowError>,
    },
}

/// Writes `bytes` to `path`, whole or not at all. The folder must exist.
///
/// # Errors
///
/// When the file system refuses; `path` is then as it was.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), WriteError> {
    let path = path.as_ref();
    write_atomic_with(path, |out| out.write_all(bytes).map_err(io_error(path, "writing")))
}

/// The same for contents that are written piece by piece. An error of `write` leaves `path` as it
/// was.
///
/// # Errors
///
/// When the file system or `write` refuses.
pub fn write_atomic_with<E: From<WriteError>>(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let path = path.as_ref();
    let (temporary, file) = create_beside(path)?;
    let written = write_and_sync(path, file, write).and_then(|()| {
        std::fs::rename(&temporary, path).map_err(io_error(path, "renaming")).map_err(E::from)
    });
    if written.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
        return written;
    }
    sync_folder(folder_of(path)).map_err(io_error(path, "syncing the folder"))?;
    Ok(())
}

/// Writes one JSON object a line, whole or not at all, and returns the number of rows.
///
/// Numbers that JSON does not have (NaN, infinities) are written as `null`.
///
/// # Errors
///
/// When the file system refuses or a row has no form in JSON; `path` is then as it was.
pub fn write_jsonl<T: Serialize>(
    path: impl AsRef<Path>,
    rows: impl IntoIterator<Item = T>,
) -> Result<usize, WriteError> {
    let path = path.as_ref();
    let mut n_rows = 0;
    write_atomic_with(path, |out| {
        for row in rows {
            n_rows += 1;
            // To a string first, so that what fails is either the row or the file.
            let line = serde_json::to_string(&row).map_err(|source| WriteError::Serialize {
                path: path.to_owned(),
                row: n_rows,
                source,
            })?;
            writeln!(out, "{line}").map_err(io_error(path, "writing"))?;
        }
        Ok::<(), WriteError>(())
    })?;
    Ok(n_rows)
}

pub(crate) fn io_error(path: &Path, action: &'static str) -> impl Fn(io::Error) -> WriteError {
    move |source| WriteError::Io { path: path.to_owned(), action, source }
}

fn write_and_sync<E: From<WriteError>>(
    path: &Path,
    file: File,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let mut out = BufWriter::new(file);
    write(&mut out)?;
    let file = out.into_inner().map_err(|e| io_error(path, "writing")(e.into_error()))?;
    file.sync_all().map_err(io_error(path, "syncing"))?;
    Ok(())
}

/// A new file in the folder of `path`, so that the rename stays within one file system.
fn create_beside(path: &Path) -> Result<(PathBuf, File), WriteError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(WriteError::NoFileName { path: path.to_owned() });
    };
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}-{number}.tmp", std::process::id()));
        let temporary = path.with_file_name(hidden);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            // Left by a killed process that had the same number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io_error(path, "creating a file beside it")(error)),
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the rename itself survive a power cut.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Other systems do not open folders as files; the rename is atomic there all the same.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        write_atomic(&path, b"first").unwrap();
        write_atomic(&path, b"2").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"2");
        assert_eq!(names(folder.path()), ["state.json"]);
    }

    #[test]
    fn a_failure_keeps_the_old_file_and_cleans_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        write_atomic(&path, b"old").unwrap();
        let error = write_atomic_with(&path, |out| {
            out.write_all(b"half of the new one").unwrap();
            Err(WriteError::NoFileName { path: "stop".into() })
        });
        assert!(error.is_err());
        // A map with keys that are no strings has no form in JSON.
        let rows = [std::collections::BTreeMap::from([(vec![1], 2)])];
        let error = write_jsonl(&path, rows).unwrap_err();
        assert!(matches!(error, WriteError::Serialize { row: 1, .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["rows.jsonl"]);
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no such folder").join("a.json");
        let message = write_atomic(&missing, b"x").unwrap_err().to_string();
        assert!(message.contains("no such folder") && message.contains("creating"), "{message}");
        let error = write_atomic(folder.path().join(".."), b"x").unwrap_err();
        assert!(matches!(error, WriteError::NoFileName { .. }));
        // A folder in the way.
        std::fs::create_dir_all(folder.path().join("taken/inside")).unwrap();
        let error = write_atomic(folder.path().join("taken"), b"x").unwrap_err();
        assert!(matches!(error, WriteError::Io { action: "renaming", .. }), "{error}");
        assert_eq!(names(folder.path()), ["taken"]);
    }

    #[test]
    fn rows_become_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        assert_eq!(write_jsonl(&path, [vec!["a\nb"], vec![]]).unwrap(), 2);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[\"a\\nb\"]\n[]\n");
    }
}
