//! Qwen2.5-VL: a tower over pairs of frames with windowed attention, and the merger.
//!
//! Each patch spans `temporal_patch_size` frames and turns by its row and column (2-D rotary
//! positions). Most blocks attend within windows of `window_size` pixels, some over the whole step
//! in time. The merger makes one visual token of `spatial_merge_size²` patches.
//!
//! Source: Bai et al. 2025, "Qwen2.5-VL technical report", arXiv:2502.13923.

use burn::tensor::{Device, Tensor, TensorData};
use rlaif_data::{Pixels, VideoMetadata};
use rlaif_ops::{Heads, Span};

use super::{Grid, GridError};
use crate::decoder::index_tensor;
use crate::hf::{PromptTokens, QwenVlConfig};
use crate::kv::Positions;
use crate::layers::{Linear, RmsNorm};
use crate::parameters::{Parameters, Slot, join};

/// Epsilon of the tower's and the merger's norms; no key of the configuration.
const NORM_EPS: f64 = 1e-6;
/// Latest rotary time, past any video's end: positions that a broken rate asks for stay countable.
const LATEST: usize = 1 << 31;

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
    pub(super) fn features(&self, pixels: &Pixels) -> Tensor<2> {
        let config = &self.config;
        let device = self.patch_embed.device();
        let grid = Grid {
            t: pixels.frames.div_ceil(config.temporal_patch_size),
            h: pixels.height / config.patch_size,
            w: pixels.width / config.patch_size,
        };
        let window = config.window_size / config.spatial_merge_size / config.patch_size;
        let (places, lens) = windows(grid, config.spatial_merge_size, window);
        let rows = patches(pixels, &places, config);
        let rows = TensorData::new(rows, [places.len(), config.patch_values()]);
        let mut x =
            rlaif_ops::linear(Tensor::from_data(rows, &device), self.patch_embed.clone(), None);
        let (cos, sin) = self.rotary_tables(&places, &device);
        let step = grid.h * grid.w;
        let whole = spans(&vec![step; grid.t]);
        let windowed = spans(&lens);
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
        let merge = self.config.spatial_merge_size;
        let [rows, hidden] = features.dims();
        let mut order = Vec::with_capacity(rows);
        let mut start = 0;
        for grid in grids {
            // One window that holds everything: merge units in plain order.
            let (places, _) = windows(*grid, merge, grid.h.max(grid.w));
            let row = |p: &Place| start + (p.t * grid.h + p.y) * grid.w + p.x;
            order.extend(places.iter().map(row));
            start += grid.rows();
        }
        let normed = self.merger_norm.forward(features);
        let units = normed
            .select(0, index_tensor(&order, &self.patch_embed.device()))
            .reshape([rows / (merge * merge), merge * merge * hidden]);
        self.merger_2.forward(rlaif_ops::gelu(self.merger_1.forward(units)))
    }

    pub(super) fn n_tokens(&self, grid: Grid) -> usize {
        grid.rows() / self.config.spatial_merge_size.pow(2)
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

/// Runs of rows that attend to themselves.
fn spans(lens: &[usize]) -> Vec<Span> {
    let mut start = 0;
    lens.iter()
        .map(|len| {
            let rows = start..start + len;
            start = rows.end;
            Span { q: rows.clone(), kv: rows, prefix: 0..0 }
        })
        .collect()
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
    let time = |step: usize| ((step as f32 * interval) as usize).min(LATEST);
    let visual = prompt.visual.first().cloned().unwrap_or(0..0);
    let mut positions = Positions::text(visual.start);
    for token in 0..visual.len() {
        let (step, place) = (token / (rows * columns), token % (rows * columns));
        let at = visual.start;
        positions.rows.push([at + time(step), at + place / columns, at + place % columns]);
    }
    let largest = positions.rows.iter().flatten().max();
    positions.next = largest.map_or(0, |largest| largest + 1);
    positions.extend_text(prompt.ids.len() - visual.end.max(visual.start));
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

    /// Two steps of one merge unit each, after one token of text.
    fn positions(video: &VideoMetadata, tokens_per_second: f64) -> Positions {
        let config = QwenVlConfig { tokens_per_second, ..QwenVlConfig::default() };
        let prompt =
            PromptTokens { ids: vec![1, 2, 2, 3], visual: std::iter::once(1..3).collect() };
        mrope_positions(&prompt, Grid { t: 2, h: 2, w: 2 }, video, &config)
    }

    /// 4 frames of 8 at 2 a second: one frame a second, two seconds a step, 4 positions each.
    #[test]
    fn time_counts_seconds() {
        let positions = positions(&VideoMetadata::new(8, 2.0, vec![0, 2, 4, 6]), 4.0);
        assert_eq!(positions.rows, [[0; 3], [1, 1, 1], [9, 1, 1], [10; 3]]);
        assert_eq!(positions.next, 11);
    }

    #[test]
    fn impossible_rates_neither_overflow_nor_panic() {
        for fps in [0.0, f64::MIN_POSITIVE, 1e-30] {
            let positions = positions(&VideoMetadata::new(4, fps, vec![0, 1, 2, 3]), 4.0);
            assert_eq!(positions.rows[2], [1 + LATEST, 1, 1], "{fps}");
            assert_eq!(positions.next, LATEST + 3, "{fps}");
        }
    }
}
