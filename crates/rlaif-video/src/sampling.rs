//! Which frames of a video are looked at.
//!
//! ```text
//! uniform: i_k = trunc(k (n - 1) / (F - 1)),  k = 0 .. F-1      (i_0 = 0 where F = 1)
//! fps:     i_k = floor(k r / f),              k = 0 .. K-1      K = ceil(n f / r)
//! smolvlm: i_k = trunc(a + k (b - a) / (K - 1)), without repeats, K = min(F, round(f n / r))
//! qwen_vl: i_k = trunc(k n / K),              k = 0 .. K-1      K = n f / r within bounds, even
//! ```
//!
//! with `n` frames in the video, `F` frames wanted, `r` the video's own average rate and `f` the
//! wanted one, in frames per second.
//!
//! The uniform rule is VLM-RLAIF's (`numpy.linspace(0, n - 1, F, dtype=int)`), evaluated in the
//! same order of floating-point operations, so that the indices are numpy's to the last bit of
//! rounding. Where `n < F` indices repeat: the clip always has `F` frames.
//!
//! The fps rule takes the frames shown at `0, 1/f, 2/f, ...` seconds, as many as lie within the
//! video, `K` of them. Where `K` lies outside `min_frames ..= max_frames`, the nearer bound is the
//! number of frames and they are spread by the uniform rule. Both rules count frames; on a video
//! of variable frame rate they are even in frames, not in time (the timestamps of the clip stay
//! true).
//!
//! The SmolVLM rule is that of `transformers`' `SmolVLMVideoProcessor.sample_frames`: `a .. b` is the
//! whole video, or what is left of it without its first and last second where it lasts more than
//! `F f + 2` seconds (seconds compared with frames times a rate, as there).
//!
//! The Qwen2.5-VL rule is that of `Qwen2VLVideoProcessor.sample_frames`, in its floating point: as many
//! frames as the rate asks for within `min_frames ..= max_frames`, rounded down to a multiple of
//! `temporal_patch`. A video shorter than that gives all its frames. Where rounding lets
//! `torch.arange` run one past the last frame (17 frames, 14 wanted), `transformers` fails; here the
//! frames before it are taken.

use rlaif_data::{VideoMetadata, arange_f32};
use serde::{Deserialize, Serialize};

use crate::VideoError;

/// Frames of one clip, at most: a slip of the pen in a recipe must not fill the memory.
pub const FRAMES_LIMIT: usize = 4096;

/// How frames are chosen; see the [module](self) for the exact rules.
///
/// In a recipe: `{ type = "uniform", frames = 50 }` or `{ type = "fps", fps = 1.0 }`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Sampling {
    /// A fixed number of frames, first and last included, evenly spread.
    Uniform {
        /// Frames `F`, from 1 to [`FRAMES_LIMIT`].
        frames: usize,
    },
    /// A fixed rate, within bounds on the number of frames.
    Fps {
        /// Frames a second, above 0.
        fps: f64,
        /// Most frames taken. Default 50, VLM-RLAIF's number of frames.
        #[serde(default = "default_max_frames")]
        max_frames: usize,
        /// Fewest frames taken. Default 1.
        #[serde(default = "default_min_frames")]
        min_frames: usize,
    },
    /// SmolVLM2's rule: a fixed rate up to a number of frames, then evenly spread.
    #[serde(rename = "smolvlm")]
    SmolVlm {
        /// Frames a second, above 0. The checkpoints have 1.
        fps: f64,
        /// Most frames taken, from 1 to [`FRAMES_LIMIT`]. The checkpoints have 64.
        max_frames: usize,
    },
    /// Qwen2.5-VL's rule: a fixed rate within bounds, a multiple of the frames that a patch spans.
    QwenVl {
        /// Frames a second, above 0. Default 2.
        #[serde(default = "default_qwen_fps")]
        fps: f64,
        /// Most frames taken. Default 768.
        #[serde(default = "default_qwen_max_frames")]
        max_frames: usize,
        /// Fewest frames taken, where the video has them. Default 4.
        #[serde(default = "default_qwen_min_frames")]
        min_frames: usize,
        /// Frames that one patch spans. Default 2.
        #[serde(default = "default_temporal_patch")]
        temporal_patch: usize,
    },
}

fn default_qwen_fps() -> f64 {
    2.0
}

fn default_qwen_max_frames() -> usize {
    768
}

fn default_qwen_min_frames() -> usize {
    4
}

