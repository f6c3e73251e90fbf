//! CLIP's vision tower, as LLaVA runs it.
//!
//! Source: Radford et al. 2021 (CLIP), arXiv:2103.00020; Liu et al. 2023 (LLaVA-1.5),
//! arXiv:2310.03744. The tower is run up to the selected layer (`vision_feature_layer`, -2 is the
//! output of the last block but one) without its final norm; the class token is dropped.

use std::iter::repeat_n;

use burn::tensor::{Device, Tensor, TensorData};
use rlaif_data::Pixels;
use rlaif_ops::Heads;

use super::encoder::{EncoderBlock, patchify};
use crate::block::spans;
use crate::hf::{Activation, VisionConfig};
use crate::layers::LayerNorm;
use crate::parameters::{Parameters, Slot, join};

/// CLIP's vision transformer.
#[derive(Clone, Debug)]
pub struct Tower {
    class_embedding: Tensor<1>,
    /// The patch convolution as a matrix, `[hidden, 3 * patch * patch]`.
    patch_embedding: Tensor<2>,
    /// `[patches + 1, hidden]`, the class token first.
    position_embedding: Tensor<2>,
    pre_norm: LayerNorm,
    layers: Vec<EncoderBlock>,
    post_norm: LayerNorm,
    heads: Heads,
    patch: usize,
    activation: Activation,
}

impl Tower {
    /// A tower whose tensors are all zero (norm gains one).
    #[must_use]
    pub fn zeros(config: &VisionConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let norm = || LayerNorm::ones(hidden, config.layer_norm_eps, device);
        let patches = (config.image_size / config.patch_size).pow(2);
        Tower {
            class_embedding: Tensor::zeros([hidden], device),
            patch_embedding: Tensor::zeros([hidden, 3 * config.patch_size.pow(2)], device),
            position_embedding: Tensor::zeros([patches + 1, hidden], device),
            pre_norm: norm(),
            layers: (0..config.num_hidden_layers)
                .map(|_| {
                    let eps = config.layer_norm_eps;
                    EncoderBlock::zeros(hidden, config.intermediate_size, eps, device)
                })
                .collect(),
            post_norm: norm(),
            heads: Heads {
                query: config.num_attention_heads,
                kv: config.num_attention_heads,
                dim: hidden / config.num_attention_heads,
            },
            patch: config.patch_size,
            activation: config.hidden_act,
        }
    }

    /// Patch features of every frame after `layers` blocks, frame-major, class token dropped:
    /// `[frames * patches, hidden]`.
    ///
    /// # Panics
    ///
    /// Panics when the frames are not of the size that the position embeddings know: ask
    /// [`Vision::grid`](super::Vision::grid) first.
    #[must_use]
    pub fn forward(&self, pixels: &Pixels, layers: usize) -> Tensor<2> {
        let device = self.class_embedding.device();
        let patches = self.position_embedding.dims()[0] - 1;
        let [rows, columns] = [pixels.height / self.patch, pixels.width / self.patch];
        assert_eq!(rows * columns, patches, "frames are not of the tower's size");
        let hidden = self.class_embedding.dims()[0];
        let frames = pixels.frames;
        let flat = Tensor::<2>::from_data(
            TensorData::new(
                patchify(pixels, self.patch),
                [frames * patches, 3 * self.patch * self.patch],
            ),
            &device,
        );
        let embedded = rlaif_ops::linear(flat, self.patch_embedding.clone(), None)
            .reshape([frames, patches, hidden]);
        let class =
            self.class_embedding.clone().reshape([1, 1, hidden]).expand([frames, 1, hidden]);
        let x = Tensor::cat(vec![class, embedded], 1) // [F, 1 + P, hidden]
            + self.position_embedding.clone().reshape([1, patches + 1, hidden]);
        let tokens = patches + 1;
        let mut x = self.pre_norm.forward(x.reshape([frames * tokens, hidden]));
        let spans = spans(repeat_n(tokens, frames));
        for block in &self.layers[..layers] {
            x = block.forward(x, self.heads, &spans, self.activation);
        }
        x.reshape([frames, tokens, hidden])
            .slice([0..frames, 1..tokens, 0..hidden])
            .reshape([frames * patches, hidden])
    }
}

impl Parameters for Tower {
    fn walk(&mut self, prefix: &str, visit: &mut dyn FnMut(&str, Slot<'_>)) {
        let prefix = &join(prefix, "vision_model");
        let embeddings = join(prefix, "embeddings");
        visit(&join(&embeddings, "class_embedding"), Slot::Vector(&mut self.class_embedding));
        visit(
            &join(&embeddings, "patch_embedding.weight"),
            Slot::Matrix(&mut self.patch_embedding),
        );
        visit(
            &join(&embeddings, "position_embedding.weight"),
            Slot::Matrix(&mut self.position_embedding),
        );
        self.pre_norm.walk(&join(prefix, "pre_layrnorm"), visit);
        for (index, block) in self.layers.iter_mut().enumerate() {
            block.walk(&join(prefix, &format!("encoder.layers.{index}")), visit);
        }
        self.post_norm.walk(&join(prefix, "post_layernorm"), visit);
    }
}
