//! Writing `model.safetensors`, whole or in shards.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use serde_json::{Map, Value, json};

use crate::hf::config::WeightFormat;
use crate::hf::files::{FileError, replace, temporary, write_json};
use crate::hf::weights::WeightsError;

/// Bytes of tensors that [`write_weights`] puts into one file: 5 GB, the choice of `transformers`
/// up to release 4.
pub const MAX_SHARD_BYTES: u64 = 5_000_000_000;
const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// [`write_shards`] with shards of [`MAX_SHARD_BYTES`].
///
/// # Errors
///
/// As [`write_shards`].
pub fn write_weights<N, D>(
    dir: impl AsRef<Path>,
    format: WeightFormat,
    tensors: impl IntoIterator<Item = (N, Vec<usize>, D)>,
) -> Result<(), WeightsError>
where
    N: AsRef<str>,
    D: AsRef<[f32]>,
{
    write_shards(dir, format, MAX_SHARD_BYTES, tensors)
}

/// Writes the weights of a checkpoint into `dir`: `model.safetensors`, or where the tensors have
/// more than `max_shard_bytes` in all, `model-00001-of-0000N.safetensors` and so on with their
/// index. Each item is a name, a shape and the values in row-major order.
///
/// Data goes to disk as it comes, so the iterator may make its tensors one at a time. Files get
/// their names when all are written, the index last; weights of an earlier save that the new ones
/// do not replace by name are then removed. A reader sees the old checkpoint, the new one, or,
/// where shards replace shards and the power fails between two renames, shards without an index,
/// which is an error and never a mixture.
///
/// # Errors
///
/// When values do not fill their shape, a name comes twice or the disk refuses; an older
/// checkpoint is then still whole.
pub fn write_shards<N, D>(
    dir: impl AsRef<Path>,
    format: WeightFormat,
    max_shard_bytes: u64,
    tensors: impl IntoIterator<Item = (N, Vec<usize>, D)>,
) -> Result<(), WeightsError>
where
    N: AsRef<str>,
    D: AsRef<[f32]>,
{
    let dir = dir.as_ref();
    std::fs::create_dir_all(dir).map_err(FileError::write(dir))?;
    let mut written = Litter(Vec::new());
    let mut weight_map = Map::new();
    let (mut total_bytes, mut total_values) = (0, 0);
    let mut names = BTreeSet::new();
    let mut shard = Shard::create(&dir.join("shard-1"))?;
    for (name, shape, values) in tensors {
        let (name, values) = (name.as_ref(), values.as_ref());
        let bytes = (values.len() * format.bytes()) as u64;
        if shard.bytes > 0 && shard.bytes + bytes > max_shard_bytes {
            let next = Shard::create(&dir.join(format!("shard-{}", written.0.len() + 2)))?;
            let path = temporary(&dir.join(format!("weights-{}", written.0.len() + 1)));
            written.0.push(path.clone());
            std::mem::replace(&mut shard, next).finish(&path)?;
        }
        if !names.insert(name.to_owned()) {
            return Err(twice(&dir.join(WHOLE), name));
        }
        shard.add(name, shape, values, format)?;
        // Shards by number, until it is known how many there are.
        weight_map.insert(name.to_owned(), json!(written.0.len()));
        total_bytes += bytes;
        total_values += values.len();
    }
    let path = temporary(&dir.join(format!("weights-{}", written.0.len() + 1)));
    written.0.push(path.clone());
    shard.finish(&path)?;

    let count = written.0.len();
    if count == 1 {
        rename(&written.0[0], &dir.join(WHOLE))?;
        remove(&dir.join(INDEX))?;
        return remove_shards_but(dir, &BTreeSet::new());
    }
    let files: Vec<String> =
        (1..=count).map(|n| format!("model-{n:05}-of-{count:05}.safetensors")).collect();
    remove(&dir.join(INDEX))?;
    for (path, file) in written.0.iter().zip(&files) {
        rename(path, &dir.join(file))?;
    }
    for number in weight_map.values_mut() {
        let file = number.as_u64().and_then(|n| files.get(usize::try_from(n).ok()?));
        *number = json!(file);
    }
    let metadata = json!({ "total_parameters": total_values, "total_size": total_bytes });
    let index = json!({ "metadata": metadata, "weight_map": weight_map });
    write_json(&dir.join(INDEX), &index)?;
    // Read before shards: gone when they are all there.
    remove(&dir.join(WHOLE))?;
    remove_shards_but(dir, &files.into_iter().collect())
}

