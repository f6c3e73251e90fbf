//! One tensor's bytes, mapped from its file, and their conversion to `f32`.
//!
//! Files are mapped and not read: no copy is made, and only the tensor at hand is mapped, so that
//! pages of tensors already taken do not count as this process's memory.

use std::fs::File;
use std::path::{Path, PathBuf};

use half::bf16;
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::tensor::Dtype;

use crate::hf::files::FileError;
use crate::hf::weights::error::WeightsError;
use crate::hf::weights::map::map_range;

/// Values that one thread converts at a time.
const CHUNK: usize = 1 << 18;

/// A weights file and its size when its header was read.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) size: u64,
}

/// Where a tensor lies in its file.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// Name in the file.
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// First byte within the file.
    pub(super) start: u64,
    /// Bytes from the first to the last element.
    pub(super) len: usize,
    /// Distances between neighbours of each axis, in elements; `None` for row-major order without
    /// gaps.
    pub(super) strides: Option<Vec<usize>>,
}

/// A tensor as its file holds it: little-endian elements in row-major order.
#[derive(Debug)]
pub struct RawTensor {
    /// Number format of an element.
    pub dtype: Dtype,
    /// Shape, as in the file.
    pub shape: Vec<usize>,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl RawTensor {
    /// The elements' bytes; reading them reads the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }

    /// The values as `f32`; `None` unless the format is F32, F16 or BF16.
    #[must_use]
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let bytes = self.bytes();
        match self.dtype {
            Dtype::F32 => Some(converted(bytes, f32::from_le_bytes)),
            Dtype::F16 => Some(converted(bytes, f16_to_f32)),
            Dtype::BF16 => Some(converted(bytes, |bits| bf16::from_le_bytes(bits).to_f32())),
            _ => None,
        }
    }
}

/// Maps a tensor of `source`.
pub(super) fn raw(source: &Source, stored: &Stored) -> Result<RawTensor, WeightsError> {
    let mapped = map(source, stored.start, stored.len)?;
    let bytes = match &stored.strides {
        None => mapped,
        Some(strides) => {
            let bytes = match &mapped {
                Bytes::Mapped(map) => map.as_ref(),
                Bytes::Owned(bytes) => bytes,
            };
            Bytes::Owned(gather(bytes, &stored.shape, strides, stored.dtype.bitsize() / 8))
        }
    };
    Ok(RawTensor { dtype: stored.dtype, shape: stored.shape.clone(), bytes })
}

fn map(source: &Source, start: u64, len: usize) -> Result<Bytes, WeightsError> {
    if len == 0 {
        return Ok(Bytes::Owned(Vec::new()));
    }
    let path: &Path = &source.path;
    let file = File::open(path).map_err(FileError::read(path))?;
    let size = file.metadata().map_err(FileError::read(path))?.len();
    if size != source.size {
        let problem = format!(
            "changed while it was read: {} bytes before, {size} now; is another program writing it?",
            source.size
        );
        return Err(WeightsError::Broken { path: path.to_owned(), problem });
    }
    Ok(Bytes::Mapped(map_range(&file, start, len).map_err(FileError::read(path))?))
}

/// The elements of a view with `strides`, one after the other. The caller has checked that all
/// lie within `bytes`.
fn gather(bytes: &[u8], shape: &[usize], strides: &[usize], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    if shape.contains(&0) {
        return out;
    }
    let mut index = vec![0; shape.len()];
    loop {
        let at: usize = index.iter().zip(strides).map(|(i, stride)| i * stride).sum();
        out.extend_from_slice(&bytes[at * size..][..size]);
        // Counts like an odometer.
        let Some(axis) = (0..shape.len()).rev().find(|axis| index[*axis] + 1 < shape[*axis]) else {
            return out;
        };
        index[axis] += 1;
        index[axis + 1..].fill(0);
    }
}

/// Elements of `N` bytes, converted one by one on all cores.
fn converted<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32 + Sync) -> Vec<f32> {
    let elements = bytes.as_chunks::<N>().0;
    let mut out = vec![0.0; elements.len()];
    out.par_chunks_mut(CHUNK).zip(elements.par_chunks(CHUNK)).for_each(|(out, elements)| {
        for (out, element) in out.iter_mut().zip(elements) {
            *out = value(*element);
        }
    });
    out
}

/// Half precision to single, exactly, without a branch: the compiler makes vector code of it,
/// which it does not of `half`'s.
///
/// The 15 bits below the sign, moved up by 13, are the same number with an exponent that is 112
/// too small, subnormal ones included; the multiplication puts that right. Infinities and NaNs
/// have all exponent bits set in both formats.
fn f16_to_f32(bytes: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(bytes));
    let (sign, magnitude) = ((bits & 0x8000) << 16, bits & 0x7FFF);
    let scaled = f32::from_bits(magnitude << 13) * f32::from_bits((127 + 112) << 23);
    let special = if magnitude >= 0x7C00 { 0x7F80_0000 } else { 0 };
    f32::from_bits(scaled.to_bits() | sign | special)
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn every_half_number_converts_as_the_library_converts_it() {
        for bits in 0..=u16::MAX {
            let expected = f16::from_bits(bits).to_f32();
            let got = f16_to_f32(bits.to_le_bytes());
            if expected.is_nan() {
                assert!(got.is_nan(), "{bits:#x}");
            } else {
                assert_eq!(got.to_bits(), expected.to_bits(), "{bits:#x}");
            }
        }
    }

    #[test]
    fn views_are_gathered_in_row_major_order() {
        let bytes: Vec<u8> = (0..24).collect();
        // The transpose of the first two columns of [3, 4] elements of two bytes.
        let got = gather(&bytes, &[2, 3], &[1, 4], 2);
        assert_eq!(got, [0, 1, 8, 9, 16, 17, 2, 3, 10, 11, 18, 19]);
        assert_eq!(gather(&bytes, &[], &[], 2), [0, 1]);
        assert!(gather(&bytes, &[2, 0], &[1, 1], 2).is_empty());
    }

    #[test]
    fn a_file_that_shrinks_behind_our_back_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w");
        std::fs::write(&path, [0; 64]).unwrap();
        let source = Source { path: path.clone(), size: 64 };
        let (dtype, shape) = (Dtype::F32, vec![8]);
        let mut stored =
            Stored { name: "x".to_owned(), dtype, shape, start: 32, len: 32, strides: None };
        assert_eq!(raw(&source, &stored).unwrap().to_f32().unwrap(), [0.0; 8]);
        stored.start = 33;
        assert!(
            raw(&source, &stored)
                .unwrap_err()
                .to_string()
                .contains("lie past the end of the file at 64")
        );
        std::fs::write(&path, [0; 60]).unwrap();
        let error = raw(&source, &stored).unwrap_err().to_string();
        assert!(error.contains("64 bytes before, 60 now"), "{error}");
    }
}
