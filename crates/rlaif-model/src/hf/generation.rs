//! `generation_config.json`: how a checkpoint wants to be sampled from.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::hf::config::one_or_many;
use crate::hf::fields::{FieldError, Fields};
use crate::hf::files::{FileError, read_json, write_json};

/// Why generation settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key in it cannot be used.
    #[error("{}: {source}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The key and what is wrong with it.
        source: FieldError,
    },
}

/// Sampling settings. `None` leaves the choice to the program; other keys are kept for saving.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationConfig {
    /// Tokens that end an answer; empty where the file names none.
    pub eos_token_ids: Vec<u32>,
    /// Padding token.
    pub pad_token_id: Option<u32>,
    /// Beginning-of-sequence token.
    pub bos_token_id: Option<u32>,
    /// False asks for the likeliest token.
    pub do_sample: Option<bool>,
    /// Logits are divided by it.
    pub temperature: Option<f64>,
    /// Probability mass that is sampled from, in (0, 1].
    pub top_p: Option<f64>,
    /// Number of tokens that are sampled from; 0 means all.
    pub top_k: Option<usize>,
    /// Most tokens an answer may have.
    pub max_new_tokens: Option<usize>,
    /// The document this was read from, kept for saving; empty when made in memory.
    pub document: Map<String, Value>,
}

impl GenerationConfig {
    /// Reads `generation_config.json` in `dir`; without the file, nothing is set.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or a key in it cannot be used.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, GenerationError> {
        let path = dir.as_ref().join("generation_config.json");
        if !path.exists() {
            return Ok(Self::default());
        }
        let value = read_json(&path)?;
        Self::from_json(&value).map_err(|source| GenerationError::Field { path, source })
    }

    /// Reads settings from a document.
    ///
    /// # Errors
    ///
    /// When a key is of the wrong type or out of range.
    pub fn from_json(value: &Value) -> Result<Self, FieldError> {
        let root = Fields::root(value)?;
        let config = GenerationConfig {
            eos_token_ids: root.tokens("eos_token_id")?.unwrap_or_default(),
            pad_token_id: root.token("pad_token_id")?,
            bos_token_id: root.token("bos_token_id")?,
            do_sample: root.get("do_sample").map(|_| root.flag("do_sample", false)).transpose()?,
            temperature: root
                .get("temperature")
                .map(|_| root.number("temperature", 1.0))
                .transpose()?,
            top_p: root.get("top_p").map(|_| root.positive("top_p", 1.0)).transpose()?,
            top_k: match root.integer("top_k", -1)? {
                -1 if root.get("top_k").is_none() => None,
                k => Some(
                    usize::try_from(k)
                        .map_err(|_| root.outside("top_k", k, "a whole number of at least 0"))?,
                ),
            },
            max_new_tokens: root
                .get("max_new_tokens")
                .map(|_| root.size("max_new_tokens", 1, 1 << 32))
                .transpose()?,
            document: value.as_object().cloned().unwrap_or_default(),
        };
        if let Some(temperature) = config.temperature.filter(|t| *t < 0.0) {
            return Err(root.outside("temperature", temperature, "a number of at least 0"));
        }
        if let Some(top_p) = config.top_p.filter(|p| *p > 1.0) {
            return Err(root.outside("top_p", top_p, "a number above 0 and up to 1"));
        }
        Ok(config)
    }

    /// The document: the one that was read with the fields changed since.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let old = Self::from_json(&Value::Object(self.document.clone())).unwrap_or_default();
        let mut document = self.document.clone();
        let mut put = |key: &str, changed: bool, value: Value| {
            if changed && value.is_null() {
                document.remove(key);
            } else if changed {
                document.insert(key.to_owned(), value);
            }
        };
        put(
            "eos_token_id",
            self.eos_token_ids != old.eos_token_ids,
            one_or_many(&self.eos_token_ids),
        );
        put("pad_token_id", self.pad_token_id != old.pad_token_id, json!(self.pad_token_id));
        put("bos_token_id", self.bos_token_id != old.bos_token_id, json!(self.bos_token_id));
        put("do_sample", self.do_sample != old.do_sample, json!(self.do_sample));
        put("temperature", self.temperature != old.temperature, json!(self.temperature));
        put("top_p", self.top_p != old.top_p, json!(self.top_p));
        put("top_k", self.top_k != old.top_k, json!(self.top_k));
        put(
            "max_new_tokens",
            self.max_new_tokens != old.max_new_tokens,
            json!(self.max_new_tokens),
        );
        Value::Object(document)
    }

    /// Writes `generation_config.json` into `dir`, atomically.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<(), GenerationError> {
        Ok(write_json(&dir.as_ref().join("generation_config.json"), &self.to_json())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_with_unknown_keys_and_changes() {
        let value = json!({
            "eos_token_id": [2, 7], "temperature": 0.7, "top_k": 50, "use_cache": true,
        });
        let mut config = GenerationConfig::from_json(&value).unwrap();
        assert_eq!(config.eos_token_ids, [2, 7]);
        assert_eq!((config.top_k, config.top_p), (Some(50), None));
        assert_eq!(config.to_json(), value);
        config.top_k = None;
        config.max_new_tokens = Some(9);
        let expected = json!({
            "eos_token_id": [2, 7], "temperature": 0.7, "use_cache": true, "max_new_tokens": 9,
        });
        assert_eq!(config.to_json(), expected);
    }

    #[test]
    fn impossible_settings_name_their_key() {
        for (value, message) in [
            (json!({"top_p": 1.5}), "`top_p` is 1.5, expected a number above 0 and up to 1"),
            (json!({"temperature": -1.0}), "`temperature` is -1, expected a number of at least 0"),
            (json!({"top_k": -5}), "`top_k` is -5, expected a whole number of at least 0"),
            (json!({"eos_token_id": "</s>"}), "`eos_token_id` is \"</s>\", expected a token id"),
            (json!([1]), "`(document)` is [1], expected an object"),
        ] {
            let error = GenerationConfig::from_json(&value).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn a_folder_without_the_file_sets_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let config = GenerationConfig::open(dir.path()).unwrap();
        assert_eq!(config, GenerationConfig::default());
        let full = GenerationConfig { eos_token_ids: vec![3], ..config };
        full.save(dir.path()).unwrap();
        assert_eq!(GenerationConfig::open(dir.path()).unwrap().eos_token_ids, [3]);
    }
}