/// Writes one safetensors file of any name, atomically.
pub(in crate::hf) fn write_safetensors<N, D>(
    path: &Path,
    format: WeightFormat,
    tensors: impl IntoIterator<Item = (N, Vec<usize>, D)>,
) -> Result<(), WeightsError>
where
    N: AsRef<str>,
    D: AsRef<[f32]>,
{
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(FileError::write(folder))?;
    }
    let mut shard = Shard::create(path)?;
    for (name, shape, values) in tensors {
        if shard.header.contains_key(name.as_ref()) {
            return Err(twice(path, name.as_ref()));
        }
        shard.add(name.as_ref(), shape, values.as_ref(), format)?;
    }
    shard.finish(path)
}

/// A file in the making. Its header stands first and is known last, so its data goes to a file of
/// its own.
struct Shard {
    header: Map<String, Value>,
    data: BufWriter<File>,
    /// The data's file; removed when this goes.
    path: Litter,
    bytes: u64,
}

impl Shard {
    fn create(beside: &Path) -> Result<Self, WeightsError> {
        let path = temporary(&beside.with_extension("data"));
        let file = File::create(&path).map_err(FileError::write(&path))?;
        let mut header = Map::new();
        header.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
        let data = BufWriter::with_capacity(1 << 20, file);
        Ok(Shard { header, data, path: Litter(vec![path]), bytes: 0 })
    }

    fn add(
        &mut self,
        name: &str,
        shape: Vec<usize>,
        values: &[f32],
        format: WeightFormat,
    ) -> Result<(), WeightsError> {
        if shape.iter().product::<usize>() != values.len() {
            let (name, len) = (name.to_owned(), values.len());
            return Err(WeightsError::Length { name, shape, len });
        }
        write_values(&mut self.data, format, values).map_err(FileError::write(&self.path.0[0]))?;
        let end = self.bytes + (values.len() * format.bytes()) as u64;
        let dtype = match format {
            WeightFormat::F32 => "F32",
            WeightFormat::F16 => "F16",
            WeightFormat::Bf16 => "BF16",
        };
        let offsets = [self.bytes, end];
        let info = json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        self.header.insert(name.to_owned(), info);
        self.bytes = end;
        Ok(())
    }

    /// Puts header and data together.
    fn finish(mut self, path: &Path) -> Result<(), WeightsError> {
        let data_path = &self.path.0[0];
        self.data.flush().map_err(FileError::write(data_path))?;
        let mut header = Value::Object(self.header).to_string();
        // Spaces after the header keep the data aligned to 8 bytes.
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        replace(path, |file| {
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(header.as_bytes())?;
            io::copy(&mut File::open(data_path)?, file)?;
            Ok(())
        })?;
        Ok(())
    }
}

/// Temporary files, removed unless they were renamed.
struct Litter(Vec<PathBuf>);

impl Drop for Litter {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn twice(path: &Path, name: &str) -> WeightsError {
    let problem = format!("tensor `{name}` was given twice");
    WeightsError::Broken { path: path.to_owned(), problem }
}

fn rename(from: &Path, to: &Path) -> Result<(), WeightsError> {
    Ok(std::fs::rename(from, to).map_err(FileError::write(to))?)
}

fn remove(path: &Path) -> Result<(), WeightsError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::write(path)(error).into())
        }
        _ => Ok(()),
    }
}

/// Removes `model-*-of-*.safetensors` of an earlier save.
fn remove_shards_but(dir: &Path, keep: &BTreeSet<String>) -> Result<(), WeightsError> {
    for entry in std::fs::read_dir(dir).map_err(FileError::read(dir))? {
        let entry = entry.map_err(FileError::read(dir))?;
        if let Ok(name) = entry.file_name().into_string()
            && is_shard(&name)
            && !keep.contains(&name)
        {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn is_shard(name: &str) -> bool {
    let numbers = name.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
    let numbers = numbers.and_then(|numbers| numbers.split_once("-of-"));
    let number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(n, count)| number(n) && number(count))
}

/// Writes values in a number format.
fn write_values(out: &mut impl Write, format: WeightFormat, values: &[f32]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(format.bytes() << 14);
    for chunk in values.chunks(1 << 14) {
        bytes.clear();
        match format {
            WeightFormat::F32 => bytes.extend(chunk.iter().flat_map(|v| v.to_le_bytes())),
            WeightFormat::F16 => {
                bytes.extend(chunk.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()));
            }
            WeightFormat::Bf16 => {
                bytes.extend(chunk.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()));
            }
        }
        out.write_all(&bytes)?;
    }
    Ok(())
}

