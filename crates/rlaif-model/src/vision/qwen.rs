//! Qwen2.5-VL: a tower over pairs of frames with windowed attention, and the merger.
//!
//! Each patch spans `temporal_patch_size` frames and turns by its row and column (2-D rotary
//! positions). Most blocks attend within windows of `window_size` pixels, some over the whole step
//! in time. The merger makes one visual token of `spatial_merge_size²` patches.
//!
//! Source: Bai et al. 2025, "Qwen2.5-VL technical report", arXiv:2502.13923.

use std::iter::repeat_n;

use burn::tensor::{Device, Tensor, TensorData};
use rlaif_data::{Pixels, VideoMetadata};
use rlaif_ops::{Heads, Span};

use super::{Grid, GridError, merge};
use crate::block::spans;
use crate::decoder::index_tensor;
use crate::hf::{PromptTokens, QwenVlConfig};
use crate::kv::Positions;
use crate::layers::{Linear, RmsNorm};
use crate::parameters::{Parameters, Slot, join};

/// Epsilon of the tower's and the merger's norms; no key of the configuration.
const NORM_EPS: f64 = 1e-6;

#[derive(Clone, Debug)]
struct QwenBlock {
    norm1: RmsNorm,
    /// Queries, keys and values in one, `[3 * hidden, hidden]`.
    qkv: Linear,
    proj: Linear,
    norm2: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
}

/// Qwen2.5-VL's way from frames to visual tokens.
#[derive(Clone, Debug)]
pub struct QwenVlVision {
    /// The patch convolution as a matrix, `[hidden, 3 * temporal * patch * patch]`.
    patch_embed: Tensor<2>,
    blocks: Vec<QwenBlock>,
    merger_norm: RmsNorm,
    merger_1: Linear,
    merger_2: Linear,
    config: QwenVlConfig,
}

impl QwenVlVision {
    /// All tensors zero (norm gains one), for a decoder of width `width`.
    #[must_use]
    pub fn zeros(config: &QwenVlConfig, width: usize, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let norm = || RmsNorm { weight: Tensor::ones([hidden], device), eps: NORM_EPS };
        let linear = |outputs: usize, inputs: usize| Linear::zeros(outputs, inputs, true, device);
        let block = |_| QwenBlock {
            norm1: norm(),
            qkv: linear(3 * hidden, hidden),
            proj: linear(hidden, hidden),
            norm2: norm(),
            gate: linear(config.intermediate_size, hidden),
            up: linear(config.intermediate_size, hidden),
            down: linear(hidden, config.intermediate_size),
        };
        let merged = hidden * config.spatial_merge_size.pow(2);
        QwenVlVision {
            patch_embed: Tensor::zeros([hidden, config.patch_values()], device),
            blocks: (0..config.depth).map(block).collect(),
            merger_norm: norm(),
            merger_1: linear(merged, merged),
            merger_2: linear(width, merged),
            config: config.clone(),
        }
    }

    pub(super) fn grid(&self, pixels: &Pixels) -> Result<Grid, GridError> {
        let factor = self.config.patch_size * self.config.spatial_merge_size;
        let whole = |side: usize| side > 0 && side.is_multiple_of(factor);
        if !whole(pixels.height) || !whole(pixels.width) {
            let expected = format!("multiples of {factor} pixels");
            return Err(GridError { height: pixels.height, width: pixels.width, expected });
        }
        Ok(Grid {
            t: pixels.frames.div_ceil(self.config.temporal_patch_size),
            h: pixels.height / self.config.patch_size,
            w: pixels.width / self.config.patch_size,
        })
    }

    /// The blocks' output before the merger, of one clip.
    pub(super) fn features(&self, pixels: &Pixels, grid: Grid) -> Tensor<2> {
        let config = &self.config;
        let device = self.patch_embed.device();
        let window = config.window_size / config.spatial_merge_size / config.patch_size;
        let (places, lens) = windows(grid, config.spatial_merge_size, window);
        let rows = patches(pixels, &places, config);
        let rows = TensorData::new(rows, [places.len(), config.patch_values()]);
        let mut x =
            rlaif_ops::linear(Tensor::from_data(rows, &device), self.patch_embed.clone(), None);
        let (cos, sin) = self.rotary_tables(&places, &device);
        let step = grid.h * grid.w;
        let whole = spans(repeat_n(step, grid.t));
        let windowed = spans(lens);
        let heads = config.num_heads;
        let heads = Heads { query: heads, kv: heads, dim: config.hidden_size / heads };
        for (index, block) in self.blocks.iter().enumerate() {
            let full = config.fullatt_block_indexes.contains(&index);
            let spans = if full { &whole } else { &windowed };
            x = block.forward(x, &cos, &sin, heads, spans);
        }
        // Back from windows into plain order.
        let mut order = vec![0; places.len()];
        for (row, place) in places.iter().enumerate() {
            order[place.t * step + place.y * grid.w + place.x] = row;
        }
        x.select(0, index_tensor(&order, &device))
    }