fn default_temporal_patch() -> usize {
    2
}

fn default_max_frames() -> usize {
    50
}

fn default_min_frames() -> usize {
    1
}

impl Default for Sampling {
    /// 50 uniform frames, as VLM-RLAIF samples.
    fn default() -> Self {
        Sampling::Uniform { frames: 50 }
    }
}

impl Sampling {
    /// Checks the ranges that the fields' documentation states.
    ///
    /// # Errors
    ///
    /// [`VideoError::Sampling`] names the field, the range and the value.
    pub fn validate(&self) -> Result<(), VideoError> {
        let fail = |text: String| Err(VideoError::Sampling(text));
        match *self {
            Sampling::Uniform { frames } if !(1..=FRAMES_LIMIT).contains(&frames) => {
                fail(format!("`frames` must be in 1..={FRAMES_LIMIT}, got {frames}"))
            }
            Sampling::Fps { fps, .. }
            | Sampling::SmolVlm { fps, .. }
            | Sampling::QwenVl { fps, .. }
                if !(fps.is_finite() && fps > 0.0) =>
            {
                fail(format!("`fps` must be above 0, got {fps}"))
            }
            Sampling::Fps { max_frames, .. }
            | Sampling::SmolVlm { max_frames, .. }
            | Sampling::QwenVl { max_frames, .. }
                if !(1..=FRAMES_LIMIT).contains(&max_frames) =>
            {
                fail(format!("`max_frames` must be in 1..={FRAMES_LIMIT}, got {max_frames}"))
            }
            Sampling::Fps { min_frames, max_frames, .. }
            | Sampling::QwenVl { min_frames, max_frames, .. }
                if !(1..=max_frames).contains(&min_frames) =>
            {
                fail(format!(
                    "`min_frames` must be in 1..={max_frames} (`max_frames`), got {min_frames}"
                ))
            }
            Sampling::QwenVl { temporal_patch, max_frames, .. }
                if !(1..=max_frames).contains(&temporal_patch) =>
            {
                fail(format!(
                    "`temporal_patch` must be in 1..={max_frames} (`max_frames`), got \
                     {temporal_patch}"
                ))
            }
            _ => Ok(()),
        }
    }

    /// Indices of the frames to take from a video of `n` frames at `native_fps`; never
    /// decreasing, each below `n`, empty only where `n` is 0.
    ///
    /// # Errors
    ///
    /// [`VideoError::Sampling`] for settings that [`Sampling::validate`] rejects, and for a
    /// `native_fps` that is not above 0 where the rate matters.
    pub fn indices(&self, n: usize, native_fps: f64) -> Result<Vec<usize>, VideoError> {
        self.validate()?;
        let by_rate = !matches!(self, Sampling::Uniform { .. });
        if by_rate && !(native_fps.is_finite() && native_fps > 0.0) {
            return Err(VideoError::Sampling(format!(
                "the video's own frame rate must be above 0 for sampling by `fps`, got {native_fps}"
            )));
        }
        match *self {
            Sampling::Uniform { frames } => Ok(uniform_indices(n, frames)),
            Sampling::SmolVlm { fps, max_frames } => {
                Ok(smolvlm_indices(n, native_fps, fps, max_frames))
            }
            Sampling::QwenVl { fps, max_frames, min_frames, temporal_patch } => {
                let wanted = n as f64 / native_fps * fps;
                Ok(qwen_indices(n, wanted, min_frames, max_frames, temporal_patch))
            }
            Sampling::Fps { fps, max_frames, min_frames } => {
                let wanted = count((n as f64 * fps / native_fps - ROUNDING).ceil()).max(1);
                let frames = wanted.clamp(min_frames, max_frames);
                if frames != wanted || n == 0 {
                    return Ok(uniform_indices(n, frames));
                }
                let stride = native_fps / fps;
                Ok((0..frames)
                    .map(|k| count((k as f64 * stride + ROUNDING).floor()).min(n - 1))
                    .collect())
            }
        }
    }

    /// [`indices`](Self::indices) of a video together with what they are counted in.
    ///
    /// # Errors
    ///
    /// As [`indices`](Self::indices).
    pub fn of_video(&self, n: usize, native_fps: f64) -> Result<VideoMetadata, VideoError> {
        Ok(VideoMetadata::new(n, native_fps, self.indices(n, native_fps)?))
    }
}

