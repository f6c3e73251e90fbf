//! Portable normalisations.

use burn::Tensor;

/// Portable form of [`crate::rms_norm`].
#[must_use]
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f64) -> Tensor<2> {
    let rms = x.clone().square().mean_dim(1).add_scalar(eps).sqrt();
    x / rms * weight.unsqueeze_dim(0)
}

/// Portable form of [`crate::layer_norm`].
#[must_use]
pub fn layer_norm(x: Tensor<2>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(1);
    let std = centred.clone().square().mean_dim(1).add_scalar(eps).sqrt();
    centred / std * weight.unsqueeze_dim(0) + bias.unsqueeze_dim(0)
}
