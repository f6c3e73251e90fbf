//! What can be wrong with preprocessing settings, or with the frames they are applied to.

use std::path::PathBuf;

use crate::preprocess::FRAME_PIXELS_LIMIT;

/// Why a preprocessor could not be read or applied.
#[derive(Debug, thiserror::Error)]
pub enum PreprocessError {
    /// The file could not be read or written.
    #[error("cannot access `{}`; check the path and its permissions", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder has neither file that could hold the settings.
    #[error(
        "`{}` holds neither `preprocessor_config.json` nor a `processor_config.json` with an \
         `image_processor`; save the image processor there, or point to the checkpoint's folder",
        path.display()
    )]
    NoConfig {
        /// The folder.
        path: PathBuf,
    },
    /// The file is no JSON object.
    #[error("`{}` is not a JSON object; save it again with `save_pretrained`", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// What the parser said, where it was the parser.
        source: Option<serde_json::Error>,
    },
    /// A field has a value that cannot be used.
    #[error("`{}`: `{field}` must be {expected}, got `{got}`", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The JSON key.
        field: &'static str,
        /// What would do.
        expected: String,
        /// What stands there.
        got: String,
    },
    /// There is nothing to preprocess.
    #[error("the clip holds no frames; sample at least one")]
    NoFrames,
    /// A frame's buffer does not match its size, or a side is 0.
    #[error("frame {frame} says {width} x {height} but holds {bytes} bytes")]
    BadFrame {
        /// Index of the frame.
        frame: usize,
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Length of the buffer.
        bytes: usize,
    },
    /// A frame far longer than wide, or wider than long.
    #[error(
        "a frame of {width} x {height} pixels is more than 200 times as long on one side as on the \
         other, which this model's processor refuses; crop the video or drop its row"
    )]
    Sliver {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// A bound on a frame's pixels that the steps cannot keep.
    #[error("a bound on the pixels of a frame {problem}")]
    MaxPixels {
        /// Why not.
        problem: String,
    },
    /// A step would make a frame of too many pixels.
    #[error(
        "a frame of {width} x {height} pixels would be needed on the way, above the limit of \
         {FRAME_PIXELS_LIMIT}; crop the video or drop its row"
    )]
    TooLarge {
        /// Pixels in a row.
        width: u64,
        /// Rows.
        height: u64,
    },
    /// Frames end up with different sizes, which only happens without a crop.
    #[error(
        "frame {frame} comes out as {got}, frame 0 as {expected}; set `do_center_crop`, or give \
         frames of one size"
    )]
    MixedSizes {
        /// Index of the frame that differs.
        frame: usize,
        /// Width x height of frame 0.
        expected: String,
        /// Width x height of the frame that differs.
        got: String,
    },
}

impl PreprocessError {
    /// True where the frames are at fault, not the settings.
    #[must_use]
    pub fn is_clip_fault(&self) -> bool {
        matches!(
            self,
            PreprocessError::NoFrames
                | PreprocessError::BadFrame { .. }
                | PreprocessError::TooLarge { .. }
                | PreprocessError::MixedSizes { .. }
        )
    }
}
