//! Portable rotary position embedding.

use burn::Tensor;

/// Portable form of [`crate::rotary`].
#[must_use]
pub fn rotary(x: Tensor<2>, cos: Tensor<2>, sin: Tensor<2>, heads: usize) -> Tensor<2> {
    let [tokens, features] = x.dims();
    let half = features / heads / 2;
    let x = x.reshape([tokens, heads, 2 * half]);
    let (x1, x2) = (x.clone().narrow(2, 0, half), x.narrow(2, half, half));
    let cos: Tensor<3> = cos.detach().unsqueeze_dim(1);
    let sin: Tensor<3> = sin.detach().unsqueeze_dim(1);
    let y1 = x1.clone() * cos.clone() - x2.clone() * sin.clone();
    let y2 = x2 * cos + x1 * sin;
    Tensor::cat(vec![y1, y2], 2).reshape([tokens, features])
}
