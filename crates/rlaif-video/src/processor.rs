//! What a checkpoint does to frames before its tower sees them.

use std::path::Path;

use rlaif_data::{Clip, Frame, Pixels, VideoMetadata};

use crate::preprocess::at_frame;
use crate::{PreprocessError, Preprocessor, Sampling};

/// The steps of a checkpoint's own processor.
#[derive(Clone, Debug, PartialEq)]
pub enum FrameProcessor {
    /// `CLIPImageProcessor`, LLaVA's.
    Clip(Preprocessor),
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
    /// As [`Preprocessor::from_folder`].
    pub fn from_folder(folder: &Path) -> Result<Self, PreprocessError> {
        Ok(FrameProcessor::Clip(Preprocessor::from_folder(folder)?))
    }

    /// Writes the configuration into a folder.
    ///
    /// # Errors
    ///
    /// Fails where the file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), PreprocessError> {
        match self {
            FrameProcessor::Clip(steps) => steps.save(folder).map(drop),
        }
    }

    /// The checkpoint's own rule for which frames are taken, where it has one.
    #[must_use]
    pub fn sampling(&self) -> Option<Sampling> {
        match self {
            FrameProcessor::Clip(_) => None,
        }
    }

    /// Runs the steps on one frame's 8-bit pixels.
    ///
    /// # Errors
    ///
    /// [`PreprocessError::BadFrame`] (as frame 0) or [`PreprocessError::TooLarge`].
    pub fn frame(&self, frame: &Frame) -> Result<Frame, PreprocessError> {
        match self {
            FrameProcessor::Clip(steps) => steps.frame(frame),
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
        }
    }

    /// Turns a clip into input for a vision tower, `[F, 3, H, W]`.
    ///
    /// # Errors
    ///
    /// [`PreprocessError::NoFrames`], [`PreprocessError::BadFrame`],
    /// [`PreprocessError::TooLarge`] or [`PreprocessError::MixedSizes`].
    pub fn apply(&self, clip: &Clip) -> Result<Pixels, PreprocessError> {
        let mut frames = Vec::with_capacity(clip.frames.len());
        for (index, frame) in clip.frames.iter().enumerate() {
            frames.push(self.frame(frame).map_err(|error| at_frame(error, index))?);
        }
        self.normalize(&frames, &clip.digest, clip.video.clone())
    }

    /// [`Pixels::digest`] of what [`apply`](Self::apply) makes of a clip, without making it.
    #[must_use]
    pub fn pixels_digest(&self, clip_digest: &str) -> String {
        match self {
            FrameProcessor::Clip(steps) => steps.pixels_digest(clip_digest),
        }
    }
}
