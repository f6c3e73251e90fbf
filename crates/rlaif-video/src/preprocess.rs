//! CLIP-style preprocessing: pad, resize, crop, rescale, normalise, as `transformers` does it.
//!
//! ```text
//! pixel[c, y, x] = (u8[y, x, c] * rescale_factor - image_mean[c]) / image_std[c]
//! ```
//!
//! Source: `transformers` 5, `CLIPImageProcessorPil` and `LlavaImageProcessorPil` (the Pillow
//! backend; what every release before 5 calls `CLIPImageProcessor`), and LLaVA's
//! `expand2square` for `image_aspect_ratio = "pad"`. The 8-bit steps are equal to the bit; the
//! default torchvision backend of release 5 differs from both in one value of two hundred by 1/255.

use rlaif_data::{Clip, Frame, Pixels, VideoMetadata};

pub use crate::preprocess_error::PreprocessError;
use crate::{
    canvas::{center_crop, pad_to_square},
    digest::digest_parts,
    frames::{check_frame, each_frame, lay_out, within_limit},
    resample::{Filter, resize},
    sampling::count,
};

/// Pixels of one frame, at most, at any step: 2^26, as 8192 x 8192.
pub const FRAME_PIXELS_LIMIT: u64 = 1 << 26;

/// CLIP's mean of the channels red, green, blue, in `0..=1`.
pub const CLIP_MEAN: [f64; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// CLIP's standard deviation of the channels.
pub const CLIP_STD: [f64; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];

/// The size that frames are resized to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// The shorter side gets this many pixels, the longer one keeps the aspect ratio, truncated.
    ShortestEdge(u32),
    /// Both sides as given, whatever the aspect ratio.
    Exact {
        /// Rows.
        height: u32,
        /// Pixels in a row.
        width: u32,
    },
}

/// The steps between a decoded frame and a vision tower, in the order of the fields.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "the switches of the file, by their names")]
pub struct Preprocessor {
    /// Kept for the file: frames are RGB already (transparency was laid on white when decoded).
    pub do_convert_rgb: bool,
    /// Pads to a centred square of colour `trunc(255 mean)` first, LLaVA's
    /// `image_aspect_ratio = "pad"`.
    pub pad_to_square: bool,
    /// Whether to resize to `size`.
    pub do_resize: bool,
    /// The size to resize to.
    pub size: Size,
    /// The filter to resize with.
    pub resample: Filter,
    /// Whether to cut `crop_size` out of the middle; smaller frames get black borders.
    pub do_center_crop: bool,
    /// Rows and columns of the crop.
    pub crop_size: (u32, u32),
    /// Whether to multiply by `rescale_factor`.
    pub do_rescale: bool,
    /// Commonly 1/255.
    pub rescale_factor: f64,
    /// Whether to subtract the mean and divide by the standard deviation.
    pub do_normalize: bool,
    /// Mean of red, green, blue, after rescaling.
    pub image_mean: [f64; 3],
    /// Standard deviation of red, green, blue, after rescaling.
    pub image_std: [f64; 3],
    /// Keys of the file that mean nothing here, written back as they stood.
    pub other: serde_json::Map<String, serde_json::Value>,
    /// `processor_config.json`, where the checkpoint has one: how `LlavaProcessor` counts visual
    /// tokens. Written back, with the settings above as its `image_processor` where it had one.
    pub processor: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Default for Preprocessor {
    /// `CLIPImageProcessor()`: 224 pixels.
    fn default() -> Self {
        Preprocessor::clip(224)
    }
}

impl Preprocessor {
    /// CLIP's preprocessing at `pixels` a side, without padding: the shorter side is resized with
    /// the bicubic filter, the middle cropped.
    #[must_use]
    pub fn clip(pixels: u32) -> Self {
        Preprocessor {
            do_convert_rgb: true,
            pad_to_square: false,
            do_resize: true,
            size: Size::ShortestEdge(pixels),
            resample: Filter::Bicubic,
            do_center_crop: true,
            crop_size: (pixels, pixels),
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: CLIP_MEAN,
            image_std: CLIP_STD,
            other: serde_json::Map::new(),
            processor: None,
        }
    }

    /// VLM-RLAIF's preprocessing: [`Preprocessor::clip`] at 336 pixels after padding to a square.
    #[must_use]
    pub fn vlm_rlaif() -> Self {
        Preprocessor { pad_to_square: true, ..Preprocessor::clip(336) }
    }

