//! From the CPU backend's tensors to slices and matrices, and back.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Shape, TensorData};

use crate::simd::Mat;

/// A tensor of the CPU backend.
pub(crate) type Buffer = FloatTensor<Flex>;

/// A tensor over new values.
pub(crate) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Buffer {
    Buffer::from_data(TensorData::new(values, Shape::from(shape)))
}

/// The same tensor without gaps or permuted axes; copies only where there are some.
pub(crate) fn dense(x: Buffer) -> Buffer {
    if x.is_contiguous() { x } else { x.to_contiguous() }
}

/// The values of a [`dense`] tensor.
pub(crate) fn values(x: &Buffer) -> &[f32] {
    x.as_slice().expect("a dense tensor of 32-bit floats")
}

/// Rows and columns of a matrix.
pub(crate) fn size(x: &Buffer) -> [usize; 2] {
    let shape = x.layout().shape();
    [shape[0], shape[1]]
}

/// The same matrix with strides [`mat`] can express; copies only flipped views.
pub(crate) fn readable(x: Buffer) -> Buffer {
    if x.layout().strides().iter().all(|&s| s >= 0) { x } else { x.to_contiguous() }
}

/// The same matrix with contiguous rows; copies only where they are not.
pub(crate) fn with_rows(x: Buffer) -> Buffer {
    let strides = x.layout().strides();
    if strides[0] >= 0 && (strides[1] == 1 || size(&x)[1] <= 1) { x } else { x.to_contiguous() }
}

/// View of a [`readable`] matrix.
pub(crate) fn mat(x: &Buffer) -> Mat<'_> {
    let [rows, cols] = size(x);
    let layout = x.layout();
    let stride = |i: usize| usize::try_from(layout.strides()[i]).expect("a readable matrix");
    let data: &[f32] = x.storage();
    Mat::strided(&data[layout.start_offset().min(data.len())..], rows, cols, stride(0), stride(1))
}
