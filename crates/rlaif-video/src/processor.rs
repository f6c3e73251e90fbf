//! What a checkpoint does to frames before its tower sees them.

use std::path::Path;

use rlaif_data::{Clip, Frame, Pixels, VideoMetadata};
use serde_json::Value;

use crate::frames::each_frame;
use crate::settings::{CONFIG_FILE, PROCESSOR_FILE, VIDEO_CONFIG_FILE, read, write};
use crate::{PreprocessError, Preprocessor, QwenVlProcessor, Sampling, SmolVlmProcessor};

/// The steps of a checkpoint's own processor.
#[derive(Clone, Debug, PartialEq)]
pub enum FrameProcessor {
    /// `CLIPImageProcessor`, LLaVA's.
    Clip(Preprocessor),
    /// `SmolVLMVideoProcessor`.
    SmolVlm(SmolVlmProcessor),
    /// `Qwen2VLVideoProcessor`, that of Qwen2.5-VL too.
    QwenVl(QwenVlProcessor),
}

impl From<Preprocessor> for FrameProcessor {
    fn from(preprocessor: Preprocessor) -> Self {
        FrameProcessor::Clip(preprocessor)
    }
}

impl FrameProcessor {
    /// Reads the processor's configuration in a checkpoint's folder.
    ///
    /// # Errors
    ///
    /// [`PreprocessError`] names the folder or file and the field.
    pub fn from_folder(folder: &Path) -> Result<Self, PreprocessError> {
        Ok(match kind(folder)?.as_deref() {
            Some("Qwen2VL" | "Qwen2_5_VL") => {
                FrameProcessor::QwenVl(QwenVlProcessor::from_folder(folder)?)
            }
            Some("SmolVLM") => FrameProcessor::SmolVlm(SmolVlmProcessor::from_folder(folder)?),
            _ => FrameProcessor::Clip(Preprocessor::from_folder(folder)?),
        })
    }

    /// Writes the configuration into a folder.
    ///
    /// # Errors
    ///
    /// Fails where the file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), PreprocessError> {
        match self {
            FrameProcessor::Clip(steps) => steps.save(folder).map(drop),
            FrameProcessor::SmolVlm(steps) => {
                steps.files().try_for_each(|(name, map)| write(&folder.join(name), map))
            }
            FrameProcessor::QwenVl(steps) => {
                steps.files().try_for_each(|(name, map)| write(&folder.join(name), map))
            }
        }
    }

    /// The checkpoint's own rule for which frames are taken, where it has one.
    #[must_use]
    pub fn sampling(&self) -> Option<Sampling> {
        match self {
            FrameProcessor::Clip(_) => None,
            FrameProcessor::SmolVlm(steps) => Some(steps.sampling),
            FrameProcessor::QwenVl(steps) => Some(steps.sampling),
        }
    }

    /// Bounds the pixels of a frame, where the steps resize to whole patches within a budget.
    ///
    /// # Errors
    ///
    /// [`PreprocessError::MaxPixels`] where they do not, or where it is below their `min_pixels`.
    pub fn set_max_pixels(&mut self, pixels: u64) -> Result<(), PreprocessError> {
        let problem = match self {
            FrameProcessor::QwenVl(steps) if pixels >= steps.min_pixels => {
                steps.max_pixels = pixels;
                return Ok(());
            }
            FrameProcessor::QwenVl(steps) => {
                format!("must be at least the checkpoint's {}", steps.min_pixels)
            }
            FrameProcessor::Clip(_) | FrameProcessor::SmolVlm(_) => {
                "is for models that take frames of any size; this one takes one size".to_owned()
            }
        };
        Err(PreprocessError::MaxPixels { problem })
    }

    /// Runs the steps on one frame's 8-bit pixels; `of` is how many frames the clip has.
    ///
    /// # Errors
    ///
    /// [`PreprocessError::BadFrame`] (as frame 0) or [`PreprocessError::TooLarge`].
    pub fn frame(&self, frame: &Frame, of: usize) -> Result<Frame, PreprocessError> {
        match self {
            FrameProcessor::Clip(steps) => steps.frame(frame),
            FrameProcessor::SmolVlm(steps) => steps.frame(frame),
            FrameProcessor::QwenVl(steps) => steps.frame(frame, of),
        }
    }

    /// Rescales, normalises and lays out frames that went through [`frame`](Self::frame).
    pub(crate) fn normalize(
        &self,
        frames: &[Frame],
        clip_digest: &str,
        video: VideoMetadata,
    ) -> Result<Pixels, PreprocessError> {
        match self {
            FrameProcessor::Clip(steps) => steps.normalize(frames, clip_digest, video),
            FrameProcessor::SmolVlm(steps) => steps.normalize(frames, clip_digest, video),
            FrameProcessor::QwenVl(steps) => steps.normalize(frames, clip_digest, video),
        }
    }

    /// Turns a clip into input for a vision tower, `[F, 3, H, W]`.
    ///
    /// # Errors
    ///
    /// [`PreprocessError::NoFrames`], [`PreprocessError::BadFrame`],
    /// [`PreprocessError::TooLarge`] or [`PreprocessError::MixedSizes`].
    pub fn apply(&self, clip: &Clip) -> Result<Pixels, PreprocessError> {
        let of = clip.frames.len();
        let frames = each_frame(clip, |frame| self.frame(frame, of))?;
        self.normalize(&frames, &clip.digest, clip.video.clone())
    }

    /// [`Pixels::digest`] of what [`apply`](Self::apply) makes of a clip, without making it.
    #[must_use]
    pub fn pixels_digest(&self, clip_digest: &str) -> String {
        match self {
            FrameProcessor::Clip(steps) => steps.pixels_digest(clip_digest),
            FrameProcessor::SmolVlm(steps) => steps.pixels_digest(clip_digest),
            FrameProcessor::QwenVl(steps) => steps.pixels_digest(clip_digest),
        }
    }
}

/// The family that the processor's files name: `SmolVLM` of `SmolVLMVideoProcessor`.
fn kind(folder: &Path) -> Result<Option<String>, PreprocessError> {
    for name in [VIDEO_CONFIG_FILE, PROCESSOR_FILE, CONFIG_FILE] {
        let path = folder.join(name);
        if !path.exists() {
            continue;
        }
        let map = read(&path)?;
        let inner = map.get("video_processor").and_then(Value::as_object);
        for map in inner.into_iter().chain([&map]) {
            for key in ["video_processor_type", "processor_class", "image_processor_type"] {
                let named = map.get(key).and_then(Value::as_str);
                if let Some(family) = named.and_then(family) {
                    return Ok(Some(family.to_owned()));
                }
            }
        }
    }
    Ok(None)
}

fn family(class: &str) -> Option<&str> {
    ["VideoProcessor", "ImageProcessorFast", "ImageProcessor", "Processor"]
        .iter()
        .find_map(|end| class.strip_suffix(end))
}
