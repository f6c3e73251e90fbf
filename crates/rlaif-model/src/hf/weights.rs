//! `model.safetensors`, whole or sharded, read tensor by tensor.

mod names;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata};
use serde_json::Value;

use crate::hf::files::{FileError, read_json};
use names::is_buffer;
pub use names::{canonical_name, decoder_module, expected_tensors, stored_name};
pub(in crate::hf) use write::write_safetensors;
pub use write::write_weights;

/// Largest header read, as in the `safetensors` library.
const MAX_HEADER: u64 = 100_000_000;
const HEAD: &str = "language_model.lm_head.weight";
const EMBEDDINGS: &str = "language_model.model.embed_tokens.weight";

/// Why weights cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder holds no weights that can be read.
    #[error("{}: neither model.safetensors nor model.safetensors.index.json{hint}", dir.display())]
    None {
        /// The folder.
        dir: PathBuf,
        /// What to do about it.
        hint: &'static str,
    },
    /// A file is not a whole safetensors file.
    #[error("{}: {problem}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Two tensors of one file set have the same canonical name.
    #[error("{}: holds `{first}` and `{second}`, which are the same tensor in two layouts", path.display())]
    Twice {
        /// The file that holds the second.
        path: PathBuf,
        /// Name found first.
        first: String,
        /// Name found afterwards.
        second: String,
    },
    /// A tensor that the model needs is not there.
    #[error("{}: no tensor `{name}`", dir.display())]
    Missing {
        /// The folder.
        dir: PathBuf,
        /// Canonical name.
        name: String,
    },
    /// The tensors are not those of the model that `config.json` describes.
    #[error("{}: the weights do not fit config.json:{}", dir.display(), misfit(missing, unknown, misshapen))]
    Misfit {
        /// The folder.
        dir: PathBuf,
        /// Canonical names that should be there.
        missing: Vec<String>,
        /// Names that no part of the model has.
        unknown: Vec<String>,
        /// Name, shape expected, shape found.
        misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
    },
    /// A checkpoint that ties its head stores another head.
    #[error(
        "{}: config.json ties the head to the embeddings (`tie_word_embeddings`), but \
         `lm_head.weight` differs from them; set it to false", dir.display()
    )]
    Untied {
        /// The folder.
        dir: PathBuf,
    },
    /// The data handed over for writing does not fill its shape.
    #[error("tensor `{name}` of shape {shape:?} was given {len} values")]
    Length {
        /// Name of the tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Number of values.
        len: usize,
    },
}

fn misfit(
    missing: &[String],
    unknown: &[String],
    misshapen: &[(String, Vec<usize>, Vec<usize>)],
) -> String {
    let missing = missing.iter().map(|name| {
        format!(
            "
  missing: {name}"
        )
    });
    let unknown = unknown.iter().map(|name| {
        format!(
            "
  unknown: {name}"
        )
    });
    let misshapen = misshapen.iter().map(|(name, expected, found)| {
        format!(
            "
  shape of {name}: {found:?}, expected {expected:?}"
        )
    });
    missing.chain(unknown).chain(misshapen).collect()
}

#[derive(Clone, Debug)]
struct Place {
    /// Index into the files.
    file: usize,
    /// Name in the file.
    stored: String,
    format: Dtype,
    shape: Vec<usize>,
    /// First byte within the file.
    start: u64,
    /// Bytes.
    len: usize,
}

/// The tensors of a checkpoint under their canonical names (see
/// [`canonical_name`](super::canonical_name)). Only headers are held; data is read on demand.
#[derive(Clone, Debug)]
pub struct Weights {
    dir: PathBuf,
    files: Vec<PathBuf>,
    places: BTreeMap<String, Place>,
}

