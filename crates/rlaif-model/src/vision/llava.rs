//! LLaVA: CLIP tower, two-layer projector on every patch, pooling over the clip.

use burn::tensor::{Device, Tensor};
use rlaif_data::Pixels;

use super::clip::Tower;
use super::{Grid, GridError};
use crate::hf::{LlavaConfig, VideoPooling};
use crate::layers::{Linear, Weight};
use crate::parameters::{Parameters, Slot, join};

/// LLaVA's way from frames to visual tokens.
#[derive(Clone, Debug)]
pub struct LlavaVision {
    /// Vision tower.
    pub tower: Tower,
    /// Projector into the decoder's embedding space.
    pub projector: Projector,
    /// The tower's layer that is read, and the pooling.
    pub(crate) config: LlavaConfig,
}

impl LlavaVision {
    /// All tensors zero (norm gains one), for a decoder of width `hidden`.
    #[must_use]
    pub fn zeros(config: &LlavaConfig, hidden: usize, device: &Device) -> Self {
        LlavaVision {
            tower: Tower::zeros(&config.vision, device),
            projector: Projector::zeros(
                config.vision.hidden_size,
                hidden,
                config.multimodal_projector_bias,
                device,
            ),
            config: config.clone(),
        }
    }

    pub(super) fn grid(&self, pixels: &Pixels) -> Result<Grid, GridError> {
        let size = self.config.vision.image_size;
        if (pixels.height, pixels.width) != (size, size) {
            let expected = format!("{size} x {size}");
            return Err(GridError { height: pixels.height, width: pixels.width, expected });
        }
        let side = size / self.config.vision.patch_size;
        Ok(Grid { t: pixels.frames, h: side, w: side })
    }

    pub(super) fn features(&self, pixels: &Pixels) -> Tensor<2> {
        self.tower.forward(pixels, self.config.tower_layers())
    }

    /// Spatial-temporal pooling (VLM-RLAIF): the mean over the patches of each frame, `F` rows,
    /// then the mean over frames of each patch, `P` rows. The projector's GELU makes the order
    /// matter.
    pub(super) fn tokens(&self, features: Tensor<2>, grids: &[Grid]) -> Tensor<2> {
        let projected = self.projector.forward(features); // [Σ F * P, hidden]
        if self.config.video_pooling == VideoPooling::None {
            return projected;
        }
        let mut parts = Vec::new();
        let mut start = 0;
        // Clips of the same length are pooled together.
        for run in grids.chunk_by(|a, b| a == b) {
            let rows = run.len() * run[0].rows();
            parts.push(pool(projected.clone().narrow(0, start, rows), run.len(), run[0].t));
            start += rows;
        }
        Tensor::cat(parts, 0)
    }
}

/// `[clips * F * P, hidden]` to `[clips * (F + P), hidden]`.
fn pool(projected: Tensor<2>, clips: usize, frames: usize) -> Tensor<2> {
    let [rows, hidden] = projected.dims();
    let patches = rows / (clips * frames);
    let grid = projected.reshape([clips, frames, patches, hidden]);
    let temporal = grid.clone().mean_dim(2).reshape([clips, frames, hidden]);
    let spatial = grid.mean_dim(1).reshape([clips, patches, hidden]);
    Tensor::cat(vec![temporal, spatial], 1).reshape([clips * (frames + patches), hidden])
}

impl Parameters for LlavaVision {
    fn walk(&mut self, prefix: &str, visit: &mut dyn FnMut(&str, Slot<'_>)) {
        self.tower.walk(&join(prefix, "vision_tower"), visit);
        self.projector.walk(&join(prefix, "multi_modal_projector"), visit);
    }
}

/// LLaVA's `mlp2x_gelu`: linear, GELU, linear, applied to every patch of every frame.
#[derive(Clone, Debug)]
pub struct Projector {
    linear_1: Linear,
    linear_2: Linear,
}

impl Projector {
    /// A projector whose tensors are all zero.
    #[must_use]
    pub fn zeros(inputs: usize, outputs: usize, bias: bool, device: &Device) -> Self {
        let linear = |outputs: usize, inputs: usize| Linear::zeros(outputs, inputs, bias, device);
        Projector { linear_1: linear(outputs, inputs), linear_2: linear(outputs, outputs) }
    }

    /// `[frames * patches, vision hidden]` to `[frames * patches, text hidden]`.
    #[must_use]
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        self.linear_2.forward(rlaif_ops::gelu(self.linear_1.forward(features)))
    }
}

impl Projector {
    /// Multiply-adds per patch.
    #[must_use]
    pub fn macs_per_row(&self) -> usize {
        [&self.linear_1, &self.linear_2].iter().map(|l| l.shape().iter().product::<usize>()).sum()
    }

    /// Makes the output `factor * (output - centre)`. Without a bias the centre stays where it is.
    pub fn standardise(&mut self, centre: Tensor<1>, factor: f64) {
        let last = &mut self.linear_2;
        let Weight::Full(weight) = &mut last.weight else {
            unreachable!("projectors are never packed")
        };
        *weight = weight.clone() * factor;
        last.bias = last.bias.take().map(|bias| (bias - centre) * factor);
    }
}

impl Parameters for Projector {
    fn walk(&mut self, prefix: &str, visit: &mut dyn FnMut(&str, Slot<'_>)) {
        self.linear_1.walk(&join(prefix, "linear_1"), visit);
        self.linear_2.walk(&join(prefix, "linear_2"), visit);
    }
}
