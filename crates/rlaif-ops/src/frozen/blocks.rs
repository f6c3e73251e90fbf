//! Rows cut into blocks that share a scale.

use rayon::prelude::*;

/// Numbers of a block, as in QLoRA.
pub(super) const BLOCK: usize = 64;

/// Packs every block of every row by `encode`, which returns `N` codes and the block's scale. The
/// last block of a row is filled up with zeros.
pub(super) fn pack<T: Copy + Default + Send, const N: usize>(
    values: &[f32],
    width: usize,
    encode: impl Fn(&[f32; BLOCK]) -> ([T; N], f32) + Sync,
) -> (Vec<T>, Vec<f32>) {
    let row_blocks = width.div_ceil(BLOCK);
    if values.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let blocks = values.len() / width * row_blocks;
    let mut codes = vec![T::default(); blocks * N];
    let mut scales = vec![0.0; blocks];
    values
        .par_chunks(width)
        .zip(codes.par_chunks_mut(row_blocks * N).zip(scales.par_chunks_mut(row_blocks)))
        .for_each(|(row, (codes, scales))| {
            let (codes, _) = codes.as_chunks_mut::<N>();
            for ((values, codes), scale) in row.chunks(BLOCK).zip(codes).zip(scales) {
                let mut block = [0.0; BLOCK];
                block[..values.len()].copy_from_slice(values);
                (*codes, *scale) = encode(&block);
            }
        });
    (codes, scales)
}

/// The largest magnitude of a block.
pub(super) fn absmax(block: &[f32; BLOCK]) -> f32 {
    block.iter().fold(0.0, |m, x| m.max(x.abs()))
}

/// A block as whole multiples of its scale, which is its largest magnitude over 127; ties go to the
/// even multiple.
pub(super) fn int8(block: &[f32; BLOCK]) -> ([i8; BLOCK], f32) {
    let scale = absmax(block) / 127.0;
    let mut codes = [0; BLOCK];
    // A scale of zero: the block is zero, or too small for any scale.
    if scale > 0.0 {
        for (code, x) in codes.iter_mut().zip(block) {
            // Adding 1.5 · 2²³ rounds to a whole number, which is then the lower bits.
            let rounded = (x / scale).clamp(-127.0, 127.0) + 12_582_912.0;
            *code = rounded.to_bits().to_le_bytes()[0].cast_signed();
        }
    }
    (codes, scale)
}
