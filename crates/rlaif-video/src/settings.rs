//! The JSON files of a checkpoint's preprocessing, and the fields that more than one family has.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rlaif_data::{WriteError, write_atomic};
use serde_json::{Map, Value};

use crate::{PreprocessError, resample::Filter};

/// The settings of the image processor.
pub(crate) const CONFIG_FILE: &str = "preprocessor_config.json";
/// Those of the video processor.
pub(crate) const VIDEO_CONFIG_FILE: &str = "video_preprocessor_config.json";
/// Where `transformers` 5 saves the settings of a whole processor.
pub(crate) const PROCESSOR_FILE: &str = "processor_config.json";

/// Longest file read.
const MAX_BYTES: u64 = 1 << 20;

/// JSON files by their names in the folder.
pub(crate) type Files = Vec<(PathBuf, Map<String, Value>)>;

/// Reads all the files of a folder's preprocessing and hands the settings of videos to
/// `from_map`: the `video_processor` of `processor_config.json`, else
/// `video_preprocessor_config.json`, else `preprocessor_config.json`, as `transformers` looks for
/// them. The files come back to be written as they were.
pub(crate) fn video_processor<T>(
    folder: &Path,
    from_map: impl FnOnce(&Map<String, Value>, &Path) -> Result<T, PreprocessError>,
) -> Result<(T, Files), PreprocessError> {
    let mut files = Files::new();
    for name in [PROCESSOR_FILE, VIDEO_CONFIG_FILE, CONFIG_FILE] {
        let path = folder.join(name);
        if path.exists() {
            files.push((PathBuf::from(name), read(&path)?));
        }
    }
    let settings = files.iter().find_map(|(name, map)| {
        if name.as_os_str() != PROCESSOR_FILE {
            return Some((name, map));
        }
        Some((name, map.get("video_processor")?.as_object()?))
    });
    let Some((name, map)) = settings else {
        return Err(PreprocessError::NoConfig { path: folder.to_owned() });
    };
    let processor = from_map(map, &folder.join(name))?;
    Ok((processor, files))
}

/// Replaces a JSON file at once.
pub(crate) fn write(path: &Path, map: &Map<String, Value>) -> Result<(), PreprocessError> {
    let text = format!("{:#}\n", Value::Object(map.clone()));
    write_atomic(path, text.as_bytes()).map_err(|error| PreprocessError::Io {
        path: path.to_owned(),
        source: match error {
            WriteError::Io { source, .. } => source,
            other => std::io::Error::other(other),
        },
    })
}

pub(crate) fn read(path: &Path) -> Result<Map<String, Value>, PreprocessError> {
    let io = |source| PreprocessError::Io { path: path.to_owned(), source };
    // A pipe or a device would never end, and settings never fill more than a few lines.
    let metadata = fs::metadata(path).map_err(io)?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        let problem = format!("not a file of at most {MAX_BYTES} bytes");
        return Err(io(std::io::Error::other(problem)));
    }
    let text = fs::read_to_string(path).map_err(io)?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(PreprocessError::NotJson { path: path.to_owned(), source: None }),
        Err(error) => Err(PreprocessError::NotJson { path: path.to_owned(), source: Some(error) }),
    }
}

/// A JSON object and the file that it came from.
pub(crate) struct Fields<'a> {
    pub(crate) map: &'a Map<String, Value>,
    pub(crate) path: &'a Path,
}

impl Fields<'_> {
    pub(crate) fn error(
        &self,
        field: &'static str,
        expected: &str,
        got: &Value,
    ) -> PreprocessError {
        PreprocessError::Field {
            path: self.path.to_owned(),
            field,
            expected: expected.to_owned(),
            got: got.to_string(),
        }
    }

    /// The field's value; absent and `null` both mean the class's default.
    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    pub(crate) fn flag(&self, field: &'static str, default: bool) -> Result<bool, PreprocessError> {
        let Some(value) = self.get(field) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.error(field, "true or false", value))
    }

    pub(crate) fn number(&self, field: &'static str, default: f64) -> Result<f64, PreprocessError> {
        let Some(value) = self.get(field) else { return Ok(default) };
        value.as_f64().ok_or_else(|| self.error(field, "a number", value))
    }

    pub(crate) fn channels(
        &self,
        field: &'static str,
        default: [f64; 3],
    ) -> Result<[f64; 3], PreprocessError> {
        let Some(value) = self.get(field) else { return Ok(default) };
        if let Some(same) = value.as_f64() {
            return Ok([same; 3]);
        }
        let list: Option<Vec<f64>> =
            value.as_array().and_then(|list| list.iter().map(Value::as_f64).collect());
        list.and_then(|list| list.try_into().ok())
            .ok_or_else(|| self.error(field, "3 numbers (red, green, blue) or one", value))
    }

    /// The factor of the bytes, commonly 1/255; none where `do_rescale` is off.
    pub(crate) fn rescale(&self) -> Result<Option<f64>, PreprocessError> {
        let factor = self.number("rescale_factor", 1.0 / 255.0)?;
        Ok(self.flag("do_rescale", true)?.then_some(factor))
    }

    /// Mean and deviation of the channels, `default` where the fields are absent; none where
    /// `do_normalize` is off.
    pub(crate) fn normalize(
        &self,
        default: [[f64; 3]; 2],
    ) -> Result<Option<[[f64; 3]; 2]>, PreprocessError> {
        let mean = self.channels("image_mean", default[0])?;
        let std = self.channels("image_std", default[1])?;
        let do_normalize = self.flag("do_normalize", true)?;
        if do_normalize && std.contains(&0.0) {
            let got = self.get("image_std").unwrap_or(&Value::Null);
            return Err(self.error("image_std", "without a 0", got));
        }
        Ok(do_normalize.then_some([mean, std]))
    }

    /// The filter of a resize by torchvision, which has three.
    pub(crate) fn torch_filter(&self, default: Filter) -> Result<Filter, PreprocessError> {
        let filter = self.filter(default)?;
        if matches!(filter, Filter::Box | Filter::Hamming | Filter::Nearest) {
            let got = self.get("resample").unwrap_or(&Value::Null);
            return Err(self.error("resample", "1 (Lanczos), 2 (bilinear) or 3 (bicubic)", got));
        }
        Ok(filter)
    }

    pub(crate) fn filter(&self, default: Filter) -> Result<Filter, PreprocessError> {
        let Some(value) = self.get("resample") else { return Ok(default) };
        value
            .as_u64()
            .and_then(|code| u8::try_from(code).ok())
            .and_then(|code| Filter::try_from(code).ok())
            .ok_or_else(|| self.error("resample", "a Pillow code from 0 to 5", value))
    }
}

pub(crate) fn both_sides(map: &Map<String, Value>) -> Option<(u32, u32)> {
    (map.len() == 2).then_some(())?;
    Some((side(map.get("height")?)?, side(map.get("width")?)?))
}

pub(crate) fn side(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|side| u32::try_from(side).ok()).filter(|side| *side > 0)
}