impl Weights {
    /// Opens `model.safetensors` in `dir`, or the shards that `model.safetensors.index.json`
    /// names.
    ///
    /// # Errors
    ///
    /// When there is no such file, or one is broken, cut off or of a foreign format.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let dir = dir.as_ref();
        let whole = dir.join("model.safetensors");
        if whole.is_file() {
            return Self::from_files(dir, vec![whole], canonical_name);
        }
        let index = dir.join("model.safetensors.index.json");
        if !index.is_file() {
            let torch = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
            let hint = if torch.iter().any(|name| dir.join(name).exists()) {
                "; it holds pytorch_model.bin: open it with transformers and save it again, which \
                 writes safetensors"
            } else {
                "; is this a checkpoint folder?"
            };
            return Err(WeightsError::None { dir: dir.to_owned(), hint });
        }
        let broken = |problem: String| WeightsError::Broken { path: index.clone(), problem };
        let document = read_json(&index)?;
        let map = document
            .get("weight_map")
            .and_then(Value::as_object)
            .ok_or_else(|| broken("no `weight_map` object".to_owned()))?;
        let mut shards = std::collections::BTreeSet::new();
        for (tensor, shard) in map {
            let shard = shard
                .as_str()
                .filter(|name| Path::new(name).components().count() == 1 && *name != "..")
                .ok_or_else(|| broken(format!("`weight_map.{tensor}` is not a file name")))?;
            shards.insert(dir.join(shard));
        }
        let weights = Self::from_files(dir, shards.into_iter().collect(), canonical_name)?;
        for tensor in map.keys() {
            if !weights.places.contains_key(&canonical_name(tensor)) {
                return Err(broken(format!("`{tensor}` is in none of the shards")));
            }
        }
        Ok(weights)
    }

    /// Opens safetensors files that lie in `dir`, naming tensors by `canonical`.
    pub(super) fn from_files(
        dir: &Path,
        files: Vec<PathBuf>,
        canonical: impl Fn(&str) -> String,
    ) -> Result<Self, WeightsError> {
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        for (index, path) in files.iter().enumerate() {
            for place in read_header(path, index)? {
                let name = canonical(&place.stored);
                if let Some(first) = places.get(&name) {
                    return Err(WeightsError::Twice {
                        path: path.clone(),
                        first: first.stored.clone(),
                        second: place.stored,
                    });
                }
                places.insert(name, place);
            }
        }
        Ok(Weights { dir: dir.to_owned(), files, places })
    }

    /// Canonical names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// What the files call each tensor, by its canonical name.
    #[must_use]
    pub fn stored_names(&self) -> BTreeMap<String, String> {
        self.places.iter().map(|(name, place)| (name.clone(), place.stored.clone())).collect()
    }

    /// Shape of the tensor called `name`, where there is one.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.places.get(name).map(|place| place.shape.as_slice())
    }

    /// Reads one tensor: its shape and its values in row-major order, converted to `f32`.
    ///
    /// # Errors
    ///
    /// When there is no such tensor, it is not of a floating-point format, or reading fails.
    pub fn tensor(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), WeightsError> {
        let (place, bytes) = self.bytes(name)?;
        let path = &self.files[place.file];
        let values = match place.format {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::F16 => {
                bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()
            }
            Dtype::BF16 => {
                bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect()
            }
            other => {
                return Err(WeightsError::Broken {
                    path: path.clone(),
                    problem: format!(
                        "tensor `{}` is {other:?}; supported: F32, F16, BF16",
                        place.stored
                    ),
                });
            }
        };
        Ok((place.shape.clone(), values))
    }

    /// Reads one tensor as the bits of its numbers where the file holds them in bf16; `None` where
    /// it holds another format.
    ///
    /// # Errors
    ///
    /// When there is no such tensor, or reading fails.
    pub fn bf16(&self, name: &str) -> Result<Option<Vec<u16>>, WeightsError> {
        if self.places.get(name).is_some_and(|place| place.format != Dtype::BF16) {
            return Ok(None);
        }
        let (_, bytes) = self.bytes(name)?;
        Ok(Some(bytes.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b)).collect()))
    }

    fn bytes(&self, name: &str) -> Result<(&Place, Vec<u8>), WeightsError> {
        let place = self.places.get(name).ok_or_else(|| WeightsError::Missing {
            dir: self.dir.clone(),
            name: name.to_owned(),
        })?;
        let path = &self.files[place.file];
        let bytes = (|| {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(place.start))?;
            let mut bytes = vec![0; place.len];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        })()
        .map_err(FileError::read(path))?;
        Ok((place, bytes))
    }

    /// Compares the tensors with those a model needs, as
    /// [`expected_tensors`](super::expected_tensors) lists them.
    ///
    /// Buffers of old releases (`inv_freq`, `position_ids`) may be there, and a head of a model
    /// that ties it, if it equals the embeddings.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Misfit`] with every tensor that is missing, unknown or of another shape.
    pub fn check(&self, expected: &[(String, Vec<usize>)]) -> Result<(), WeightsError> {
        let by_name: HashMap<&str, &[usize]> =
            expected.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
        let missing: Vec<String> = expected
            .iter()
            .filter(|(name, _)| !self.places.contains_key(name))
            .map(|(name, _)| name.clone())
            .collect();
        let tied_head = by_name.contains_key(EMBEDDINGS) && !by_name.contains_key(HEAD);
        let mut unknown = Vec::new();
        let mut misshapen = Vec::new();
        for (name, place) in &self.places {
            match by_name.get(name.as_str()) {
                Some(shape) if *shape == place.shape.as_slice() => {}
                Some(shape) => misshapen.push((name.clone(), shape.to_vec(), place.shape.clone())),
                None if is_buffer(name) || (tied_head && name == HEAD) => {}
                None => unknown.push(place.stored.clone()),
            }
        }
        if !(missing.is_empty() && unknown.is_empty() && misshapen.is_empty()) {
            return Err(WeightsError::Misfit {
                dir: self.dir.clone(),
                missing,
                unknown,
                misshapen,
            });
        }
        if tied_head
            && self.places.contains_key(HEAD)
            && self.tensor(HEAD)? != self.tensor(EMBEDDINGS)?
        {
            return Err(WeightsError::Untied { dir: self.dir.clone() });
        }
        Ok(())
    }
}

/// Reads and checks the header of one file.
fn read_header(path: &Path, index: usize) -> Result<Vec<Place>, WeightsError> {
    let broken = |problem: String| WeightsError::Broken { path: path.to_owned(), problem };
    let read = FileError::read;
    let mut file = BufReader::new(File::open(path).map_err(read(path))?);
    let size = file.get_ref().metadata().map_err(read(path))?.len();
    let mut length = [0; 8];
    if size < 8 {
        return Err(broken(format!("not a safetensors file: {size} bytes")));
    }
    file.read_exact(&mut length).map_err(read(path))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER.min(size - 8) {
        return Err(broken("not a whole safetensors file: the header does not fit in".to_owned()));
    }
    let mut header = Vec::new();
    file.by_ref().take(length).read_to_end(&mut header).map_err(read(path))?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| broken(format!("the safetensors header is broken: {error}")))?;
    let expected = 8 + length + metadata.data_len() as u64;
    if expected != size {
        return Err(broken(format!(
            "{size} bytes, but its header speaks of {expected}: the file was cut off, fetch it again"
        )));
    }
    Ok(metadata
        .tensors()
        .into_iter()
        .map(|(stored, info)| Place {
            file: index,
            stored,
            format: info.dtype,
            shape: info.shape.clone(),
            start: 8 + length + info.data_offsets.0 as u64,
            len: info.data_offsets.1 - info.data_offsets.0,
        })
        .collect())
}

#[cfg(test)]
mod tests;
