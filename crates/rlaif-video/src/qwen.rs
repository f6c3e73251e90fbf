//! Qwen2.5-VL's video processor: frames resized to whole patches within a budget of pixels.
//!
//! Sides are rounded to multiples of `patch_size * merge_size`, then scaled so that the area lies
//! within `min_pixels ..= max_pixels`. The resize is torchvision's on bytes, see
//! [`resample`](crate::resample). Source: `transformers` 5.24, `video_processing_qwen2_vl.py`. Where
//! the hub's folder has image settings alone, they hold for video frames too, as there.

use std::path::Path;

use rlaif_data::{Frame, Pixels, VideoMetadata};
use serde_json::{Map, Value};

use crate::{
    Filter, PreprocessError, Sampling,
    digest::digest_parts,
    frames::{check_frame, lay_out, torch_tables, within_limit},
    preprocess::{CLIP_MEAN, CLIP_STD},
    resample::resize_as_torch,
    sampling::{FRAMES_LIMIT, count},
    settings::{Fields, Files, video_processor},
};

/// Largest aspect ratio taken, as in `transformers`.
const LARGEST_RATIO: f64 = 200.0;
/// Largest number of pixels, frames or tokens believed.
const LARGEST: u64 = 1 << 40;
/// Largest patch or merge believed.
const LARGEST_SIDE: u32 = 1 << 12;

/// The steps between a decoded frame and Qwen2.5-VL's tower, and the rule that picks frames.
#[derive(Clone, Debug, PartialEq)]
pub struct QwenVlProcessor {
    /// Whether to resize at all.
    pub do_resize: bool,
    /// Fewest pixels of a frame.
    pub min_pixels: u64,
    /// Most pixels of a frame.
    pub max_pixels: u64,
    /// Most tokens of a clip, for the bound that `cap_pixels_per_frame` puts on its frames;
    /// `None` where there is no such bound.
    pub max_video_tokens: Option<u64>,
    /// Pixels of a patch's side.
    pub patch_size: u32,
    /// Frames that a patch spans.
    pub temporal_patch_size: usize,
    /// Patches of a visual token's side.
    pub merge_size: u32,
    /// The filter of the resize.
    pub resample: Filter,
    /// Factor of the bytes, commonly 1/255; none leaves them as they are.
    pub rescale: Option<f64>,
    /// Mean and standard deviation of red, green and blue after rescaling; none: not normalised.
    pub normalize: Option<[[f64; 3]; 2]>,
    /// The checkpoint's rule for taking frames; 2 a second where it has none.
    pub sampling: Sampling,
    /// The files as they were read, by name, to be written back.
    files: Files,
}

impl QwenVlProcessor {
    /// Reads the settings from a checkpoint folder: the `video_processor` of
    /// `processor_config.json`, else `video_preprocessor_config.json`, else
    /// `preprocessor_config.json`.
    ///
    /// # Errors
    ///
    /// [`PreprocessError`] names the folder or file and the field.
    pub fn from_folder(folder: &Path) -> Result<Self, PreprocessError> {
        let (mut processor, files) = video_processor(folder, QwenVlProcessor::from_map)?;
        processor.files = files;
        Ok(processor)
    }

