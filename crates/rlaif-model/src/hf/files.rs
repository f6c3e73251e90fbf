//! Reading JSON files and replacing files whole.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file that could not be read, parsed or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is longer than any of its kind.
    #[error("{} has more than {limit} bytes, too many for such a file", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Most bytes that are read.
        limit: u64,
    },
    /// The file is not JSON.
    #[error("{} is not valid JSON: {source}; the file may be cut off, fetch it again", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line and column of the fault.
        source: serde_json::Error,
    },
    /// The file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FileError {
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> FileError {
        move |source| FileError::Read { path: path.to_owned(), source }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> FileError {
        move |source| FileError::Write { path: path.to_owned(), source }
    }
}

/// Longest JSON file read, in bytes: parsed, it may take thirty times as much.
pub(crate) const MAX_JSON: u64 = 8 << 20;
/// Longest other text read, in bytes; the largest `tokenizer.json` known have some 35 MB.
const MAX_TEXT: u64 = 128 << 20;

/// Size of a regular file: a pipe or a device would keep its reader waiting, or never end.
pub(crate) fn regular_size(path: &Path) -> Result<u64, FileError> {
    let metadata = std::fs::metadata(path).map_err(FileError::read(path))?;
    if !metadata.is_file() {
        return Err(FileError::read(path)(io::Error::other("not a regular file")));
    }
    Ok(metadata.len())
}

/// Reads a text file.
pub(crate) fn read_text(path: &Path) -> Result<String, FileError> {
    read_limited(path, MAX_TEXT)
}

/// Reads a text file of at most `limit` bytes.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<String, FileError> {
    let text = String::from_utf8(read_bytes(path, limit)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"));
    text.map_err(FileError::read(path))
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    if regular_size(path)? > limit {
        return Err(FileError::TooLong { path: path.to_owned(), limit });
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(FileError::read(path))?;
    Ok(bytes)
}

/// Reads a JSON file.
pub(crate) fn read_json(path: &Path) -> Result<Value, FileError> {
    let text = read_limited(path, MAX_JSON)?;
    serde_json::from_str(&text).map_err(|source| FileError::Json { path: path.to_owned(), source })
}

/// Replaces `path` by `bytes` at once: a reader sees the old file or the new one, also after a
/// crash.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, |file| file.write_all(bytes))
}

/// Writes a JSON file, indented by two, through [`write_atomic`].
pub(crate) fn write_json(path: &Path, value: &Value) -> Result<(), FileError> {
    write_atomic(path, format!("{value:#}\n").as_bytes())
}

/// Replaces `path` by what `fill` writes: a temporary file beside it, fsync, rename, fsync of the
/// folder. Makes the folder where it is missing.
pub(crate) fn replace(
    path: &Path,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), FileError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(FileError::write(folder))?;
    let temporary = temporary(path);
    let written = (|| {
        let mut file = File::create(&temporary)?;
        fill(&mut file)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        // Not every file system lets a folder be synced; the rename itself has succeeded.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    })();
    written.map_err(|source| {
        let _ = std::fs::remove_file(&temporary);
        FileError::Write { path: path.to_owned(), source }
    })
}

/// A name beside `path` that no other process uses.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_litter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/a.json");
        write_atomic(&path, b"old").unwrap();
        let error = replace(&path, |file| {
            file.write_all(b"half of the n")?;
            Err(io::Error::other("disk full"))
        })
        .unwrap_err();
        assert!(error.to_string().contains("a.json: disk full"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn broken_json_names_the_file_and_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, "{\n  \"a\": ").unwrap();
        let message = read_json(&path).unwrap_err().to_string();
        assert!(message.contains("config.json") && message.contains("line 2"), "{message}");
    }
}
