//! Matrices that are never trained, in fewer bits than a float.

mod blocks;
mod device;
mod host;
mod linear;
mod nf4;

use std::fmt;
use std::sync::Arc;

use burn::Tensor;
use burn::prelude::Device;
use burn::tensor::TensorData;

use device::DeviceMatrix;
pub(crate) use host::HostMatrix;
pub use linear::{frozen_linear, frozen_lora_linear};

/// How the numbers of a [`FrozenMatrix`] are kept.
///
/// The formats in blocks cut each row into blocks of 64 numbers, the last one filled up with zeros,
/// and keep the largest magnitude `m` of each block as a 32-bit float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrozenFormat {
    /// The upper half of a 32-bit float, rounded to nearest even: 16 bits a number, relative error
    /// up to 2⁻⁸. Infinities and NaN stay what they are, and a finite number beyond
    /// 3.3895e38 becomes infinite.
    Bf16,
    /// Whole multiples of `m / 127`: 8.5 bits a number, error up to `m / 254`.
    Int8,
    /// The 16 values of `NormalFloat4` times `m`, 4.5 bits a number, error up to 0.152 `m`
    /// ([QLoRA](https://arxiv.org/abs/2305.14314), section 3 and appendix E). The scales are not
    /// quantised a second time.
    Nf4,
}

/// A matrix that a format with blocks cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "row {row}, column {column} holds {value}: blocks with a common scale need finite numbers; \
     keep this matrix in bf16 or f32"
)]
pub struct NotFinite {
    /// The row, from 0.
    pub row: usize,
    /// The column, from 0.
    pub column: usize,
    /// The number there.
    pub value: f32,
}

/// A matrix `[out, in]` (the Hugging Face layout) that no gradient ever reaches. A clone shares
/// its memory.
///
/// On the CPU device it is packed bytes. On other devices it is a tensor of packed integers, or of
/// bf16, that plain tensor operations unpack.
#[derive(Clone)]
pub struct FrozenMatrix {
    storage: Storage,
    device: Device,
}

#[derive(Clone)]
enum Storage {
    Host(Arc<HostMatrix>),
    Device(Arc<DeviceMatrix>),
}

impl FrozenMatrix {
    /// Packs `values`, `out · in` numbers in row-major order.
    ///
    /// # Errors
    /// The formats in blocks refuse infinities and NaN.
    ///
    /// # Panics
    /// Panics when the number of values is not that of the shape.
    pub fn pack(
        values: &[f32],
        shape: [usize; 2],
        format: FrozenFormat,
        device: &Device,
    ) -> Result<Self, NotFinite> {
        Ok(Self::place(HostMatrix::pack(values, shape, format)?, device))
    }

    /// Takes numbers that already are bf16, as their bits; nothing is converted.
    ///
    /// # Panics
    /// Panics when the number of values is not that of the shape.
    #[must_use]
    pub fn from_bf16(bits: Vec<u16>, shape: [usize; 2], device: &Device) -> Self {
        Self::place(HostMatrix::from_bf16(bits, shape), device)
    }

    fn place(matrix: HostMatrix, device: &Device) -> Self {
        let device = device.clone().inner();
        let storage = if crate::flex::is_flex(&device) {
            Storage::Host(Arc::new(matrix))
        } else {
            Storage::Device(Arc::new(DeviceMatrix::new(&matrix, &device)))
        };
        Self { storage, device }
    }

    /// `[out, in]`.
    #[must_use]
    pub fn dims(&self) -> [usize; 2] {
        match &self.storage {
            Storage::Host(matrix) => matrix.shape(),
            Storage::Device(matrix) => matrix.shape(),
        }
    }

    /// How the numbers are kept.
    #[must_use]
    pub fn format(&self) -> FrozenFormat {
        match &self.storage {
            Storage::Host(matrix) => matrix.format(),
            Storage::Device(matrix) => matrix.format(),
        }
    }

    /// Memory that the packed numbers and their scales take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.storage {
            Storage::Host(matrix) => matrix.bytes(),
            Storage::Device(matrix) => matrix.bytes(),
        }
    }

    /// Where the matrix is.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device.clone()
    }

    /// The matrix in 32-bit floats, `[out, in]`, on its device.
    #[must_use]
    pub fn unpack(&self) -> Tensor<2> {
        match &self.storage {
            Storage::Host(matrix) => {
                let data = TensorData::new(matrix.unpacked(), matrix.shape());
                Tensor::from_data(data, &self.device)
            }
            Storage::Device(matrix) => matrix.unpack(),
        }
    }

    /// The packed bytes, where the fused operations can read them.
    fn host(&self) -> Option<&Arc<HostMatrix>> {
        match &self.storage {
            Storage::Host(matrix) => Some(matrix),
            Storage::Device(_) => None,
        }
    }
}

impl fmt::Debug for FrozenMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrozenMatrix")
            .field("dims", &self.dims())
            .field("format", &self.format())
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
