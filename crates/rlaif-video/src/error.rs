//! What can be wrong with a clip: each case names the file and the remedy.

use std::{io, path::PathBuf};

/// Why no frames could be had from a video.
#[derive(Debug, thiserror::Error)]
pub enum VideoError {
    /// `ffmpeg` or `ffprobe` could not be found.
    #[error(
        "`{program}` is needed to read `{}` and was not found on PATH; install it (Debian and \
         Ubuntu: `apt-get install ffmpeg`, Fedora: `dnf install ffmpeg-free`, macOS: \
         `brew install ffmpeg`, Windows: `winget install ffmpeg`)", path.display()
    )]
    FfmpegMissing {
        /// The program that was looked for.
        program: PathBuf,
        /// The video that was to be read.
        path: PathBuf,
    },
    /// Nothing lies at this path.
    #[error("video `{}` does not exist; check the path and the folder it is relative to", path.display())]
    FileMissing {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The file lies there, but reading it failed.
    #[error("cannot read `{}`; check its permissions and the disk", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file ends before the frames that it promises.
    #[error(
        "`{}` is truncated: {detail}; copy or download it again, or drop its row", path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What is missing, and what ffmpeg said of it.
        detail: String,
    },
    /// The file has sound, subtitles or a cover picture, but no video.
    #[error(
        "`{}` has no video stream ({found}); give a video file, or drop its row", path.display()
    )]
    NoVideoStream {
        /// The file.
        path: PathBuf,
        /// What it holds instead.
        found: String,
    },
    /// The file has a video stream without a single frame, or the list of frames is empty.
    #[error("`{}` holds no frames; encode it again, or drop its row", path.display())]
    ZeroFrames {
        /// The file or folder.
        path: PathBuf,
    },
    /// The file says that it lasts 0 seconds.
    #[error(
        "`{}` is a 0-second clip; encode it again, or give its frames as image files", path.display()
    )]
    ZeroDuration {
        /// The file.
        path: PathBuf,
    },
    /// Decoding did not end in time; the child process was ended.
    #[error(
        "reading `{}` took longer than {seconds} s; raise the timeout, shorten the clip, or \
         encode it again with a smaller frame size", path.display()
    )]
    Timeout {
        /// The file.
        path: PathBuf,
        /// The limit that was passed, in seconds.
        seconds: f64,
    },
    /// A frame, or all sampled frames together, would pass the limits.
    #[error(
        "`{}` is too large: {detail}; sample fewer frames, ask for a smaller size, or raise the \
         limit", path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What passed which limit.
        detail: String,
    },
    /// Frames of one clip differ in size and nothing says which size to use.
    #[error(
        "the frames of `{}` are not all of one size: frame {frame} is {got}, frame 0 is \
         {expected}; give a size to resize to, or sort the images into one folder per size",
        path.display()
    )]
    MixedSizes {
        /// The folder, or the first file that differs.
        path: PathBuf,
        /// Which sampled frame differs.
        frame: usize,
        /// Width x height of frame 0.
        expected: String,
        /// Width x height of the frame that differs.
        got: String,
    },
    /// The bytes are no video, or one that this ffmpeg cannot decode.
    #[error(
        "cannot decode `{}`: {detail}; check that it plays, or encode it again, for instance with \
         `ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4`", path.display()
    )]
    Undecodable {
        /// The file.
        path: PathBuf,
        /// What ffmpeg or the image decoder said, shortened.
        detail: String,
    },
    /// A procedural clip was given where a file is read.
    #[error(
        "`world:{address}` is a ClipWorld clip, not a file; render it with rlaif-world, or export \
         it with `world export` and give the file"
    )]
    NotAFile {
        /// The clip's address.
        address: String,
    },
    /// The sampling settings make no sense.
    #[error("sampling: {0}")]
    Sampling(String),
    /// The preprocessing settings cannot be applied.
    #[error(transparent)]
    Preprocess(#[from] crate::preprocess::PreprocessError),
    /// Every clip of a data set was skipped.
    #[error("all {rows} clips were bad and skipped ({reasons}); the first: {first}")]
    AllSkipped {
        /// How many there were.
        rows: usize,
        /// Counts by reason.
        reasons: String,
        /// The message of the first one.
        first: String,
    },
}

impl VideoError {
    /// A short name of the case, under which skipped clips are counted.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            VideoError::FfmpegMissing { .. } => "ffmpeg_missing",
            VideoError::FileMissing { .. } => "file_missing",
            VideoError::Io { .. } => "io",
            VideoError::Truncated { .. } => "truncated",
            VideoError::NoVideoStream { .. } => "no_video_stream",
            VideoError::ZeroFrames { .. } => "zero_frames",
            VideoError::ZeroDuration { .. } => "zero_duration",
            VideoError::Timeout { .. } => "timeout",
            VideoError::TooLarge { .. } => "too_large",
            VideoError::MixedSizes { .. } => "mixed_sizes",
            VideoError::Undecodable { .. } => "undecodable",
            VideoError::NotAFile { .. } => "not_a_file",
            VideoError::Sampling(_) => "sampling",
            VideoError::Preprocess(_) => "preprocess",
            VideoError::AllSkipped { .. } => "all_skipped",
        }
    }

    /// True where the clip itself is at fault and another clip may well load; false where the
    /// machine or the settings are (no ffmpeg, wrong sampling), so that skipping would only hide it.
    #[must_use]
    pub fn is_clip_fault(&self) -> bool {
        match self {
            VideoError::FfmpegMissing { .. }
            | VideoError::NotAFile { .. }
            | VideoError::Sampling(_)
            | VideoError::AllSkipped { .. } => false,
            VideoError::Preprocess(error) => error.is_clip_fault(),
            _ => true,
        }
    }

    /// The error of opening or reading `path`, with a missing file told apart.
    pub(crate) fn io(path: &std::path::Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::NotFound {
            VideoError::FileMissing { path: path.to_owned() }
        } else {
            VideoError::Io { path: path.to_owned(), source }
        }
    }
}
