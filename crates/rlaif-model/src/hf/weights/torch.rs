//! State dicts as `torch.save` writes them: a zip archive that holds a pickle, `data.pkl`, and one
//! entry of raw bytes per storage.
//!
//! A pickle is a program. The one read here may only build the dict of tensors that `torch.save`
//! writes: it can name the constructors of [`pickle`] and no others, and these are not called but
//! understood. Nothing is decompressed, since PyTorch stores entries as they are, so that a file
//! cannot grow in memory.

mod pickle;
mod value;
mod zip;

use std::io::{Read, Seek, SeekFrom};

use safetensors::tensor::Dtype;

use crate::hf::weights::error::Fault;
use crate::hf::weights::read::Stored;
use value::View;
use zip::{Archive, Entry};

/// Longest pickle read: a state dict has some 200 bytes per tensor.
const MAX_PICKLE: u64 = 16 << 20;

/// Why a file of PyTorch's cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TorchError {
    /// The file is of the format before PyTorch 1.6.
    #[error(
        "written by a PyTorch before 1.6 (or without its zip format), which is not read; with \
         PyTorch: `torch.save(torch.load(FILE, weights_only=True), FILE)`, or save the model as \
         safetensors"
    )]
    Legacy,
    /// It is no archive of PyTorch's.
    #[error("not a file of torch.save: {0}")]
    Archive(String),
    /// The pickle asks for a function or class that no state dict needs.
    #[error(
        "its pickle asks for `{name}`, which a state dict has no need of; nothing was run. Save \
         `model.state_dict()` alone, best as safetensors"
    )]
    Global {
        /// Module and name.
        name: String,
    },
    /// The pickle uses an instruction that `torch.save` does not use for state dicts.
    #[error(
        "its pickle has instruction {opcode:#04x} at byte {at}, which torch.save of a state dict \
         does not write (pickle protocol 2)"
    )]
    Opcode {
        /// The instruction.
        opcode: u8,
        /// Byte of the pickle.
        at: usize,
    },
    /// The pickle is cut off or makes no sense.
    #[error("its pickle is broken at byte {at}: {problem}")]
    Pickle {
        /// Byte of the pickle.
        at: usize,
        /// What is wrong there.
        problem: String,
    },
    /// More of something than a state dict has.
    #[error("its pickle holds more than {most} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// Most that is read.
        most: usize,
    },
    /// A tensor does not fit the bytes it is said to lie in.
    #[error("tensor `{name}` {problem}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Finds the tensors of a file of `size` bytes.
pub(super) fn read_state_dict(
    file: &mut (impl Read + Seek),
    size: u64,
) -> Result<Vec<Stored>, Fault> {
    let mut magic = [0; 4];
    file.seek(SeekFrom::Start(0))?;
    let found = file.take(4).read(&mut magic)?;
    if found > 0 && magic[0] == 0x80 {
        return Err(TorchError::Legacy.into());
    }
    let archive = zip::open(file, size)?;
    let (prefix, entry) = archive.pickle()?;
    if entry.len > MAX_PICKLE {
        let problem = format!("data.pkl has {} bytes; at most {MAX_PICKLE} are read", entry.len);
        return Err(TorchError::Archive(problem).into());
    }
    if let Some(order) = archive.get(&format!("{prefix}byteorder"))
        && bytes_of(file, order, 16)? != b"little"
    {
        let problem = "its byte order is not little-endian".to_owned();
        return Err(TorchError::Archive(problem).into());
    }
    let program = bytes_of(file, entry, MAX_PICKLE)?;
    let mut tensors = Vec::new();
    for (name, view) in pickle::state_dict(&program)? {
        tensors.push(place(&archive, &prefix, name, &view)?);
    }
    Ok(tensors)
}

fn bytes_of(
    file: &mut (impl Read + Seek),
    entry: Entry,
    most: u64,
) -> Result<Vec<u8>, std::io::Error> {
    file.seek(SeekFrom::Start(entry.start))?;
    let mut bytes = Vec::new();
    file.take(entry.len.min(most)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Where a view of a storage lies in the file.
fn place(archive: &Archive, prefix: &str, name: String, view: &View) -> Result<Stored, TorchError> {
    let storage = &view.storage;
    let size = storage.dtype.bitsize() as u64 / 8;
    let fault = |problem: String| Err(TorchError::Tensor { name: name.clone(), problem });
    let Some(entry) = archive.get(&format!("{prefix}data/{}", storage.key)) else {
        return fault(format!("lies in storage {:?}, which the file does not hold", storage.key));
    };
    if storage.elements.checked_mul(size).is_none_or(|bytes| bytes > entry.len) {
        return fault(format!(
            "lies in a storage of {} elements of {size} bytes, but the file holds {} bytes of it",
            storage.elements, entry.len
        ));
    }
    let Some(elements) = view.shape.iter().try_fold(1_u64, |n, size| n.checked_mul(*size)) else {
        return fault(format!("has a shape that no file holds: {:?}", view.shape));
    };
    // Element after the last one used.
    let end = view
        .shape
        .iter()
        .zip(&view.strides)
        .try_fold(view.offset, |end, (size, stride)| {
            end.checked_add(size.checked_sub(1)?.checked_mul(*stride)?)
        })
        .and_then(|last| last.checked_add(1));
    let span = match (elements, end) {
        (0, _) => 0,
        (_, Some(end)) if end <= storage.elements => end - view.offset,
        _ => {
            return fault(format!(
                "of shape {:?}, strides {:?} and offset {} goes past the {} elements of its storage",
                view.shape, view.strides, view.offset, storage.elements
            ));
        }
    };
    if elements > storage.elements {
        return fault(format!(
            "repeats the {} elements of its storage to {elements}; save it with `.contiguous()`",
            storage.elements
        ));
    }
    let sizes =
        |list: &[u64]| list.iter().map(|n| usize::try_from(*n)).collect::<Result<Vec<_>, _>>();
    let (Ok(shape), Ok(strides), Ok(len)) =
        (sizes(&view.shape), sizes(&view.strides), usize::try_from(span * size))
    else {
        return fault("is more than this machine can address".to_owned());
    };
    let strides = (elements > 0 && !row_major(&shape, &strides)).then_some(strides);
    let start = entry.start + if elements == 0 { 0 } else { view.offset * size };
    Ok(Stored { name, dtype: storage.dtype, shape, start, len, strides })
}

/// Whether strides are those of a tensor without gaps, none of whose axes is empty; where an axis has one element its stride
/// says nothing.
fn row_major(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    shape.iter().zip(strides).rev().all(|(size, stride)| {
        let fits = *size == 1 || *stride == expected;
        expected *= size;
        fits
    })
}

/// Number format of a storage class of `torch`.
fn storage_dtype(name: &str) -> Option<Dtype> {
    Some(match name {
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "DoubleStorage" => Dtype::F64,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "BoolStorage" => Dtype::BOOL,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
