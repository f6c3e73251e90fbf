//! A packed matrix on any device, unpacked by plain tensor operations.

use burn::Tensor;
use burn::prelude::Device;
use burn::tensor::{DType, FloatDType, Int, TensorData};
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
    Bf16(Box<Tensor<2>>),
    /// Four codes to a word of 32 bits, lowest byte first: 16 words a block.
    Int8(Box<Blocks>),
    /// Eight codes to a word, the bytes of the host, lowest first: 8 words a block.
    Nf4(Box<Blocks>),
}

#[derive(Clone)]
struct Blocks {
    /// `[out · blocks, words]`
    words: Tensor<2, Int>,
    /// `[out · blocks, 1]`
    scales: Tensor<2>,
}

impl Blocks {
    fn new(bytes: &[u8], scales: &[f32], device: &Device) -> Box<Self> {
        let words: Vec<i32> = bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect();
        let n = scales.len();
        let shape = [n, words.len() / n.max(1)];
        Box::new(Self {
            words: Tensor::from_data(TensorData::new(words, shape), (device, DType::I32)),
            scales: Tensor::from_data(TensorData::new(scales.to_vec(), [n, 1]), device),
        })
    }

    /// Four parts of every word, side by side: `[blocks, 4 · words]`. `mask` removes what an
    /// arithmetic shift drags in.
    fn parts(&self, shifts: [i32; 4], mask: i32) -> Tensor<2, Int> {
        let [blocks, words] = self.words.dims();
        let parts = shifts.map(|shift| {
            self.words.clone().bitwise_right_shift_scalar(shift).bitwise_and_scalar(mask)
        });
        Tensor::stack::<3>(parts.to_vec(), 2).reshape([blocks, 4 * words])
    }
}

impl DeviceMatrix {
    pub(super) fn new(matrix: &HostMatrix, device: &Device) -> Self {
        let shape = matrix.shape();
        let packed = match matrix.packed() {
            Packed::Bf16(bits) => {
                let values: Vec<bf16> = bits.iter().map(|b| bf16::from_bits(*b)).collect();
                let data = TensorData::new(values, shape);
                Tensors::Bf16(Box::new(Tensor::from_data(data, (device, DType::BF16))))
            }
            Packed::Int8 { codes, scales } => {
                let codes: Vec<u8> = codes.iter().map(|code| code.cast_unsigned()).collect();
                Tensors::Int8(Blocks::new(&codes, scales, device))
            }
            Packed::Nf4 { codes, scales } => Tensors::Nf4(Blocks::new(codes, scales, device)),
        };
        Self { shape, packed }
    }

    pub(super) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    pub(super) fn format(&self) -> FrozenFormat {
        match self.packed {
            Tensors::Bf16(_) => FrozenFormat::Bf16,
            Tensors::Int8(_) => FrozenFormat::Int8,
            Tensors::Nf4(_) => FrozenFormat::Nf4,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match &self.packed {
            Tensors::Bf16(values) => values.shape().num_elements() * 2,
            Tensors::Int8(blocks) | Tensors::Nf4(blocks) => {
                (blocks.words.shape().num_elements() + blocks.scales.shape().num_elements()) * 4
            }
        }
    }

    /// The matrix in 32-bit floats, `[out, in]`.
    pub(super) fn unpack(&self) -> Tensor<2> {
        let [rows, width] = self.shape;
        let (values, scales) = match &self.packed {
            Tensors::Bf16(values) => return values.as_ref().clone().cast(DType::F32),
            Tensors::Int8(blocks) | Tensors::Nf4(blocks) if rows * width == 0 => {
                return Tensor::zeros(self.shape, &blocks.scales.device());
            }
            Tensors::Int8(blocks) => {
                let bytes = blocks.parts([0, 8, 16, 24], 255).cast(FloatDType::F32);
                // From 0..=255 to two's complement.
                let negative = bytes.clone().greater_elem(127).float().mul_scalar(256);
                (bytes - negative, &blocks.scales)
            }
            Tensors::Nf4(blocks) => {
                let low = blocks.parts([0, 8, 16, 24], 15);
                let codes = Tensor::cat(vec![low, blocks.parts([4, 12, 20, 28], 15)], 1);
                let [n, _] = codes.dims();
                let table = Tensor::<1>::from_data(VALUES, &blocks.scales.device());
                let values = table.select(0, codes.reshape([n * BLOCK]));
                (values.reshape([n, BLOCK]), &blocks.scales)
            }
        };
        let padded = width.div_ceil(BLOCK) * BLOCK;
        (values * scales.clone()).reshape([rows, padded]).narrow(1, 0, width)
    }
}