/// Swallows the last bits of `k r / f`, so that 25 fps sampled at 5 takes frame 5, not 4.
const ROUNDING: f64 = 1e-6;

/// Indices of `frames` frames spread evenly over `n`, numpy's
/// `linspace(0, n - 1, frames, dtype=int)`; empty where `n` is 0.
#[must_use]
pub fn uniform_indices(n: usize, frames: usize) -> Vec<usize> {
    if n == 0 || frames == 0 {
        return Vec::new();
    }
    linspace(0, n - 1, frames)
}

/// numpy's `linspace(first, last, frames, dtype=int)` for `frames >= 1`.
fn linspace(first: usize, last: usize, frames: usize) -> Vec<usize> {
    if frames == 1 {
        return vec![first];
    }
    // numpy: step = (stop - start) / div, then arange * step + start, the end point set exactly.
    let step = (last - first) as f64 / (frames - 1) as f64;
    let at = |k: usize| count(k as f64 * step + first as f64).min(last);
    let mut indices: Vec<usize> = (0..frames).map(at).collect();
    indices[frames - 1] = last;
    indices
}

/// See the [module](self); `wanted` is what the rate alone asks for.
fn qwen_indices(n: usize, wanted: f64, min: usize, max: usize, patch: usize) -> Vec<usize> {
    let max = max.min(n) / patch * patch;
    let wanted = wanted.max(min as f64).min(max as f64).min(n as f64);
    let frames = count(wanted / patch as f64) * patch;
    if frames == 0 {
        return (0..n).collect();
    }
    let step = n as f64 / frames as f64;
    // Rounding makes `arange` one longer here and there; transformers then asks for frame n.
    let times = arange_f32(0.0, n as f64, step).into_iter().take(frames);
    times.map(|time| count(f64::from(time)).min(n - 1)).collect()
}

/// Seconds that SmolVLM's rule leaves out at either end of a long video.
const SKIP_SECONDS: f64 = 1.0;

/// See the [module](self); empty where `n` is 0.
fn smolvlm_indices(n: usize, native_fps: f64, fps: f64, max_frames: usize) -> Vec<usize> {
    if n == 0 {
        return Vec::new();
    }
    let seconds = n as f64 / native_fps;
    let frames = count((fps * seconds).round_ties_even()).min(max_frames).max(1);
    let (mut first, mut last) = (0, n - 1);
    if seconds - 2.0 * SKIP_SECONDS > max_frames as f64 * fps {
        first = count(SKIP_SECONDS * native_fps);
        last = count(n as f64 - SKIP_SECONDS * native_fps).min(n - 1);
    }
    if first >= last {
        (first, last) = (0, n - 1);
    }
    let mut indices = linspace(first, last, frames);
    indices.dedup();
    indices
}

