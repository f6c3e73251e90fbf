//! A packed matrix on any device, unpacked by plain tensor operations.

use burn::Tensor;
use burn::prelude::Device;
use burn::tensor::{DType, Int, TensorData};
use half::bf16;

use super::blocks::BLOCK;
use super::host::Packed;
use super::nf4::VALUES;
use super::{FrozenFormat, HostMatrix};

/// Packed numbers `[out, in]` as tensors.
#[derive(Clone)]
pub(super) struct DeviceMatrix {
    shape: [usize; 2],
    packed: Tensors,
}

#[derive(Clone)]
enum Tensors {
    /// `[out, in]` in bf16.
    Bf16(Tensor<2>),
    /// Four codes to a word of 32 bits, lowest byte first, `[out · blocks, 16]`, and the scales,
    /// `[out · blocks, 1]`.
    Int8 { words: Tensor<2, Int>, scales: Tensor<2> },
    /// Eight codes to a word: the bytes of the host, lowest first, `[out · blocks, 8]`, the scales,
    /// `[out · blocks, 1]`, and the 16 values.
    Nf4 { words: Tensor<2, Int>, scales: Tensor<2>, values: Tensor<1> },
}

impl DeviceMatrix {
    pub(super) fn new(matrix: &HostMatrix, device: &Device) -> Self {
        let shape = matrix.shape();
        let column = |scales: &[f32]| {
            Tensor::from_data(TensorData::new(scales.to_vec(), [scales.len(), 1]), device)
        };
        let packed = match matrix.packed() {
            Packed::Bf16(bits) => {
                let values: Vec<bf16> = bits.iter().map(|b| bf16::from_bits(*b)).collect();
                let data = TensorData::new(values, shape);
                Tensors::Bf16(Tensor::from_data(data, (device, DType::BF16)))
            }
            Packed::Int8 { codes, scales } => {
                let codes: Vec<u8> = codes.iter().map(|code| code.cast_unsigned()).collect();
                Tensors::Int8 { words: words(&codes, BLOCK / 4, device), scales: column(scales) }
            }
            Packed::Nf4 { codes, scales } => Tensors::Nf4 {
                words: words(codes, BLOCK / 8, device),
                scales: column(scales),
                values: Tensor::from_data(VALUES, device),
            },
        };
        Self { shape, packed }
    }

    pub(super) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    pub(super) fn format(&self) -> FrozenFormat {
        match self.packed {
            Tensors::Bf16(_) => FrozenFormat::Bf16,
            Tensors::Int8 { .. } => FrozenFormat::Int8,
            Tensors::Nf4 { .. } => FrozenFormat::Nf4,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match &self.packed {
            Tensors::Bf16(values) => values.shape().num_elements() * 2,
            Tensors::Int8 { words, scales } | Tensors::Nf4 { words, scales, .. } => {
                (words.shape().num_elements() + scales.shape().num_elements()) * 4
            }
        }
    }

    pub(super) fn unpack(&self) -> Tensor<2> {
        let [rows, width] = self.shape;
        let blocks = match &self.packed {
            Tensors::Bf16(values) => return values.clone().cast(DType::F32),
            _ if rows * width == 0 => return Tensor::zeros(self.shape, &self.device()),
            Tensors::Int8 { words, scales } => {
                let bytes = bits(words, [0, 8, 16, 24], 255).reshape([-1, 64]).float();
                // From 0..=255 to two's complement.
                let negative = bytes.clone().greater_elem(127).float().mul_scalar(256);
                (bytes - negative).cast(DType::F32) * scales.clone()
            }
            Tensors::Nf4 { words, scales, values } => {
                let half = |shifts| bits(words, shifts, 15).reshape([-1, 32]);
                let codes: Tensor<2, Int> =
                    Tensor::cat(vec![half([0, 8, 16, 24]), half([4, 12, 20, 28])], 1);
                let [blocks, _] = codes.dims();
                let codes = codes.reshape([blocks * BLOCK]);
                values.clone().select(0, codes).reshape([blocks, BLOCK]) * scales.clone()
            }
        };
        let padded = width.div_ceil(BLOCK) * BLOCK;
        blocks.reshape([rows, padded]).narrow(1, 0, width)
    }

    fn device(&self) -> Device {
        match &self.packed {
            Tensors::Bf16(values) => values.device(),
            Tensors::Int8 { scales, .. } | Tensors::Nf4 { scales, .. } => scales.device(),
        }
    }
}

/// Bytes as words of 32 bits, `[.., columns]`.
fn words(bytes: &[u8], columns: usize, device: &Device) -> Tensor<2, Int> {
    let words: Vec<i32> = bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect();
    let shape = [words.len() / columns, columns];
    Tensor::from_data(TensorData::new(words, shape), (device, DType::I32))
}

/// Parts of every word, side by side: `[n, words]` to `[n, words, 4]`. `mask` removes what an
/// arithmetic shift drags in.
fn bits(words: &Tensor<2, Int>, shifts: [i32; 4], mask: i32) -> Tensor<3, Int> {
    let parts = shifts
        .map(|shift| words.clone().bitwise_right_shift_scalar(shift).bitwise_and_scalar(mask));
    Tensor::stack(parts.to_vec(), 2)
}