    /// Runs the steps on 8-bit pixels: pad, resize, crop.
    ///
    /// # Errors
    ///
    /// [`PreprocessError::BadFrame`] (as frame 0) or [`PreprocessError::TooLarge`].
    pub fn frame(&self, frame: &Frame) -> Result<Frame, PreprocessError> {
        check_frame(frame)?;
        let mut frame = std::borrow::Cow::Borrowed(frame);
        if self.pad_to_square && frame.width != frame.height {
            let side = u64::from(frame.width.max(frame.height));
            within_limit(side, side)?;
            frame = std::borrow::Cow::Owned(pad_to_square(&frame, self.padding_color()));
        }
        if self.do_resize {
            let (width, height) = self.resized(frame.width, frame.height);
            let (width, height) = within_limit(width, height)?;
            // One pass runs before the other: their common size counts, too.
            within_limit(width.into(), frame.height.into())?;
            frame = std::borrow::Cow::Owned(resize(&frame, width, height, self.resample));
        }
        if self.do_center_crop {
            let (height, width) = self.crop_size;
            within_limit(width.into(), height.into())?;
            frame = std::borrow::Cow::Owned(center_crop(&frame, width, height));
        }
        Ok(frame.into_owned())
    }

    /// Turns a clip into input for a vision tower, `[F, 3, H, W]`.
    ///
    /// # Errors
    ///
    /// [`PreprocessError::NoFrames`], [`PreprocessError::BadFrame`],
    /// [`PreprocessError::TooLarge`] or [`PreprocessError::MixedSizes`].
    pub fn apply(&self, clip: &Clip) -> Result<Pixels, PreprocessError> {
        let frames = each_frame(clip, |frame| self.frame(frame))?;
        self.normalize(&frames, &clip.digest, clip.video.clone())
    }

    /// Rescales, normalises and lays out frames that went through [`Preprocessor::frame`].
    pub(crate) fn normalize(
        &self,
        frames: &[Frame],
        clip_digest: &str,
        video: VideoMetadata,
    ) -> Result<Pixels, PreprocessError> {
        lay_out(
            frames,
            &std::array::from_fn(|channel| self.table(channel)),
            self.pixels_digest(clip_digest),
            video,
        )
    }

    /// Digest of the steps and of a clip's digest: [`Pixels::digest`] of what [`apply`] makes of
    /// that clip, without making it.
    ///
    /// [`apply`]: Preprocessor::apply
    #[must_use]
    pub fn pixels_digest(&self, clip_digest: &str) -> String {
        let mut steps = self.known_fields();
        // Steps that are off have no effect, and RGB is no step: they must not split the cache.
        for (switch, keys) in [
            ("do_resize", &["size", "resample"][..]),
            ("do_center_crop", &["crop_size"]),
            ("do_rescale", &["rescale_factor"]),
            ("do_normalize", &["image_std"]),
            ("do_convert_rgb", &["do_convert_rgb"]),
        ] {
            if switch == "do_convert_rgb" || steps[switch] == false {
                for key in keys {
                    steps.remove(*key);
                }
            }
        }
        if !self.do_normalize && !self.pad_to_square {
            steps.remove("image_mean");
        }
        // Sorted, whatever order the JSON library keeps its maps in.
        let mut lines: Vec<String> =
            steps.iter().map(|(key, value)| format!("{key}={value}")).collect();
        lines.sort();
        digest_parts(&["rlaif-video/pixels/1", clip_digest, &lines.join("\n")])
    }

    /// Width and height after the resize step, for a frame of the given size.
    fn resized(&self, width: u32, height: u32) -> (u64, u64) {
        match self.size {
            Size::Exact { height, width } => (width.into(), height.into()),
            Size::ShortestEdge(edge) => {
                let (short, long) = (width.min(height), width.max(height));
                // Python: int(size * long / short).
                let long = count(f64::from(edge) * f64::from(long) / f64::from(short)) as u64;
                if width <= height { (edge.into(), long) } else { (long, edge.into()) }
            }
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "float casts saturate: a mean outside 0..=1 gives black or white"
    )]
    fn padding_color(&self) -> [u8; 3] {
        self.image_mean.map(|mean| (mean * 255.0) as u8)
    }