    pub(super) fn tokens(&self, features: Tensor<2>, grids: &[Grid]) -> Tensor<2> {
        let normed = self.merger_norm.forward(features);
        let units = merge(normed, grids, self.config.spatial_merge_size);
        self.merger_2.forward(rlaif_ops::gelu(self.merger_1.forward(units)))
    }

    pub(super) fn macs_per_row(&self) -> usize {
        let unit = self.config.spatial_merge_size.pow(2);
        let of = |linear: &Linear| linear.shape().iter().product::<usize>();
        (of(&self.merger_1) + of(&self.merger_2)) / unit
    }

    fn rotary_tables(&self, places: &[Place], device: &Device) -> (Tensor<2>, Tensor<2>) {
        let quarter = self.config.hidden_size / self.config.num_heads / 4;
        #[expect(clippy::cast_possible_truncation, reason = "angles are computed in f32")]
        let theta = self.config.rope_theta as f32;
        let frequencies: Vec<f32> =
            (0..quarter).map(|i| 1.0 / theta.powf((2 * i) as f32 / (2 * quarter) as f32)).collect();
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for place in places {
            for at in [place.y, place.x] {
                for frequency in &frequencies {
                    let (s, c) = (at as f32 * frequency).sin_cos();
                    cos.push(c);
                    sin.push(s);
                }
            }
        }
        let table = |values: Vec<f32>| {
            Tensor::from_data(TensorData::new(values, [places.len(), 2 * quarter]), device)
        };
        (table(cos), table(sin))
    }
}

impl QwenBlock {
    fn forward(
        &self,
        x: Tensor<2>,
        cos: &Tensor<2>,
        sin: &Tensor<2>,
        heads: Heads,
        spans: &[Span],
    ) -> Tensor<2> {
        let hidden = x.dims()[1];
        let qkv = self.qkv.forward(self.norm1.forward(x.clone()));
        let part = |index: usize| qkv.clone().narrow(1, index * hidden, hidden);
        let turned = |x| rlaif_ops::rotary(x, cos.clone(), sin.clone(), heads.query);
        let (q, k) = (turned(part(0)), turned(part(1)));
        let attended = rlaif_ops::attention(q, k, part(2), None, heads, spans, false);
        let x = x + self.proj.forward(attended);
        let h = self.norm2.forward(x.clone());
        let gated = rlaif_ops::swiglu(self.gate.forward(h.clone()), self.up.forward(h));
        x + self.down.forward(gated)
    }
}

/// A patch: step in time, row and column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    t: usize,
    y: usize,
    x: usize,
}

/// Patches in the order of the tower: step by step, window by window of `window` merge units a side,
/// unit by unit; and the number of patches of each window.
fn windows(grid: Grid, merge: usize, window: usize) -> (Vec<Place>, Vec<usize>) {
    let (rows, columns) = (grid.h / merge, grid.w / merge);
    let mut places = Vec::with_capacity(grid.rows());
    let mut lens = Vec::new();
    for t in 0..grid.t {
        for top in (0..rows).step_by(window) {
            for left in (0..columns).step_by(window) {
                let before = places.len();
                for unit_y in top..rows.min(top + window) {
                    for unit_x in left..columns.min(left + window) {
                        for y in unit_y * merge..(unit_y + 1) * merge {
                            for x in unit_x * merge..(unit_x + 1) * merge {
                                places.push(Place { t, y, x });
                            }
                        }
                    }
                }
                lens.push(places.len() - before);
            }
        }
    }
    (places, lens)
}

/// The pixels of each patch, channel by channel, frame by frame, row by row; the last frame stands
/// in for frames that are missing in the last step.
fn patches(pixels: &Pixels, places: &[Place], config: &QwenVlConfig) -> Vec<f32> {
    let (patch, temporal) = (config.patch_size, config.temporal_patch_size);
    let (height, width) = (pixels.height, pixels.width);
    let mut out = Vec::with_capacity(places.len() * config.patch_values());
    for place in places {
        for channel in 0..3 {
            for frame in place.t * temporal..(place.t + 1) * temporal {
                let frame = frame.min(pixels.frames - 1);
                for y in place.y * patch..(place.y + 1) * patch {
                    let start = ((frame * 3 + channel) * height + y) * width + place.x * patch;
                    out.extend_from_slice(&pixels.values[start..start + patch]);
                }
            }
        }
    }
    out
}

/// Latest position of a clip's step in time, counted from the clip's start: a rate of nearly nothing
/// must not overflow.
const LATEST: usize = 1 << 30;