    /// Reads the settings from a JSON object; `origin` is the file that errors name.
    ///
    /// # Errors
    ///
    /// [`PreprocessError::Field`] names the field, what would do and what stands there.
    pub fn from_map(map: &Map<String, Value>, origin: &Path) -> Result<Self, PreprocessError> {
        let fields = Fields { map, path: origin };
        let size = match fields.get("size") {
            None => None,
            Some(Value::Object(size)) => Some(size),
            Some(other) => return Err(fields.error("size", "an object", other)),
        };
        let edge = |own: &'static str, edge: &str, default: u64| match (
            fields.get(own),
            size.and_then(|size| size.get(edge)),
        ) {
            (Some(value), _) => whole(&fields, own, value),
            (None, Some(value)) => whole(&fields, "size", value),
            (None, None) => Ok(default),
        };
        let (min_pixels, max_pixels) = (
            edge("min_pixels", "shortest_edge", 128 * 28 * 28)?,
            edge("max_pixels", "longest_edge", 28 * 28 * 768)?,
        );
        if min_pixels > max_pixels {
            let got = Value::from(min_pixels);
            return Err(fields.error("min_pixels", "at most `max_pixels`", &got));
        }
        let temporal_patch_size = small(&fields, "temporal_patch_size", 2)?;
        let capped = fields.flag("cap_pixels_per_frame", false)?;
        let budget = match fields.get("max_video_tokens") {
            None => 128_000,
            Some(value) => whole(&fields, "max_video_tokens", value)?,
        };
        Ok(QwenVlProcessor {
            do_resize: fields.flag("do_resize", true)?,
            min_pixels,
            max_pixels,
            max_video_tokens: capped.then_some(budget),
            patch_size: small(&fields, "patch_size", 14)?,
            temporal_patch_size: temporal_patch_size as usize,
            merge_size: small(&fields, "merge_size", 2)?,
            resample: fields.torch_filter(Filter::Bicubic)?,
            rescale: fields.rescale()?,
            normalize: fields.normalize([CLIP_MEAN, CLIP_STD])?,
            sampling: sampling(&fields, temporal_patch_size as usize)?,
            files: Files::new(),
        })
    }

    /// The JSON files that the settings were read from, by their names in the folder, unchanged.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &Map<String, Value>)> {
        self.files.iter().map(|(name, map)| (name.as_path(), map))
    }

    /// The resize of one frame of a clip of `of` frames.
    ///
    /// # Errors
    ///
    /// [`PreprocessError::BadFrame`] (as frame 0), [`PreprocessError::TooLarge`] or
    /// [`PreprocessError::Sliver`].
    pub fn frame(&self, frame: &Frame, of: usize) -> Result<Frame, PreprocessError> {
        check_frame(frame)?;
        if !self.do_resize {
            return Ok(frame.clone());
        }
        let factor = self.patch_size * self.merge_size;
        let most = self.most_pixels(of);
        let (height, width) =
            smart_resize(frame.height, frame.width, factor, self.min_pixels, most)?;
        let (width, height) = within_limit(width, height)?;
        within_limit(width.into(), frame.height.into())?;
        Ok(resize_as_torch(frame, width, height, self.resample))
    }

    /// Most pixels of each of `frames` frames: with `cap_pixels_per_frame` an even share of the
    /// tokens' pixels, within the checkpoint's bounds.
    fn most_pixels(&self, frames: usize) -> u64 {
        let Some(tokens) = self.max_video_tokens else { return self.max_pixels };
        let factor = f64::from(self.patch_size * self.merge_size);
        let total = count(tokens as f64 * (factor * factor) * 0.9) as u64;
        let share = total.saturating_mul(self.temporal_patch_size as u64) / frames.max(1) as u64;
        let floor = count(self.min_pixels as f64 * 1.05) as u64;
        self.max_pixels.min(share).max(floor)
    }

    /// Digest of the steps and of a clip's digest.
    #[must_use]
    pub fn pixels_digest(&self, clip_digest: &str) -> String {
        let sizes = (self.min_pixels, self.max_pixels, self.max_video_tokens);
        let patches = (self.patch_size, self.merge_size, self.temporal_patch_size);
        let resize = if self.do_resize { Some((sizes, self.resample)) } else { None };
        let steps = format!("{resize:?} {patches:?} {:?} {:?}", self.rescale, self.normalize);
        digest_parts(&["rlaif-video/qwen/1", clip_digest, &steps])
    }

    /// Rescales, normalises and lays out frames that went through [`frame`](Self::frame).
    pub(crate) fn normalize(
        &self,
        frames: &[Frame],
        clip_digest: &str,
        video: VideoMetadata,
    ) -> Result<Pixels, PreprocessError> {
        let tables = torch_tables(self.rescale, self.normalize);
        lay_out(frames, &tables, self.pixels_digest(clip_digest), video)
    }
}

