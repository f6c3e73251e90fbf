//! Writing `model.safetensors`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use half::{bf16, f16};
use serde_json::{Value, json};

use crate::hf::config::WeightFormat;
use crate::hf::files::{FileError, replace, temporary};
use crate::hf::weights::WeightsError;

/// Writes `model.safetensors` into `dir`, atomically: each item is a name, a shape and the
/// values in row-major order. Data goes to disk as it comes, so the iterator may make its
/// tensors one at a time.
///
/// # Errors
///
/// When values do not fill their shape or the disk refuses; an older file is then still whole.
pub fn write_weights<N, D>(
    dir: impl AsRef<Path>,
    format: WeightFormat,
    tensors: impl IntoIterator<Item = (N, Vec<usize>, D)>,
) -> Result<(), WeightsError>
where
    N: AsRef<str>,
    D: AsRef<[f32]>,
{
    write_safetensors(&dir.as_ref().join("model.safetensors"), format, tensors)
}

/// [`write_weights`] to any file name.
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
    // The header stands first and is known last: data goes to a file of its own.
    let data_path = temporary(&path.with_extension("data"));
    let result = (|| {
        let mut header = serde_json::Map::new();
        header.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
        let file = File::create(&data_path).map_err(FileError::write(&data_path))?;
        let mut data = BufWriter::with_capacity(1 << 20, file);
        let mut offset = 0;
        for (name, shape, values) in tensors {
            let (name, values) = (name.as_ref(), values.as_ref());
            if shape.iter().product::<usize>() != values.len() {
                let (name, len) = (name.to_owned(), values.len());
                return Err(WeightsError::Length { name, shape, len });
            }
            let written =
                write_values(&mut data, format, values).map_err(FileError::write(&data_path))?;
            let info = json!({
                "dtype": match format {
                    WeightFormat::F32 => "F32",
                    WeightFormat::F16 => "F16",
                    WeightFormat::Bf16 => "BF16",
                },
                "shape": shape,
                "data_offsets": [offset, offset + written],
            });
            offset += written;
            if header.insert(name.to_owned(), info).is_some() {
                return Err(WeightsError::Broken {
                    path: path.to_owned(),
                    problem: format!("tensor `{name}` was given twice"),
                });
            }
        }
        data.flush().map_err(FileError::write(&data_path))?;
        drop(data);
        let mut header = Value::Object(header).to_string();
        // Spaces after the header keep the data aligned to 8 bytes.
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        replace(path, |file| {
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(header.as_bytes())?;
            io::copy(&mut File::open(&data_path)?, file)?;
            Ok(())
        })?;
        Ok(())
    })();
    let _ = std::fs::remove_file(&data_path);
    result
}

/// Writes values in a number format and returns the bytes written.
fn write_values(out: &mut impl Write, format: WeightFormat, values: &[f32]) -> io::Result<usize> {
    match format {
        WeightFormat::F32 => values.iter().try_for_each(|v| out.write_all(&v.to_le_bytes()))?,
        WeightFormat::F16 => {
            values.iter().try_for_each(|v| out.write_all(&f16::from_f32(*v).to_le_bytes()))?;
        }
        WeightFormat::Bf16 => {
            values.iter().try_for_each(|v| out.write_all(&bf16::from_f32(*v).to_le_bytes()))?;
        }
    }
    Ok(values.len() * if format == WeightFormat::F32 { 4 } else { 2 })
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
}
