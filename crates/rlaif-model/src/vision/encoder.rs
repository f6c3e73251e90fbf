//! What CLIP and SigLIP share: patches, and the transformer's block.

use burn::tensor::{Device, Tensor};
use rlaif_data::Pixels;
use rlaif_ops::{Heads, Span};

use crate::hf::Activation;
use crate::layers::{LayerNorm, Linear};
use crate::parameters::{Parameters, Slot, join};

/// Layer norm, attention over the frame, layer norm, two linear layers; biases everywhere.
#[derive(Clone, Debug)]
pub(super) struct EncoderBlock {
    norm1: LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl EncoderBlock {
    /// All tensors zero, norm gains one.
    pub(super) fn zeros(hidden: usize, intermediate: usize, eps: f64, device: &Device) -> Self {
        let norm = || LayerNorm::ones(hidden, eps, device);
        let linear = |outputs: usize, inputs: usize| Linear::zeros(outputs, inputs, true, device);
        EncoderBlock {
            norm1: norm(),
            q: linear(hidden, hidden),
            k: linear(hidden, hidden),
            v: linear(hidden, hidden),
            out: linear(hidden, hidden),
            norm2: norm(),
            fc1: linear(intermediate, hidden),
            fc2: linear(hidden, intermediate),
        }
    }

    /// `[rows, hidden]` to the same; rows attend within their span.
    pub(super) fn forward(
        &self,
        x: Tensor<2>,
        heads: Heads,
        spans: &[Span],
        activation: Activation,
    ) -> Tensor<2> {
        let h = self.norm1.forward(x.clone());
        let attended = rlaif_ops::attention(
            self.q.forward(h.clone()),
            self.k.forward(h.clone()),
            self.v.forward(h),
            None,
            heads,
            spans,
            false,
        );
        let x = x + self.out.forward(attended);
        let h = self.fc1.forward(self.norm2.forward(x.clone()));
        let h = match activation {
            Activation::QuickGelu => rlaif_ops::quick_gelu(h),
            Activation::Gelu => rlaif_ops::gelu(h),
            Activation::GeluTanh => rlaif_ops::gelu_tanh(h),
        };
        x + self.fc2.forward(h)
    }
}

impl Parameters for EncoderBlock {
    fn walk(&mut self, prefix: &str, visit: &mut dyn FnMut(&str, Slot<'_>)) {
        self.norm1.walk(&join(prefix, "layer_norm1"), visit);
        self.norm2.walk(&join(prefix, "layer_norm2"), visit);
        for (name, linear) in [
            ("self_attn.q_proj", &mut self.q),
            ("self_attn.k_proj", &mut self.k),
            ("self_attn.v_proj", &mut self.v),
            ("self_attn.out_proj", &mut self.out),
            ("mlp.fc1", &mut self.fc1),
            ("mlp.fc2", &mut self.fc2),
        ] {
            linear.walk(&join(prefix, name), visit);
        }
    }
}

/// Cuts `[F, 3, H, W]` into `[F * patches, 3 * patch * patch]`, channel-major within a patch, the
/// layout of a convolution's weight.
pub(super) fn patchify(pixels: &Pixels, patch: usize) -> Vec<f32> {
    let (height, width) = (pixels.height, pixels.width);
    let (rows, columns) = (height / patch, width / patch);
    let mut out = Vec::with_capacity(pixels.frames * rows * columns * 3 * patch * patch);
    for frame in pixels.values.chunks_exact(3 * height * width) {
        for row in 0..rows {
            for column in 0..columns {
                for channel in frame.chunks_exact(height * width) {
                    for y in row * patch..(row + 1) * patch {
                        let start = y * width + column * patch;
                        out.extend_from_slice(&channel[start..start + patch]);
                    }
                }
            }
        }
    }
    out
}
