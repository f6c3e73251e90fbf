//! A packed matrix in host memory: where every format is made, and what the CPU kernels read.

use std::fmt;
use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

use super::blocks::{self, BLOCK};
use super::{FrozenFormat, NotFinite, nf4};
use crate::simd::{kernel, prefetch};

/// Packed numbers `[out, in]`.
#[derive(Clone, PartialEq)]
pub(crate) struct HostMatrix {
    shape: [usize; 2],
    packed: Packed,
}

/// The numbers of a [`HostMatrix`], row after row.
#[derive(Clone, PartialEq)]
pub(super) enum Packed {
    /// The bits of each number.
    Bf16(Vec<u16>),
    /// 64 multiples a block, and each block's largest magnitude over 127.
    Int8 { codes: Vec<i8>, scales: Vec<f32> },
    /// 32 bytes a block, and each block's largest magnitude. Byte `i` holds the code of number `i`
    /// in its lower four bits and that of number `i + 32` above.
    Nf4 { codes: Vec<u8>, scales: Vec<f32> },
}

impl HostMatrix {
    pub(super) fn pack(
        values: &[f32],
        shape: [usize; 2],
        format: FrozenFormat,
    ) -> Result<Self, NotFinite> {
        let [rows, width] = shape;
        assert_eq!(
            values.len(),
            rows * width,
            "FrozenMatrix: numbers of a {rows} x {width} matrix"
        );
        let packed = match format {
            FrozenFormat::Bf16 => {
                Packed::Bf16(values.par_iter().map(|x| bf16::from_f32(*x).to_bits()).collect())
            }
            FrozenFormat::Int8 => {
                finite(values, width)?;
                let (codes, scales) = blocks::pack::<i8, BLOCK>(values, width, blocks::int8);
                Packed::Int8 { codes, scales }
            }
            FrozenFormat::Nf4 => {
                finite(values, width)?;
                let (codes, scales) = blocks::pack::<u8, { BLOCK / 2 }>(values, width, nf4::encode);
                Packed::Nf4 { codes, scales }
            }
        };
        Ok(Self { shape, packed })
    }

    pub(super) fn from_bf16(bits: Vec<u16>, shape: [usize; 2]) -> Self {
        let [rows, width] = shape;
        assert_eq!(bits.len(), rows * width, "FrozenMatrix: numbers of a {rows} x {width} matrix");
        Self { shape, packed: Packed::Bf16(bits) }
    }

    pub(crate) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    pub(super) fn packed(&self) -> &Packed {
        &self.packed
    }

