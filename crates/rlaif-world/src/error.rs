//! What can go wrong in ClipWorld.

use std::path::PathBuf;

/// A clip that cannot be named, an answer that cannot be graded, or a file that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The text names no clip.
    #[error(
        "`{address}` is no address of a ClipWorld clip: {why}; write `test/3`, or `test/3@7` for seed 7"
    )]
    Address {
        /// The text as it was given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// A setting is out of its range.
    #[error("the world's `{field}` is wrong: {why}")]
    Config {
        /// The setting.
        field: &'static str,
        /// What is wrong with it, and what to set.
        why: String,
    },
    /// The row says nothing of ClipWorld, or something that ClipWorld does not know.
    #[error("example {example:?} is no question of ClipWorld: {why}")]
    NotOfTheWorld {
        /// [`Example::id`](rlaif_data::Example::id).
        example: String,
        /// What is missing or unknown.
        why: String,
    },
    /// There is nothing to order.
    #[error("example {example:?} has no candidates to rank: give at least one answer")]
    NoCandidates {
        /// The example's id.
        example: String,
    },
    /// The video encoder is not installed.
    #[error(
        "cannot start `ffmpeg`, which writes the clips: install FFmpeg (for instance `apt-get install ffmpeg`) so that `ffmpeg` is on the PATH"
    )]
    NoFfmpeg {
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The video encoder refused.
    #[error("`ffmpeg` could not write `{}` ({status}): {stderr}; it needs the encoder libx264", path.display())]
    Ffmpeg {
        /// The video that was to be written.
        path: PathBuf,
        /// The exit status in words.
        status: String,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
    /// A folder or a video could not be put in its place.
    #[error("cannot write `{}`", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The rows could not be written.
    #[error(transparent)]
    Write(#[from] rlaif_data::WriteError),
}
