//! SmolVLM2's video processor: which frames, and two resizes of each.
//!
//! A frame is first resized so that its longer side has `size.longest_edge` pixels (also where that
//! enlarges it), then squeezed into a square of `max_image_size.longest_edge`, whatever its aspect
//! ratio. Both resizes are torchvision's on bytes, see [`resample`](crate::resample). Source:
//! `transformers` 5.24, `video_processing_smolvlm.py`.
//!
//! The hub's `video_sampling.video_size` has no effect where `size` stands beside it: so does
//! `transformers` read the file, and so do we.

use std::path::Path;

use rlaif_data::{Frame, Pixels, VideoMetadata};
use serde_json::{Map, Value};

use crate::{
    Filter, PreprocessError, Sampling,
    digest::digest_parts,
    frames::{check_frame, lay_out, torch_tables, within_limit},
    resample::resize_as_torch,
    sampling::count,
    settings::{Fields, Files, both_sides, side, video_processor},
};

/// The longer side, at most, whatever the file says.
const LONGEST_EDGE_LIMIT: u32 = 4096;

/// The steps between a decoded frame and SmolVLM2's tower, and the rule that picks frames.
#[derive(Clone, Debug, PartialEq)]
pub struct SmolVlmProcessor {
    /// Whether to resize at all.
    pub do_resize: bool,
    /// First resize: the longer side, or both sides.
    pub size: FirstSize,
    /// Second resize: both sides of the square.
    pub max_image_size: u32,
    /// The filter of both.
    pub resample: Filter,
    /// Factor of the bytes, commonly 1/255; none leaves them as they are.
    pub rescale: Option<f64>,
    /// Mean and standard deviation of red, green and blue after rescaling; none: not normalised.
    pub normalize: Option<[[f64; 3]; 2]>,
    /// The checkpoint's rule for taking frames.
    pub sampling: Sampling,
    /// The files as they were read, by name, to be written back.
    files: Files,
}

/// The size of the first resize.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstSize {
    /// The longer side gets this many pixels, the shorter one keeps the aspect ratio, truncated
    /// and made even.
    LongestEdge(u32),
    /// Both sides as given.
    Exact {
        /// Rows.
        height: u32,
        /// Pixels in a row.
        width: u32,
    },
}

impl SmolVlmProcessor {
    /// Reads the settings from a checkpoint folder: the `video_processor` of
    /// `processor_config.json`, else `video_preprocessor_config.json`, else
    /// `preprocessor_config.json`, as `transformers` looks for them.
    ///
    /// # Errors
    ///
    /// [`PreprocessError`] names the folder or file and the field.
    pub fn from_folder(folder: &Path) -> Result<Self, PreprocessError> {
        let (mut processor, files) = video_processor(folder, SmolVlmProcessor::from_map)?;
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
        let own = match fields.get("video_sampling") {
            None => None,
            Some(Value::Object(own)) => Some(own),
            Some(other) => return Err(fields.error("video_sampling", "an object", other)),
        };
        let size = match (fields.get("size"), own.and_then(|own| own.get("video_size"))) {
            (Some(size), _) => first_size(&fields, "size", size)?,
            (None, Some(size)) => first_size(&fields, "video_sampling", size)?,
            (None, None) => FirstSize::LongestEdge(4 * 364),
        };
        let max_image_size = match fields.get("max_image_size") {
            None => 364,
            Some(value) => value.get("longest_edge").and_then(side).ok_or_else(|| {
                fields.error("max_image_size", "{\"longest_edge\": n} with n above 0", value)
            })?,
        };
        Ok(SmolVlmProcessor {
            do_resize: fields.flag("do_resize", true)?,
            size,
            max_image_size,
            resample: fields.torch_filter(Filter::Lanczos)?,
            rescale: fields.rescale()?,
            normalize: fields.normalize([[0.5; 3]; 2])?,
            sampling: sampling(&fields, own)?,
            files: Files::new(),
        })
    }

