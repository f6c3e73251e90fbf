//! Where a video lies, and the frames that were sampled from it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the video of an [`Example`](crate::Example) comes from.
///
/// In JSON a plain string is a file (`"clips/a.mp4"`), or a ClipWorld clip where it starts with
/// `world:` (`"world:train/17"`); a list of strings is a folder's worth of frames in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "VideoRefRepr", into = "VideoRefRepr")]
pub enum VideoRef {
    /// A video file, an animated image, or a folder of frames.
    File(PathBuf),
    /// Image files in temporal order.
    Frames(Vec<PathBuf>),
    /// A procedural clip, by its ClipWorld address `split/index`.
    World(String),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum VideoRefRepr {
    One(String),
    Many(Vec<PathBuf>),
}

const WORLD_PREFIX: &str = "world:";

impl VideoRef {
    /// What a plain string in JSON means: a ClipWorld clip after `world:`, else a file.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        match text.strip_prefix(WORLD_PREFIX) {
            Some(address) => VideoRef::World(address.to_owned()),
            None => VideoRef::File(PathBuf::from(text)),
        }
    }

    /// The same with paths that mean the same file from another working directory; an address of
    /// ClipWorld stays. A path that cannot be made absolute stays, too.
    #[must_use]
    pub fn absolute(&self) -> Self {
        let whole = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        match self {
            VideoRef::File(path) => VideoRef::File(whole(path)),
            VideoRef::Frames(paths) => VideoRef::Frames(paths.iter().map(whole).collect()),
            VideoRef::World(address) => VideoRef::World(address.clone()),
        }
    }
}

impl From<VideoRefRepr> for VideoRef {
    fn from(repr: VideoRefRepr) -> Self {
        match repr {
            VideoRefRepr::One(text) => VideoRef::from_text(&text),
            VideoRefRepr::Many(frames) => VideoRef::Frames(frames),
        }
    }
}

impl From<VideoRef> for VideoRefRepr {
    fn from(video: VideoRef) -> Self {
        match video {
            VideoRef::File(path) => VideoRefRepr::One(path.to_string_lossy().into_owned()),
            VideoRef::Frames(frames) => VideoRefRepr::Many(frames),
            VideoRef::World(address) => VideoRefRepr::One(format!("{WORLD_PREFIX}{address}")),
        }
    }
}

impl std::fmt::Display for VideoRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            VideoRef::File(path) => write!(f, "{}", path.display()),
            VideoRef::Frames(frames) => match frames.first() {
                Some(first) => write!(f, "{} (+{} frames)", first.display(), frames.len() - 1),
                None => write!(f, "(no frames)"),
            },
            VideoRef::World(address) => write!(f, "{WORLD_PREFIX}{address}"),
        }
    }
}

/// One RGB frame, 8 bits a channel, rows from the top, no padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `width * height * 3` bytes, `R G B` interleaved.
    pub rgb: Vec<u8>,
}

/// Frames sampled from a video, with their times and the digest of the source.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// Sampled frames in temporal order, all of one size.
    pub frames: Vec<Frame>,
    /// Time of each frame in seconds from the start of the video; as long as `frames`.
    pub timestamps: Vec<f64>,
    /// Hexadecimal digest of the source's content and of the sampling settings: the key under
    /// which features of this clip may be cached.
    pub digest: String,
    /// Where the frames lie in the video.
    pub video: VideoMetadata,
}

/// A video and the places of the frames sampled from it, as `transformers`' processors reckon: by
/// frame numbers at the average rate, whatever the true times are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VideoMetadata {
    /// Frames in the video.
    pub frames: usize,
    /// Its average rate in frames per second.
    pub fps: f64,
    /// Its length in seconds, `frames / fps`.
    pub duration_seconds: f64,
    /// Number of each sampled frame within the video.
    pub indices: Vec<usize>,
}

impl VideoMetadata {
    /// Of a video of `frames` frames at `fps`, the frames `indices` sampled.
    #[must_use]
    pub fn new(frames: usize, fps: f64, indices: Vec<usize>) -> Self {
        VideoMetadata { frames, fps, duration_seconds: frames as f64 / fps, indices }
    }

    /// Seconds from the start of the video to each sampled frame, `index / fps`.
    #[must_use]
    pub fn timestamps(&self) -> Vec<f64> {
        self.indices.iter().map(|index| *index as f64 / self.fps).collect()
    }

    /// Frames sampled per second of the video.
    #[must_use]
    pub fn sampled_fps(&self) -> f64 {
        self.indices.len() as f64 / self.frames as f64 * self.fps
    }
}

/// Frames ready for a vision tower: resized, cropped, normalised.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels {
    /// Number of frames `F`.
    pub frames: usize,
    /// Rows `H` of each frame.
    pub height: usize,
    /// Columns `W` of each frame.
    pub width: usize,
    /// `[F, 3, H, W]`, row-major.
    pub values: Vec<f32>,
    /// [`Clip::digest`] of the source with the preprocessing mixed in: the cache key.
    pub digest: String,
    /// Where the frames lie in the video.
    pub video: VideoMetadata,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute_and_addresses_stay() {
        let here = std::env::current_dir().unwrap();
        let file = VideoRef::from_text("clips/a.mp4").absolute();
        assert_eq!(file, VideoRef::File(here.join("clips/a.mp4")));
        assert_eq!(file.absolute(), file);
        let frames = VideoRef::Frames(vec!["b/1.png".into(), "/c/2.png".into()]).absolute();
        assert_eq!(frames, VideoRef::Frames(vec![here.join("b/1.png"), "/c/2.png".into()]));
        let world = VideoRef::from_text("world:test/3");
        assert_eq!(world.absolute(), world);
    }

    #[test]
    fn video_refs_read_from_strings_and_lists() {
        for (json, video) in [
            (r#""clips/a.mp4""#, VideoRef::File("clips/a.mp4".into())),
            (r#""world:test/3""#, VideoRef::World("test/3".into())),
            (r#"["a.png","b.png"]"#, VideoRef::Frames(vec!["a.png".into(), "b.png".into()])),
        ] {
            assert_eq!(serde_json::from_str::<VideoRef>(json).unwrap(), video);
            assert_eq!(serde_json::to_string(&video).unwrap(), json);
        }
    }
}