/// M-RoPE positions of a prompt with one video.
///
/// Text counts on in all three axes; within the video a token's time is its step times the seconds
/// between steps times `tokens_per_second`, cut off to whole numbers, beside its row and column. What
/// follows the video starts at one past the largest position of all axes: the rule that the
/// released checkpoints were trained by, and that vLLM and `transformers` up to 5.2 follow.
/// `transformers` 5.3 to 5.24 start text at `max(rows, columns)` past the video's start, which differs where the
/// video is long (its issue 45381 shows both); generated tokens continue at one past the largest
/// there, too.
#[must_use]
pub fn mrope_positions(
    prompt: &PromptTokens,
    grid: Grid,
    video: &VideoMetadata,
    config: &QwenVlConfig,
) -> Positions {
    let (rows, columns) = (grid.h / config.spatial_merge_size, grid.w / config.spatial_merge_size);
    #[expect(clippy::cast_possible_truncation, reason = "transformers reckons times in f32")]
    let seconds = (config.temporal_patch_size as f64 / video.sampled_fps()) as f32;
    #[expect(clippy::cast_possible_truncation, reason = "a small number of tokens")]
    let interval = config.tokens_per_second as f32 * seconds;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "cut off to whole numbers, as there; times are not negative"
    )]
    let time = |step: usize| (step as f32 * interval) as usize;
    let visual = prompt.visual.first().cloned().unwrap_or(0..0);
    let mut positions = Positions::text(visual.start);
    for token in 0..visual.len() {
        let (step, place) = (token / (rows * columns), token % (rows * columns));
        let at = visual.start;
        let time = at + time(step).min(LATEST);
        positions.rows.push([time, at + place / columns, at + place % columns]);
    }
    let largest = positions.rows.iter().flatten().max();
    positions.next = largest.map_or(0, |largest| largest + 1);
    positions.extend_text(prompt.ids.len() - visual.end);
    positions
}

impl Parameters for QwenVlVision {
    fn walk(&mut self, prefix: &str, visit: &mut dyn FnMut(&str, Slot<'_>)) {
        let tower = &join(prefix, "vision_tower");
        visit(&join(tower, "patch_embed.proj.weight"), Slot::Matrix(&mut self.patch_embed));
        for (index, block) in self.blocks.iter_mut().enumerate() {
            let prefix = &join(tower, &format!("blocks.{index}"));
            block.norm1.walk(&join(prefix, "norm1"), visit);
            block.norm2.walk(&join(prefix, "norm2"), visit);
            for (name, linear) in [
                ("attn.qkv", &mut block.qkv),
                ("attn.proj", &mut block.proj),
                ("mlp.gate_proj", &mut block.gate),
                ("mlp.up_proj", &mut block.up),
                ("mlp.down_proj", &mut block.down),
            ] {
                linear.walk(&join(prefix, name), visit);
            }
        }
        let merger = &join(prefix, "multi_modal_projector");
        self.merger_norm.walk(&join(merger, "ln_q"), visit);
        self.merger_1.walk(&join(merger, "mlp.0"), visit);
        self.merger_2.walk(&join(merger, "mlp.2"), visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(before: usize, clip: usize, after: usize) -> PromptTokens {
        PromptTokens {
            ids: vec![0; before + clip + after],
            visual: std::iter::once(before..before + clip).collect(),
        }
    }

    /// Two tokens of text, two steps of 1 x 3 tokens, two of text; 25 frames of 100 at 10 a second are
    /// 2.5 a second, 0.8 s to a step, times 4 is 3.2.
    #[test]
    fn text_goes_on_one_past_the_largest_axis() {
        let config = QwenVlConfig { tokens_per_second: 4.0, ..QwenVlConfig::default() };
        let video = VideoMetadata::new(100, 10.0, (0..100).step_by(4).collect());
        let grid = Grid { t: 2, h: 2, w: 6 };
        let positions = mrope_positions(&prompt(2, 6, 2), grid, &video, &config);
        let clip = [[2, 2, 2], [2, 2, 3], [2, 2, 4], [5, 2, 2], [5, 2, 3], [5, 2, 4]];
        let expected = [&[[0; 3], [1; 3]][..], &clip, &[[6; 3], [7; 3]]].concat();
        assert_eq!((positions.rows, positions.next), (expected, 8));
        // Wide and short: here the columns decide.
        let positions =
            mrope_positions(&prompt(2, 8, 1), Grid { t: 1, h: 2, w: 16 }, &video, &config);
        assert_eq!((positions.rows[9], positions.rows[10]), ([2, 2, 9], [10; 3]));
    }

    #[test]
    fn a_rate_of_nearly_nothing_does_not_overflow() {
        let grid = Grid { t: 2, h: 2, w: 2 };
        for fps in [1e-300, 1e-40, 0.0] {
            let video = VideoMetadata::new(2, fps, vec![0, 1]);
            let mut positions =
                mrope_positions(&prompt(1, 2, 1), grid, &video, &QwenVlConfig::default());
            positions.extend_text(100);
            assert_eq!(positions.rows.len(), 104);
        }
    }

    /// Three by five tokens in windows of two by two, of four patches each.
    #[test]
    fn windows_that_do_not_divide_the_grid_are_cut_off() {
        let (places, lens) = windows(Grid { t: 2, h: 6, w: 10 }, 2, 2);
        assert_eq!(lens, [16, 16, 8, 8, 8, 4].repeat(2));
        assert_eq!(places[32], Place { t: 0, y: 0, x: 8 });
        assert_eq!(places[60], Place { t: 1, y: 0, x: 0 });
    }
}
