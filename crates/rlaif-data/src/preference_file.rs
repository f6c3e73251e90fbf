//! Files of preference data: JSON lines, or the JSON array that VLM-RLAIF's loader opens.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::atomic::{WriteError, io_error, write_atomic_with};
use crate::error::FieldError;
use crate::preference_row::{meant, row};
use crate::{Preference, PreferenceLayout, VideoRef};

/// Writes preferences as JSON lines, whole or not at all; [`read_preferences`] reads them back.
///
/// Relative video paths are those of this process and are written as absolute ones, since a reader
/// takes relative paths from the folder of the file. No preferences make an empty file, which
/// readers refuse.
///
/// # Errors
///
/// When the file system refuses, when a row does not fit the layout, and when two rows have one id;
/// `path` is then as it was.
///
/// [`read_preferences`]: crate::read_preferences
pub fn write_preferences(
    path: impl AsRef<Path>,
    preferences: &[Preference],
    layout: PreferenceLayout,
) -> Result<(), WriteError> {
    let path = path.as_ref();
    write_atomic_with(path, |out| {
        for_each_row(path, preferences, layout, |row| writeln!(out, "{row}"))
    })
}

/// Writes preferences in VLM-RLAIF's layout as one JSON array, an item a line, for VLM-RLAIF's own
/// loader; the rest is as in [`write_preferences`].
///
/// # Errors
///
/// As [`write_preferences`].
pub fn write_preference_array(
    path: impl AsRef<Path>,
    preferences: &[Preference],
) -> Result<(), WriteError> {
    let path = path.as_ref();
    write_atomic_with(path, |out| {
        let mut before = "[\n";
        for_each_row(path, preferences, PreferenceLayout::VlmRlaif, |row| {
            write!(out, "{}{row}", std::mem::replace(&mut before, ",\n"))
        })?;
        let end = if preferences.is_empty() { "[]\n" } else { "\n]\n" };
        out.write_all(end.as_bytes()).map_err(io_error(path, "writing"))
    })
}

fn for_each_row(
    path: &Path,
    preferences: &[Preference],
    layout: PreferenceLayout,
    mut write: impl FnMut(Value) -> std::io::Result<()>,
) -> Result<(), WriteError> {
    let mut rows: HashMap<&str, usize> = HashMap::new();
    for (i, preference) in preferences.iter().enumerate() {
        let refused = |error: FieldError| WriteError::Preference {
            path: path.to_owned(),
            row: i + 1,
            source: Box::new(error.of(preference, layout)),
        };
        if let Some(first) = rows.insert(&preference.id, i + 1) {
            let problem = format!("is the id of row {first} already; ids are unique within a file");
            return Err(refused(FieldError::new("id", problem)));
        }
        let value = meant(preference)
            .and_then(|meant| Ok(Preference { video: from_anywhere(meant.video)?, ..meant }))
            .and_then(|meant| row(&meant, layout))
            .map_err(refused)?;
        write(value).map_err(io_error(path, "writing"))?;
    }
    Ok(())
}

/// The same video with absolute paths.
fn from_anywhere(video: VideoRef) -> Result<VideoRef, FieldError> {
    let absolute = |path: PathBuf| {
        if path.is_absolute() {
            return Ok(path);
        }
        std::path::absolute(&path).map_err(|error| {
            let problem = format!("`{}` cannot be made an absolute path: {error}", path.display());
            FieldError::new("video", problem)
        })
    };
    Ok(match video {
        VideoRef::File(path) => VideoRef::File(absolute(path)?),
        VideoRef::Frames(paths) => {
            VideoRef::Frames(paths.into_iter().map(absolute).collect::<Result<_, _>>()?)
        }
        VideoRef::World(address) => VideoRef::World(address),
    })
}

#[cfg(test)]
mod tests;
