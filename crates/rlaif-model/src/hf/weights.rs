//! Weights files, whole or in shards, read tensor by tensor: safetensors, and the state dicts of
//! `torch.save`.

mod error;
pub(in crate::hf) mod fuzzing;
mod header;
mod index;
mod map;
mod names;
mod read;
mod torch;
mod write;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

pub use safetensors::tensor::Dtype;

use crate::hf::files::{FileError, regular_size};
pub use error::WeightsError;
use names::is_buffer;
pub use names::{canonical_name, decoder_module, expected_tensors, stored_name};
pub use read::RawTensor;
use read::{Source, Stored};
pub use torch::TorchError;
pub(in crate::hf) use write::write_safetensors;
pub use write::{MAX_SHARD_BYTES, write_shards, write_weights};

const HEAD: &str = "language_model.lm_head.weight";
const EMBEDDINGS: &str = "language_model.model.embed_tokens.weight";

#[derive(Clone, Debug)]
struct Place {
    /// Index into the files.
    file: usize,
    stored: Stored,
}

/// The tensors of a checkpoint under their canonical names (see
/// [`canonical_name`](super::canonical_name)). Only headers are held; data is mapped on demand.
#[derive(Clone, Debug)]
pub struct Weights {
    dir: PathBuf,
    files: Vec<Source>,
    places: BTreeMap<String, Place>,
}