fn whole(fields: &Fields<'_>, field: &'static str, value: &Value) -> Result<u64, PreprocessError> {
    value
        .as_u64()
        .filter(|number| (1..=LARGEST).contains(number))
        .ok_or_else(|| fields.error(field, "a whole number above 0", value))
}

fn small(fields: &Fields<'_>, field: &'static str, default: u32) -> Result<u32, PreprocessError> {
    let Some(value) = fields.get(field) else { return Ok(default) };
    let side = value.as_u64().and_then(|number| u32::try_from(number).ok());
    side.filter(|side| (1..=LARGEST_SIDE).contains(side)).ok_or_else(|| {
        let expected = format!("a whole number in 1..={LARGEST_SIDE}");
        fields.error(field, &expected, value)
    })
}

/// The rule for taking frames: by `fps`, or `num_frames` of them, rounded to whole patches. A video
/// with fewer than `num_frames`, which `transformers` refuses, gives what it has.
fn sampling(fields: &Fields<'_>, temporal_patch: usize) -> Result<Sampling, PreprocessError> {
    let frames = |field: &'static str, default: usize| match fields.get(field) {
        None => Ok(default),
        Some(value) => {
            whole(fields, field, value).map(|n| usize::try_from(n).unwrap_or(usize::MAX))
        }
    };
    let (mut min_frames, mut max_frames) = (frames("min_frames", 4)?, frames("max_frames", 768)?);
    if let Some(value) = fields.get("num_frames") {
        if fields.get("fps").is_some() {
            return Err(fields.error("num_frames", "absent where `fps` is given", value));
        }
        let patches = frames("num_frames", 0)? as f64 / temporal_patch as f64;
        max_frames = count(patches.round_ties_even()).saturating_mul(temporal_patch);
        min_frames = max_frames;
        if !(1..=FRAMES_LIMIT).contains(&max_frames) {
            let expected =
                format!("above half of `temporal_patch_size` and at most {FRAMES_LIMIT}");
            return Err(fields.error("num_frames", &expected, value));
        }
    }
    let rule = Sampling::QwenVl {
        fps: fields.number("fps", 2.0)?,
        max_frames,
        min_frames,
        temporal_patch,
    };
    match rule.validate() {
        Ok(()) => Ok(rule),
        Err(error) => {
            let got = fields.get("fps").unwrap_or(&Value::Null);
            Err(fields.error("fps", &format!("a rule for frames: {error}"), got))
        }
    }
}

/// Height and width that a frame is resized to: multiples of `factor`, the area within
/// `min_pixels ..= max_pixels` where multiples allow it, the shape kept as far as they do.
///
/// # Errors
///
/// [`PreprocessError::Sliver`] for a frame more than 200 times as long as wide.
pub fn smart_resize(
    height: u32,
    width: u32,
    factor: u32,
    min_pixels: u64,
    max_pixels: u64,
) -> Result<(u64, u64), PreprocessError> {
    let (h, w, f) = (f64::from(height), f64::from(width), f64::from(factor));
    if h.max(w) / h.min(w) > LARGEST_RATIO {
        return Err(PreprocessError::Sliver { width, height });
    }
    let near = |side: f64| (side / f).round_ties_even() * f;
    let (mut rows, mut columns) = (near(h), near(w));
    if rows * columns > max_pixels as f64 {
        let beta = (h * w / max_pixels as f64).sqrt();
        let below = |side: f64| ((side / beta / f).floor() * f).max(f);
        (rows, columns) = (below(h), below(w));
    } else if rows * columns < min_pixels as f64 {
        let beta = (min_pixels as f64 / (h * w)).sqrt();
        let above = |side: f64| (side * beta / f).ceil() * f;
        (rows, columns) = (above(h), above(w));
    }
    Ok((count(rows) as u64, count(columns) as u64))
}
