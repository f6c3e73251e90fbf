//! SmolVLM2: SigLIP tower on each frame, pixel shuffle, one linear layer.
//!
//! Source: Zhai et al. 2023, "Sigmoid loss for language image pre-training", arXiv:2303.15343;
//! Marafioti et al. 2025, "SmolVLM", arXiv:2504.05299.

use std::iter::repeat_n;

use burn::tensor::{Device, Tensor, TensorData};
use rlaif_data::{Pixels, arange_f32};
use rlaif_ops::Heads;

use super::encoder::{EncoderBlock, patchify};
use super::{Grid, GridError, merge};
use crate::block::spans;
use crate::decoder::index_tensor;
use crate::hf::SmolVlmConfig;
use crate::layers::{LayerNorm, Linear};
use crate::parameters::{Parameters, Slot, join};

/// SmolVLM2's way from frames to visual tokens.
#[derive(Clone, Debug)]
pub struct SmolVlmVision {
    /// The patch convolution as a matrix, `[hidden, 3 * patch * patch]`, and its bias.
    patch_embedding: Linear,
    /// `[side * side, hidden]`.
    position_embedding: Tensor<2>,
    layers: Vec<EncoderBlock>,
    post_norm: LayerNorm,
    /// From `scale_factor²` patches to a visual token.
    proj: Linear,
    config: SmolVlmConfig,
}

impl SmolVlmVision {
    /// All tensors zero (norm gains one), for a decoder of width `hidden`.
    #[must_use]
    pub fn zeros(config: &SmolVlmConfig, hidden: usize, device: &Device) -> Self {
        let vision = &config.vision;
        let width = vision.hidden_size;
        let eps = vision.layer_norm_eps;
        let block = |_| EncoderBlock::zeros(width, vision.intermediate_size, eps, device);
        SmolVlmVision {
            patch_embedding: Linear::zeros(width, 3 * vision.patch_size.pow(2), true, device),
            position_embedding: Tensor::zeros([vision.patches(), width], device),
            layers: (0..vision.num_hidden_layers).map(block).collect(),
            post_norm: LayerNorm::ones(width, eps, device),
            proj: Linear::zeros(hidden, width * config.scale_factor.pow(2), false, device),
            config: config.clone(),
        }
    }

    pub(super) fn grid(&self, pixels: &Pixels) -> Result<Grid, GridError> {
        let patch = self.config.vision.patch_size;
        let (h, w) = (pixels.height / patch, pixels.width / patch);
        let scale = self.config.scale_factor;
        // The shuffle takes squares.
        if h != w || h == 0 || h % scale != 0 {
            let expected =
                format!("squares of patches of {patch} pixels, a multiple of {scale} a side");
            return Err(GridError { height: pixels.height, width: pixels.width, expected });
        }
        Ok(Grid { t: pixels.frames, h, w })
    }

    pub(super) fn features(&self, pixels: &Pixels, grid: Grid) -> Tensor<2> {
        let vision = &self.config.vision;
        let device = self.position_embedding.device();
        let (patch, hidden) = (vision.patch_size, vision.hidden_size);
        let (frames, side) = (grid.t, grid.h);
        let patches = side * side;
        let rows = TensorData::new(patchify(pixels, patch), [frames * patches, 3 * patch * patch]);
        let embedded = self.patch_embedding.forward(Tensor::from_data(rows, &device));
        let buckets = position_buckets(side, vision.image_size / patch);
        let positions: Vec<usize> = buckets
            .iter()
            .flat_map(|row| buckets.iter().map(move |c| row * (vision.image_size / patch) + c))
            .collect();
        let positions =
            self.position_embedding.clone().select(0, index_tensor(&positions, &device));
        let x =
            embedded.reshape([frames, patches, hidden]) + positions.reshape([1, patches, hidden]);
        let heads = vision.num_attention_heads;
        let heads = Heads { query: heads, kv: heads, dim: hidden / heads };
        let spans = spans(repeat_n(patches, frames));
        let mut x = x.reshape([frames * patches, hidden]);
        for block in &self.layers {
            x = block.forward(x, heads, &spans, vision.hidden_act);
        }
        self.post_norm.forward(x)
    }

    /// Squares of `scale_factor` by `scale_factor` patches, projected.
    pub(super) fn tokens(&self, features: Tensor<2>, grids: &[Grid]) -> Tensor<2> {
        self.proj.forward(merge(features, grids, self.config.scale_factor))
    }

    /// Multiply-adds of the projector per patch.
    pub(super) fn macs_per_row(&self) -> usize {
        self.proj.shape().iter().product::<usize>() / self.config.scale_factor.pow(2)
    }
}

/// Which of `side` positions each of `patches` patches in a row takes: its place as a fraction of
/// the frame among `side - 1` boundaries, to the rounding of PyTorch on a CPU, which moves a patch
/// here and there where `side` is no power of two.
fn position_buckets(patches: usize, side: usize) -> Vec<usize> {
    let step = 1.0 / patches as f32;
    let width = 1.0 / side as f64;
    let boundaries = arange_f32(width, 1.0, width);
    (0..patches)
        .map(|patch| {
            let place = (patch as f32 * step).min(1.0 - 1e-6);
            boundaries.partition_point(|boundary| *boundary <= place)
        })
        .collect()
}

impl Parameters for SmolVlmVision {
    fn walk(&mut self, prefix: &str, visit: &mut dyn FnMut(&str, Slot<'_>)) {
        let tower = &join(prefix, "vision_tower.vision_model");
        let embeddings = join(tower, "embeddings");
        self.patch_embedding.walk(&join(&embeddings, "patch_embedding"), visit);
        visit(
            &join(&embeddings, "position_embedding.weight"),
            Slot::Matrix(&mut self.position_embedding),
        );
        for (index, block) in self.layers.iter_mut().enumerate() {
            block.walk(&join(tower, &format!("encoder.layers.{index}")), visit);
        }
        self.post_norm.walk(&join(tower, "post_layernorm"), visit);
        self.proj.walk(&join(prefix, "multi_modal_projector.proj"), visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `transformers`' own embedding module looks up, for many sizes.
    #[test]
    fn patches_take_the_positions_of_transformers() {
        let path = "tests/fixtures/smolvlm.json";
        let text = std::fs::read_to_string(path).unwrap();
        let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
        let cases = golden["buckets"].as_array().unwrap();
        assert!(cases.len() > 20);
        for case in cases {
            let number =
                |value: &serde_json::Value| usize::try_from(value.as_u64().unwrap()).unwrap();
            let (side, patches) = (number(&case[0]), number(&case[1]));
            let expected: Vec<usize> = case[2].as_array().unwrap().iter().map(number).collect();
            assert_eq!(position_buckets(patches, side), expected, "{patches} of {side}");
        }
    }
}
