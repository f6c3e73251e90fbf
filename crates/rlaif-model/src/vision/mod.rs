//! From frames to visual tokens: a vision tower, and what brings its rows into the decoder's
//! embedding space.
//!
//! ```text
//! Pixels -> features: the frozen tower's rows, cached -> tokens: projector, pooling or merging
//! ```

pub mod clip;
mod encoder;
pub mod llava;
pub mod qwen;
pub mod smolvlm;

use burn::tensor::{Device, Tensor};
use rlaif_data::Pixels;

use crate::decoder::index_tensor;
use crate::hf::{Architecture, ModelConfig};
use crate::parameters::{Parameters, Slot};

pub use llava::LlavaVision;
pub use qwen::QwenVlVision;
pub use smolvlm::SmolVlmVision;

/// Patches that a tower makes of a clip: `t` steps in time of `h` rows and `w` columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Steps in time.
    pub t: usize,
    /// Rows of patches.
    pub h: usize,
    /// Columns of patches.
    pub w: usize,
}

impl Grid {
    /// Rows of features, `t * h * w`.
    #[must_use]
    pub fn rows(self) -> usize {
        self.t * self.h * self.w
    }
}

/// Frames of a size that the tower does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the preprocessor's configuration makes frames of {height} x {width} pixels (height, width), and \
     the vision tower takes {expected}"
)]
pub struct GridError {
    /// Height made.
    pub height: usize,
    /// Width made.
    pub width: usize,
    /// Sizes that the tower takes.
    pub expected: String,
}

/// The part of a model that sees.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a model has one")]
pub enum Vision {
    /// LLaVA's.
    Llava(LlavaVision),
    /// SmolVLM2's.
    SmolVlm(SmolVlmVision),
    /// Qwen2.5-VL's.
    Qwen2_5Vl(QwenVlVision),
}

impl Vision {
    /// All tensors zero (norm gains one), to be filled.
    #[must_use]
    pub fn zeros(config: &ModelConfig, device: &Device) -> Self {
        let hidden = config.text.hidden_size;
        match &config.arch {
            Architecture::Llava(arch) => Vision::Llava(LlavaVision::zeros(arch, hidden, device)),
            Architecture::SmolVlm(arch) => {
                Vision::SmolVlm(SmolVlmVision::zeros(arch, hidden, device))
            }
            Architecture::Qwen2_5Vl(arch) => {
                Vision::Qwen2_5Vl(QwenVlVision::zeros(arch, hidden, device))
            }
        }
    }

    /// The grid of patches that `pixels` become.
    ///
    /// # Errors
    ///
    /// Fails on frames of a size that the tower does not take.
    pub fn grid(&self, pixels: &Pixels) -> Result<Grid, GridError> {
        match self {
            Vision::Llava(vision) => vision.grid(pixels),
            Vision::SmolVlm(vision) => vision.grid(pixels),
            Vision::Qwen2_5Vl(vision) => vision.grid(pixels),
        }
    }

    /// The tower's rows, `[t * h * w, tower hidden]`, in the order of the grid: what a frozen tower
    /// makes of a clip, and the cache keeps.
    ///
    /// # Panics
    ///
    /// Panics on frames that [`grid`](Self::grid) refuses.
    #[must_use]
    pub fn features(&self, pixels: &Pixels) -> Tensor<2> {
        let grid = self.grid(pixels).unwrap_or_else(|error| panic!("{error}"));
        match self {
            Vision::Llava(vision) => vision.features(pixels),
            Vision::SmolVlm(vision) => vision.features(pixels, grid),
            Vision::Qwen2_5Vl(vision) => vision.features(pixels, grid),
        }
    }

    /// Visual tokens of several clips, packed in order, `[Σ n, hidden]`. `features` holds the
    /// clips' rows one after the other, `grids` how many each has.
    #[must_use]
    pub fn tokens(&self, features: Tensor<2>, grids: &[Grid]) -> Tensor<2> {
        match self {
            Vision::Llava(vision) => vision.tokens(features, grids),
            Vision::SmolVlm(vision) => vision.tokens(features, grids),
            Vision::Qwen2_5Vl(vision) => vision.tokens(features, grids),
        }
    }

    /// Whether each frame goes through the tower by itself, so that clips of one size may go through it
    /// together.
    #[must_use]
    pub fn frames_are_independent(&self) -> bool {
        match self {
            Vision::Llava(_) | Vision::SmolVlm(_) => true,
            Vision::Qwen2_5Vl(_) => false,
        }
    }

    /// Multiply-adds of the projector per row of features.
    #[must_use]
    pub fn projector_macs_per_row(&self) -> usize {
        match self {
            Vision::Llava(vision) => vision.projector.macs_per_row(),
            Vision::SmolVlm(vision) => vision.macs_per_row(),
            Vision::Qwen2_5Vl(vision) => vision.macs_per_row(),
        }
    }
}

/// Number of visual tokens that a clip becomes.
#[must_use]
pub fn n_visual_tokens(arch: &Architecture, grid: Grid) -> usize {
    match arch {
        Architecture::Llava(arch) => arch.n_visual_tokens(grid.t),
        Architecture::SmolVlm(arch) => grid.rows() / arch.scale_factor.pow(2).max(1),
        Architecture::Qwen2_5Vl(arch) => grid.rows() / arch.spatial_merge_size.pow(2).max(1),
    }
}

/// Each square of `side` by `side` patches laid end to end, frame by frame and row by row:
/// `[Σ rows, hidden]` to `[Σ rows / side², side² * hidden]`.
fn merge(features: Tensor<2>, grids: &[Grid], side: usize) -> Tensor<2> {
    let [rows, hidden] = features.dims();
    let mut order = Vec::with_capacity(rows);
    let mut first = 0;
    for grid in grids {
        for _ in 0..grid.t {
            for top in (0..grid.h).step_by(side) {
                for left in (0..grid.w).step_by(side) {
                    for y in top..top + side {
                        order.extend((left..left + side).map(|x| first + y * grid.w + x));
                    }
                }
            }
            first += grid.h * grid.w;
        }
    }
    let index = index_tensor(&order, &features.device());
    let square = side * side;
    features.select(0, index).reshape([rows / square, square * hidden])
}

impl Parameters for Vision {
    fn walk(&mut self, prefix: &str, visit: &mut dyn FnMut(&str, Slot<'_>)) {
        match self {
            Vision::Llava(vision) => vision.walk(prefix, visit),
            Vision::SmolVlm(vision) => vision.walk(prefix, visit),
            Vision::Qwen2_5Vl(vision) => vision.walk(prefix, visit),
        }
    }
}