/// A non-negative float as a count, truncated.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float casts saturate, and the callers' values are small and not negative"
)]
pub(crate) fn count(value: f64) -> usize {
    value as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// linspace(0, 9, 4) = 0, 3, 6, 9; linspace(0, 2, 5) = 0, 0.5, 1, 1.5, 2, truncated.
    #[test]
    fn uniform_truncates_and_repeats() {
        assert_eq!(uniform_indices(10, 4), [0, 3, 6, 9]);
        assert_eq!(uniform_indices(3, 5), [0, 0, 1, 1, 2]);
        assert_eq!(uniform_indices(100, 1), [0]);
        assert_eq!(uniform_indices(1, 3), [0, 0, 0]);
        assert_eq!(uniform_indices(0, 3), [0; 0]);
    }

    /// Printed by `numpy.linspace(0, n - 1, F, dtype=int)`, for pairs where rounding the exact
    /// quotient down gives another index.
    #[test]
    fn uniform_rounds_as_numpy_does() {
        let golden: Vec<(usize, usize, Vec<usize>)> =
            serde_json::from_str(include_str!("../tests/fixtures/linspace.json")).unwrap();
        assert!(golden.len() >= 10);
        let mut differs = 0;
        for (n, frames, indices) in golden {
            assert_eq!(uniform_indices(n, frames), indices, "n = {n}, F = {frames}");
            let exact: Vec<usize> = (0..frames).map(|k| k * (n - 1) / (frames - 1)).collect();
            differs += usize::from(exact != indices);
        }
        assert!(differs > 0, "the fixture holds no case in which floating point matters");
    }

    #[test]
    fn fps_takes_the_frames_shown_at_each_tick() {
        let at = |fps, n, native| {
            Sampling::Fps { fps, max_frames: 50, min_frames: 1 }.indices(n, native).unwrap()
        };
        assert_eq!(at(5.0, 25, 25.0), [0, 5, 10, 15, 20]);
        assert_eq!(at(1.0, 70, 30.0), [0, 30, 60]);
        assert_eq!(at(0.1, 70, 30.0), [0]);
        assert_eq!(at(2.0, 100, 29.97), [0, 14, 29, 44, 59, 74, 89]);
        // Faster than the video: frames repeat.
        assert_eq!(at(20.0, 3, 10.0), [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn fps_outside_its_bounds_spreads_uniformly() {
        let sampling = Sampling::Fps { fps: 10.0, max_frames: 4, min_frames: 2 };
        assert_eq!(sampling.indices(100, 10.0).unwrap(), [0, 33, 66, 99]);
        assert_eq!(sampling.indices(1, 10.0).unwrap(), [0, 0]);
    }

    /// Chosen by `transformers`' `SmolVLMVideoProcessor.sample_frames`.
    #[test]
    fn smolvlms_rule_is_that_of_transformers() {
        let document: serde_json::Value =
            serde_json::from_str(include_str!("../tests/fixtures/smolvlm.json")).unwrap();
        let golden: Vec<(f64, usize, usize, f64, Vec<usize>)> =
            serde_json::from_value(document["sampled"].clone()).unwrap();
        let skips = golden.iter().filter(|(.., indices)| indices[0] > 0).count();
        assert!(golden.len() > 50 && skips > 5, "{skips} of {} skip", golden.len());
        for (fps, max_frames, n, native, indices) in golden {
            let sampling = Sampling::SmolVlm { fps, max_frames };
            let got = sampling.indices(n, native).unwrap();
            assert_eq!(got, indices, "{sampling:?} of {n} frames at {native}");
        }
        assert!(Sampling::SmolVlm { fps: 1.0, max_frames: 4 }.indices(0, 1.0).unwrap().is_empty());
    }

    #[test]
    fn settings_out_of_range_are_named() {
        for (sampling, field) in [
            (Sampling::Uniform { frames: 0 }, "`frames`"),
            (Sampling::Uniform { frames: 1 << 40 }, "`frames`"),
            (Sampling::Fps { fps: 0.0, max_frames: 5, min_frames: 1 }, "`fps`"),
            (Sampling::Fps { fps: f64::NAN, max_frames: 5, min_frames: 1 }, "`fps`"),
            (Sampling::Fps { fps: 1.0, max_frames: 0, min_frames: 1 }, "`max_frames`"),
            (Sampling::Fps { fps: 1.0, max_frames: 5, min_frames: 6 }, "`min_frames`"),
            (Sampling::SmolVlm { fps: -1.0, max_frames: 5 }, "`fps`"),
            (Sampling::SmolVlm { fps: 1.0, max_frames: FRAMES_LIMIT + 1 }, "`max_frames`"),
        ] {
            let message = sampling.indices(10, 10.0).unwrap_err().to_string();
            assert!(message.contains(field), "{message}");
        }
    }

    #[test]
    fn reads_and_writes_the_recipe_form() {
        let sampling: Sampling = serde_json::from_str(r#"{"type":"fps","fps":2}"#).unwrap();
        assert_eq!(sampling, Sampling::Fps { fps: 2.0, max_frames: 50, min_frames: 1 });
        let json = serde_json::to_string(&Sampling::default()).unwrap();
        assert_eq!(json, r#"{"type":"uniform","frames":50}"#);
        let error = serde_json::from_str::<Sampling>(r#"{"type":"uniform","frame":5}"#);
        assert!(error.unwrap_err().to_string().contains("unknown field `frame`"));
    }

    proptest::proptest! {
        #[test]
        fn indices_never_decrease_and_stay_inside(
            n in 1_usize..5000, frames in 1_usize..300, fps in 0.01_f64..60.0, native in 0.1_f64..120.0,
        ) {
            for sampling in [
                Sampling::Uniform { frames },
                Sampling::Fps { fps, max_frames: 300, min_frames: 1 },
            ] {
                let indices = sampling.indices(n, native).unwrap();
                proptest::prop_assert!(!indices.is_empty());
                proptest::prop_assert!(indices.is_sorted());
                proptest::prop_assert!(indices.iter().all(|index| *index < n));
            }
        }
    }
}