    /// What each byte of a channel becomes, in the precision and order of the Pillow backend:
    /// rescaling in f64 rounded to f32, normalising in f32.
    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is the point")]
    fn table(&self, channel: usize) -> [f32; 256] {
        let (mean, std) = (self.image_mean[channel] as f32, self.image_std[channel] as f32);
        std::array::from_fn(|byte| {
            let value = byte as f64;
            let value = if self.do_rescale { value * self.rescale_factor } else { value } as f32;
            if self.do_normalize { (value - mean) / std } else { value }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(width: u32, height: u32, rgb: Vec<u8>) -> Clip {
        let frame = Frame { width, height, rgb };
        Clip {
            frames: vec![frame],
            timestamps: vec![0.0],
            digest: "d".to_owned(),
            video: VideoMetadata::new(1, 1.0, vec![0]),
        }
    }

    fn bare() -> Preprocessor {
        Preprocessor {
            do_resize: false,
            do_center_crop: false,
            do_rescale: false,
            do_normalize: false,
            ..Preprocessor::clip(4)
        }
    }

    /// Bytes 0, 1, 2 | 3, 4, 5 of two pixels become planes (0, 3), (1, 4), (2, 5).
    #[test]
    fn pixels_are_planes() {
        let pixels = bare().apply(&clip(2, 1, vec![0, 1, 2, 3, 4, 5])).unwrap();
        assert_eq!((pixels.frames, pixels.height, pixels.width), (1, 1, 2));
        assert_eq!(pixels.values, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    }

    /// (255 / 255 - 0.48145466) / 0.26862954 = 1.9303361; (0 - 0.4578275) / 0.26130258 = -1.7520971.
    #[test]
    fn normalises_by_clips_statistics() {
        let steps = Preprocessor { do_rescale: true, do_normalize: true, ..bare() };
        let values = steps.apply(&clip(1, 1, vec![255, 0, 0])).unwrap().values;
        assert!((values[0] - 1.930_336_1).abs() < 1e-6, "{}", values[0]);
        assert!((values[1] + 1.752_097_1).abs() < 1e-6, "{}", values[1]);
    }

    #[test]
    fn pads_in_the_middle_with_the_mean_colour() {
        let steps = Preprocessor { pad_to_square: true, ..bare() };
        let frame = Frame { width: 2, height: 5, rgb: vec![9; 30] };
        let out = steps.frame(&frame).unwrap();
        assert_eq!((out.width, out.height), (5, 5));
        // (5 - 2) / 2 = 1 column on the left, 2 on the right.
        let mean = [122, 116, 104];
        let row: Vec<[u8; 3]> = vec![mean, [9; 3], [9; 3], mean, mean];
        assert_eq!(out.rgb, row.concat().repeat(5));
    }

    #[test]
    fn odd_input_is_an_error_not_a_panic() {
        let steps = Preprocessor::clip(4);
        let none = Clip { frames: vec![], ..clip(1, 1, vec![]) };
        assert!(matches!(steps.apply(&none), Err(PreprocessError::NoFrames)));
        assert!(matches!(
            steps.apply(&clip(2, 2, vec![0; 11])),
            Err(PreprocessError::BadFrame { bytes: 11, .. })
        ));
        assert!(matches!(
            steps.apply(&clip(0, 2, vec![])),
            Err(PreprocessError::BadFrame { width: 0, .. })
        ));
        let sliver = clip(100_000, 1, vec![0; 300_000]);
        assert!(matches!(
            Preprocessor::clip(336).apply(&sliver),
            Err(PreprocessError::TooLarge { .. })
        ));
        let mut mixed = clip(2, 2, vec![0; 12]);
        mixed.frames.push(Frame { width: 1, height: 1, rgb: vec![0; 3] });
        assert!(matches!(bare().apply(&mixed), Err(PreprocessError::MixedSizes { frame: 1, .. })));
        assert_eq!(steps.apply(&mixed).unwrap().values.len(), 2 * 3 * 16);
    }

    #[test]
    fn digests_follow_what_has_an_effect() {
        let steps = Preprocessor::clip(8);
        let digest = steps.pixels_digest("clip");
        let changed = [
            Preprocessor { pad_to_square: true, ..steps.clone() },
            Preprocessor { size: Size::Exact { height: 8, width: 8 }, ..steps.clone() },
            Preprocessor { resample: Filter::Bilinear, ..steps.clone() },
            Preprocessor { crop_size: (8, 7), ..steps.clone() },
            Preprocessor { rescale_factor: 1.0, ..steps.clone() },
            Preprocessor { image_mean: [0.5; 3], ..steps.clone() },
            Preprocessor { image_std: [0.5; 3], ..steps.clone() },
            Preprocessor { do_normalize: false, ..steps.clone() },
        ];
        for other in changed {
            assert_ne!(other.pixels_digest("clip"), digest, "{other:?}");
        }
        assert_ne!(steps.pixels_digest("another clip"), digest);
        let without_effect = Preprocessor { do_convert_rgb: false, ..steps.clone() };
        assert_eq!(without_effect.pixels_digest("clip"), digest);
        let off = Preprocessor { do_resize: false, ..steps.clone() };
        let off_too = Preprocessor { resample: Filter::Box, ..off.clone() };
        assert_eq!(off.pixels_digest("clip"), off_too.pixels_digest("clip"));
    }
}