    /// The JSON files that the settings were read from, by their names in the folder, unchanged.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &Map<String, Value>)> {
        self.files.iter().map(|(name, map)| (name.as_path(), map))
    }

    /// Both resizes of one frame.
    ///
    /// # Errors
    ///
    /// [`PreprocessError::BadFrame`] (as frame 0) or [`PreprocessError::TooLarge`].
    pub fn frame(&self, frame: &Frame) -> Result<Frame, PreprocessError> {
        check_frame(frame)?;
        if !self.do_resize {
            return Ok(frame.clone());
        }
        let (width, height) = self.first_sides(frame.width, frame.height);
        let square = self.max_image_size;
        let mut now = std::borrow::Cow::Borrowed(frame);
        for (width, height) in [(width, height), (square, square)] {
            within_limit(width.into(), height.into())?;
            // One pass runs before the other: their common size counts, too.
            within_limit(width.into(), now.height.into())?;
            now = std::borrow::Cow::Owned(resize_as_torch(&now, width, height, self.resample));
        }
        Ok(now.into_owned())
    }

    /// Digest of the steps and of a clip's digest.
    #[must_use]
    pub fn pixels_digest(&self, clip_digest: &str) -> String {
        let resize = (self.size, self.max_image_size, self.resample);
        let resize = if self.do_resize { Some(resize) } else { None };
        let steps = format!("{resize:?} {:?} {:?}", self.rescale, self.normalize);
        digest_parts(&["rlaif-video/smolvlm/1", clip_digest, &steps])
    }

    /// Width and height after the first resize.
    fn first_sides(&self, width: u32, height: u32) -> (u32, u32) {
        let edge = match self.size {
            FirstSize::Exact { height, width } => return (width, height),
            FirstSize::LongestEdge(edge) => edge.min(LONGEST_EDGE_LIMIT),
        };
        let ratio = f64::from(width) / f64::from(height);
        // Python: int(edge / ratio), then the next even number.
        let even = |side: f64| {
            let side = count(side);
            u32::try_from(side + side % 2).unwrap_or(u32::MAX).max(1)
        };
        if width >= height {
            (edge, even(f64::from(edge) / ratio))
        } else {
            (even(f64::from(edge) * ratio), edge)
        }
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

fn first_size(
    fields: &Fields<'_>,
    field: &'static str,
    value: &Value,
) -> Result<FirstSize, PreprocessError> {
    let size = value.as_object().and_then(|map| match (map.get("longest_edge"), map.len()) {
        (Some(edge), 1) => side(edge).map(FirstSize::LongestEdge),
        _ => both_sides(map).map(|(height, width)| FirstSize::Exact { height, width }),
    });
    let expected = "a size, {\"longest_edge\": n} or {\"height\": h, \"width\": w}";
    size.ok_or_else(|| fields.error(field, expected, value))
}

/// The rule for taking frames: `fps` and `max_frames` of `video_sampling`, else `fps` and
/// `num_frames`.
fn sampling(
    fields: &Fields<'_>,
    own: Option<&Map<String, Value>>,
) -> Result<Sampling, PreprocessError> {
    let (frames, fps) = match own {
        Some(own) => (own.get("max_frames"), own.get("fps")),
        None => (fields.get("num_frames"), fields.get("fps")),
    };
    let rule =
        fps.and_then(Value::as_f64).zip(frames.and_then(Value::as_u64)).map(|(fps, max_frames)| {
            Sampling::SmolVlm { fps, max_frames: usize::try_from(max_frames).unwrap_or(usize::MAX) }
        });
    rule.filter(|rule| rule.validate().is_ok()).ok_or_else(|| {
        let expected = format!(
            "an object with `fps` above 0 and `max_frames` in 1..={}",
            crate::sampling::FRAMES_LIMIT
        );
        let got = fields.get("video_sampling").unwrap_or(&Value::Null);
        fields.error("video_sampling", &expected, got)
    })
}