impl WeightFormat {
    /// Bytes of one value.
    fn bytes(self) -> usize {
        match self {
            WeightFormat::F32 => 4,
            WeightFormat::F16 | WeightFormat::Bf16 => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hf::testing::fixture;
    use crate::hf::{ModelConfig, Weights, expected_tensors};

    #[test]
    fn a_rewritten_checkpoint_holds_the_same_numbers() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["llava-a", "llava-b"] {
            let expected = expected_tensors(&ModelConfig::open(fixture(name)).unwrap());
            let weights = Weights::open(fixture(name)).unwrap();
            write_weights(
                dir.path(),
                WeightFormat::F32,
                expected
                    .iter()
                    .map(|(name, shape)| (name, shape.clone(), weights.tensor(name).unwrap().1)),
            )
            .unwrap();
            let again = Weights::open(dir.path()).unwrap();
            again.check(&expected).unwrap();
            for (name, _) in &expected {
                assert_eq!(again.tensor(name).unwrap(), weights.tensor(name).unwrap());
            }
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        }
        // The library that everyone else uses agrees on the bytes.
        let bytes = std::fs::read(dir.path().join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
        assert_eq!(file.tensor("language_model.lm_head.weight").unwrap().shape(), [31, 18]);
    }

    #[test]
    fn half_formats_round_to_nearest() {
        let dir = tempfile::tempdir().unwrap();
        let values = [1.0_f32, -2.5, 0.1, 65_504.0, 3.0e-5];
        for (format, expected) in [
            (WeightFormat::F16, [1.0, -2.5, 0.099_975_586, 65_504.0, 2.998_113_6e-5]),
            (WeightFormat::Bf16, [1.0, -2.5, 0.100_097_656, 65_536.0, 3.004_074e-5]),
        ] {
            write_weights(dir.path(), format, [("x", vec![5], values)]).unwrap();
            let (shape, read) = Weights::open(dir.path()).unwrap().tensor("x").unwrap();
            assert_eq!(shape, [5]);
            for (read, expected) in read.iter().zip(expected) {
                assert!((read - expected).abs() <= 1e-6 * expected.abs(), "{read} {expected}");
            }
        }
    }

    #[test]
    fn a_failed_write_keeps_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        write_weights(dir.path(), WeightFormat::F32, [("x", vec![2], [1.0, 2.0])]).unwrap();
        let short = [("x", vec![2], vec![3.0, 4.0]), ("y", vec![2, 2], vec![0.0; 3])];
        let error = write_weights(dir.path(), WeightFormat::F32, short).unwrap_err().to_string();
        assert_eq!(error, "tensor `y` of shape [2, 2] was given 3 values");
        let twice = [("x", vec![1], [1.0]), ("x", vec![1], [1.0])];
        assert!(write_weights(dir.path(), WeightFormat::F32, twice).is_err());
        let (_, values) = Weights::open(dir.path()).unwrap().tensor("x").unwrap();
        assert_eq!(values, [1.0, 2.0]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// Name, shape and values of six small tensors.
    fn six() -> Vec<(String, Vec<usize>, Vec<f32>)> {
        (0..6_u8).map(|n| (format!("t{n}"), vec![2, 2], vec![f32::from(n); 4])).collect()
    }

    fn listing(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Eight bytes a tensor in half precision: two fit into 20, a third does not.
    #[test]
    fn shards_are_filled_in_order_and_named_by_their_number() {
        let dir = tempfile::tempdir().unwrap();
        write_shards(dir.path(), WeightFormat::F16, 20, six()).unwrap();
        assert_eq!(
            listing(dir.path()),
            [
                "model-00001-of-00003.safetensors",
                "model-00002-of-00003.safetensors",
                "model-00003-of-00003.safetensors",
                "model.safetensors.index.json",
            ]
        );
        let text = std::fs::read_to_string(dir.path().join(INDEX)).unwrap();
        let index: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(index["metadata"], json!({ "total_parameters": 24, "total_size": 48 }));
        assert_eq!(index["weight_map"]["t3"], "model-00002-of-00003.safetensors");
        let weights = Weights::open(dir.path()).unwrap();
        for (name, shape, values) in six() {
            assert_eq!(weights.tensor(&name).unwrap(), (shape, values));
        }
        let large = vec![("x".to_owned(), vec![20], vec![1.0; 20])];
        write_shards(dir.path(), WeightFormat::F32, 20, large.into_iter().chain(six())).unwrap();
        assert_eq!(listing(dir.path()).len(), 1 + 7, "too large a tensor has a shard of its own");
    }

    #[test]
    fn an_older_save_of_another_kind_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        for (most, files) in [(1000, 1), (20, 4), (40, 3), (1000, 1)] {
            write_shards(dir.path(), WeightFormat::F16, most, six()).unwrap();
            assert_eq!(listing(dir.path()).len(), files, "{:?}", listing(dir.path()));
            assert_eq!(Weights::open(dir.path()).unwrap().names().count(), 6);
        }
        let before = listing(dir.path());
        let mut short = six();
        short[5].2.pop();
        assert!(write_shards(dir.path(), WeightFormat::F16, 20, short).is_err());
        assert_eq!(listing(dir.path()), before, "a failed save changes nothing");
    }
}