    pub(super) fn format(&self) -> FrozenFormat {
        match self.packed {
            Packed::Bf16(_) => FrozenFormat::Bf16,
            Packed::Int8 { .. } => FrozenFormat::Int8,
            Packed::Nf4 { .. } => FrozenFormat::Nf4,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match &self.packed {
            Packed::Bf16(bits) => size_of_val(&bits[..]),
            Packed::Int8 { codes, scales } => size_of_val(&codes[..]) + size_of_val(&scales[..]),
            Packed::Nf4 { codes, scales } => size_of_val(&codes[..]) + size_of_val(&scales[..]),
        }
    }

    /// Unpacks a block into `out`, row after row. The columns start at a multiple of 64.
    pub(crate) fn unpack(&self, rows: Range<usize>, columns: Range<usize>, out: &mut [f32]) {
        let width = self.shape[1];
        assert!(columns.start.is_multiple_of(BLOCK) && columns.end <= width, "whole blocks");
        if rows.is_empty() || columns.is_empty() {
            return;
        }
        let (blocks, before) = (width.div_ceil(BLOCK), columns.start / BLOCK);
        let start = rows.start * blocks + before;
        let size = [rows.len(), columns.len()];
        match &self.packed {
            Packed::Bf16(bits) => {
                unpack_bf16(&bits[rows.start * width + columns.start..], width, size, out);
            }
            Packed::Int8 { codes, scales } => {
                unpack_int8(&codes[start * BLOCK..], &scales[start..], blocks, size, out);
            }
            Packed::Nf4 { codes, scales } => {
                nf4::unpack(&codes[start * nf4::BYTES..], &scales[start..], blocks, size, out);
            }
        }
    }

    /// Asks for a block before it is unpacked.
    pub(crate) fn prefetch(&self, rows: Range<usize>, columns: Range<usize>) {
        let width = self.shape[1];
        let blocks = width.div_ceil(BLOCK);
        for row in rows {
            let (first, last) =
                (row * blocks + columns.start / BLOCK, row * blocks + columns.end.div_ceil(BLOCK));
            match &self.packed {
                Packed::Bf16(bits) => {
                    prefetch(&bits[row * width + columns.start..row * width + columns.end]);
                }
                Packed::Int8 { codes, scales } => {
                    prefetch(&codes[first * BLOCK..last * BLOCK]);
                    prefetch(&scales[first..last]);
                }
                Packed::Nf4 { codes, scales } => {
                    prefetch(&codes[first * nf4::BYTES..last * nf4::BYTES]);
                    prefetch(&scales[first..last]);
                }
            }
        }
    }

    /// Unpacks whole rows from `first` on into `out`, as many as fit, on all threads.
    pub(crate) fn unpack_with_threads(&self, first: usize, out: &mut [f32]) {
        let width = self.shape[1];
        let some = (1 << 14) / width.max(1) + 1;
        out.par_chunks_mut(some * width.max(1)).enumerate().for_each(|(i, out)| {
            let start = first + i * some;
            self.unpack(start..start + out.len() / width, 0..width, out);
        });
    }

    pub(super) fn unpacked(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.shape[0] * self.shape[1]];
        self.unpack_with_threads(0, &mut out);
        out
    }
}

/// Without the numbers, which nobody wants to read.
impl fmt::Debug for HostMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostMatrix")
            .field("shape", &self.shape)
            .field("format", &self.format())
            .finish_non_exhaustive()
    }
}

fn finite(values: &[f32], width: usize) -> Result<(), NotFinite> {
    let odd = |row: &[f32]| row.iter().position(|x| !x.is_finite());
    let rows = values.par_chunks(width.max(1)).enumerate();
    match rows.find_map_first(|(i, row)| odd(row).map(|column| (i, column, row[column]))) {
        None => Ok(()),
        Some((row, column, value)) => Err(NotFinite { row, column, value }),
    }
}

kernel! {
    /// A block of that size out of rows of `width` numbers.
    fn unpack_bf16<'a>(bits: &'a [u16], width: usize, size: [usize; 2], out: &'a mut [f32]) {
        for (out, bits) in out.chunks_exact_mut(size[1]).zip(bits.chunks(width)) {
            for (out, bits) in out.iter_mut().zip(bits) {
                *out = f32::from_bits(u32::from(*bits) << 16);
            }
        }
    }
}

kernel! {
    /// A block of that size out of rows of `blocks` blocks.
    fn unpack_int8<'a>(
        codes: &'a [i8],
        scales: &'a [f32],
        blocks: usize,
        size: [usize; 2],
        out: &'a mut [f32],
    ) {
        let rows = codes.chunks(blocks * BLOCK).zip(scales.chunks(blocks));
        for (out, (codes, scales)) in out.chunks_exact_mut(size[1]).zip(rows) {
            let (whole, rest) = out.as_chunks_mut::<BLOCK>();
            let (codes, _) = codes.as_chunks::<BLOCK>();
            let last = whole.len();
            for ((out, codes), scale) in whole.iter_mut().zip(codes).zip(scales) {
                for i in 0..BLOCK {
                    out[i] = f32::from(codes[i]) * scale;
                }
            }
            if !rest.is_empty() {
                for (out, code) in rest.iter_mut().zip(&codes[last]) {
                    *out = f32::from(*code) * scales[last];
                }
            }
        }
    }
}
