//! Writing `model.safetensors`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use half::{bf16, f16};
use serde_json::{Value, json};

use super::config::WeightFormat;
use super::files::{FileError, replace, temporary};
use super::weights::WeightsError;

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
pub(super) fn write_safetensors<N, D>(
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