impl Weights {
    /// Opens the weights in `dir`: `model.safetensors`, else the shards that
    /// `model.safetensors.index.json` names, else `pytorch_model.bin` or the shards of
    /// `pytorch_model.bin.index.json`.
    ///
    /// Files of PyTorch's are read without running anything in them: see [`TorchError`].
    ///
    /// # Errors
    ///
    /// When there is no such file, or one is broken, cut off or of a foreign format.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let dir = dir.as_ref();
        for (whole, extension) in
            [("model.safetensors", "safetensors"), ("pytorch_model.bin", "bin")]
        {
            if dir.join(whole).exists() {
                return Self::from_files(dir, vec![dir.join(whole)], canonical_name);
            }
            let index = dir.join(format!("{whole}.index.json"));
            if index.exists() {
                return Self::from_index(dir, &index, extension);
            }
        }
        Err(WeightsError::None { dir: dir.to_owned() })
    }

    /// Opens one weights file of any name; `.bin`, `.pt`, `.pth` and zip archives are PyTorch's.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_file(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let dir = path.parent().unwrap_or(Path::new(""));
        Self::from_files(dir, vec![path.to_owned()], canonical_name)
    }

    fn from_index(dir: &Path, index: &Path, extension: &str) -> Result<Self, WeightsError> {
        let shards = index::read_index(index, extension)?;
        let files = shards.keys().map(|shard| dir.join(shard)).collect();
        let weights = Self::from_files(dir, files, canonical_name)?;
        for (file, (shard, tensors)) in shards.iter().enumerate() {
            let held: HashSet<&str> = weights
                .places
                .values()
                .filter(|place| place.file == file)
                .map(|place| place.stored.name.as_str())
                .collect();
            if let Some(tensor) = tensors.iter().find(|tensor| !held.contains(tensor.as_str())) {
                let problem = format!("`{tensor}` is not in {shard}, where the index says it is");
                return Err(WeightsError::Broken { path: index.to_owned(), problem });
            }
        }
        Ok(weights)
    }

    /// Opens weights files that lie in `dir`, naming tensors by `canonical`.
    pub(super) fn from_files(
        dir: &Path,
        files: Vec<PathBuf>,
        canonical: impl Fn(&str) -> String,
    ) -> Result<Self, WeightsError> {
        let mut sources = Vec::new();
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        for (file, path) in files.into_iter().enumerate() {
            let (size, tensors) = read_header(&path)?;
            for stored in tensors {
                let name = canonical(&stored.name);
                if let Some(first) = places.get(&name) {
                    return Err(WeightsError::Twice {
                        path,
                        first: first.stored.name.clone(),
                        second: stored.name,
                    });
                }
                places.insert(name, Place { file, stored });
            }
            sources.push(Source { path, size });
        }
        Ok(Weights { dir: dir.to_owned(), files: sources, places })
    }

    /// Takes tensors of another file set in: `place` gives the canonical name of one to be taken,
    /// and the name to save it under where that is not the one it has.
    pub(super) fn adopt(
        &mut self,
        other: Weights,
        place: impl Fn(&str) -> Option<(String, Option<String>)>,
    ) -> Result<(), WeightsError> {
        let first = self.files.len();
        for (name, Place { file, mut stored }) in other.places {
            let Some((canonical, rename)) = place(&name) else { continue };
            stored.name = rename.unwrap_or(stored.name);
            if let Some(twin) = self.places.get(&canonical) {
                let (path, first) = (other.files[file].path.clone(), twin.stored.name.clone());
                return Err(WeightsError::Twice { path, first, second: stored.name });
            }
            self.places.insert(canonical, Place { file: first + file, stored });
        }
        self.files.extend(other.files);
        Ok(())
    }

    /// Canonical names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// What the files call each tensor, by its canonical name.
    #[must_use]
    pub fn stored_names(&self) -> BTreeMap<String, String> {
        self.places.iter().map(|(name, place)| (name.clone(), place.stored.name.clone())).collect()
    }

    /// Shape of the tensor called `name`, where there is one.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.places.get(name).map(|place| place.stored.shape.as_slice())
    }

    /// Number format of the tensor called `name`, where there is one.
    #[must_use]
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        self.places.get(name).map(|place| place.stored.dtype)
    }

    /// One tensor as its file holds it, mapped and not copied: nothing is read until its bytes
    /// are.
    ///
    /// # Errors
    ///
    /// When there is no such tensor or its file cannot be mapped.
    pub fn raw(&self, name: &str) -> Result<RawTensor, WeightsError> {
        let place = self.place(name)?;
        read::raw(&self.files[place.file], &place.stored)
    }

    /// Reads one tensor: its shape and its values in row-major order, converted to `f32`.
    ///
    /// # Errors
    ///
    /// When there is no such tensor, it is not of a floating-point format, or reading fails.
    pub fn tensor(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), WeightsError> {
        let raw = self.raw(name)?;
        if let Some(values) = raw.to_f32() {
            return Ok((raw.shape, values));
        }
        let place = self.place(name)?;
        let (stored, dtype) = (&place.stored.name, raw.dtype);
        let problem = format!("tensor `{stored}` is {dtype:?}; supported: F32, F16, BF16");
        Err(WeightsError::Broken { path: self.files[place.file].path.clone(), problem })
    }

    /// Reads one tensor as the bits of its numbers where the file holds them in bf16; `None` where
    /// it holds another format.
    ///
    /// # Errors
    ///
    /// When there is no such tensor, or reading fails.
    pub fn bf16(&self, name: &str) -> Result<Option<Vec<u16>>, WeightsError> {
        let raw = self.raw(name)?;
        let bits = || raw.bytes().as_chunks().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
        Ok((raw.dtype == Dtype::BF16).then(bits))
    }

    fn place(&self, name: &str) -> Result<&Place, WeightsError> {
        self.places
            .get(name)
            .ok_or_else(|| WeightsError::Missing { dir: self.dir.clone(), name: name.to_owned() })
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
                Some(shape) if *shape == place.stored.shape.as_slice() => {}
                Some(shape) => {
                    misshapen.push((name.clone(), shape.to_vec(), place.stored.shape.clone()));
                }
                None if is_buffer(name) || (tied_head && name == HEAD) => {}
                None => unknown.push(place.stored.name.clone()),
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
        if tied_head && self.places.contains_key(HEAD) && !self.equal(HEAD, EMBEDDINGS)? {
            return Err(WeightsError::Untied { dir: self.dir.clone() });
        }
        Ok(())
    }

    /// Whether two tensors hold the same numbers. Equal bytes are, without a copy as floats.
    fn equal(&self, a: &str, b: &str) -> Result<bool, WeightsError> {
        let (raw_a, raw_b) = (self.raw(a)?, self.raw(b)?);
        if raw_a.dtype == raw_b.dtype && raw_a.bytes() == raw_b.bytes() {
            return Ok(raw_a.shape == raw_b.shape);
        }
        Ok(self.tensor(a)? == self.tensor(b)?)
    }
}

/// The size of a weights file and the tensors in it.
fn read_header(path: &Path) -> Result<(u64, Vec<Stored>), WeightsError> {
    let size = regular_size(path)?;
    let mut file = BufReader::new(File::open(path).map_err(FileError::read(path))?);
    // PyTorch's files have names of all sorts, `reward_head` among them.
    let extension = path.extension().and_then(|found| found.to_str()).unwrap_or_default();
    let torch = ["bin", "pt", "pth"].contains(&extension)
        || extension != "safetensors"
            && file.fill_buf().map_err(FileError::read(path))?.starts_with(b"PK\x03\x04");
    let tensors = if torch {
        torch::read_state_dict(&mut file, size)
    } else {
        header::read_header(&mut file, size)
    };
    Ok((size, tensors.map_err(|fault| fault.at(path))?))
}

#[cfg(test)]
mod tests;
