//! `model.safetensors.index.json`, or `pytorch_model.bin.index.json`: which shard holds which tensor.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Error, MapAccess, Visitor};

use crate::hf::files::{FileError, MAX_JSON, read_limited};
use crate::hf::weights::error::WeightsError;

/// Shards by file name, each with the tensors that the index says it holds.
pub(super) type Shards = BTreeMap<String, Vec<String>>;

/// Reads an index whose shards end in `.{extension}`.
pub(super) fn read_index(path: &Path, extension: &str) -> Result<Shards, WeightsError> {
    let text = read_limited(path, MAX_JSON)?;
    parse_index(&text, extension).map_err(|problem| match problem {
        Problem::Json(source) => FileError::Json { path: path.to_owned(), source }.into(),
        Problem::Content(problem) => WeightsError::Broken { path: path.to_owned(), problem },
    })
}

/// What is wrong with an index.
pub(super) enum Problem {
    Json(serde_json::Error),
    Content(String),
}

/// Checks an index: every shard is a plain file name, so that nothing outside of the folder and
/// nothing but weights is read, and no tensor stands twice.
pub(super) fn parse_index(text: &str, extension: &str) -> Result<Shards, Problem> {
    let index: Index = serde_json::from_str(text).map_err(Problem::Json)?;
    let mut names = HashSet::new();
    let mut shards = Shards::new();
    for (tensor, shard) in index.weight_map.0 {
        if !names.insert(tensor.clone()) {
            return Err(Problem::Content(format!("`weight_map` names `{tensor}` twice")));
        }
        let plain = !shard.contains(['/', '\\', ':', '\0']) && !shard.starts_with('.');
        if !plain || Path::new(&shard).extension().is_none_or(|found| found != extension) {
            return Err(Problem::Content(format!(
                "`weight_map.{tensor}` is {shard:?}, expected the name of a .{extension} file in \
                 this folder"
            )));
        }
        shards.entry(shard).or_default().push(tensor);
    }
    if shards.is_empty() {
        return Err(Problem::Content("`weight_map` names no tensor".to_owned()));
    }
    Ok(shards)
}

#[derive(Deserialize)]
struct Index {
    weight_map: Pairs,
}

/// A plain map would swallow a tensor that stands twice.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object from tensors to file names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(tensor) = map.next_key::<String>()? {
                    let shard = map.next_value().map_err(|error| {
                        A::Error::custom(format!("`weight_map.{tensor}`: {error}"))
                    })?;
                    pairs.push((tensor, shard));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Strings)
    }
}
