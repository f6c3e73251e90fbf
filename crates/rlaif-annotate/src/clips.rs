//! What of a clip goes to the page: the file itself where browsers play it, else sampled frames.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};
use rlaif_data::{Clip, Frame, VideoRef};
use rlaif_video::images::list_folder;
use rlaif_video::{FrameSize, Loader, Sampling, VideoError};

/// Frames of one clip, at most: enough to follow what happens.
const FRAMES: usize = 64;
/// Frames a second that are sampled of video files that browsers do not play.
const FPS: f64 = 8.0;
/// Pixels of the shorter side of a frame, at most.
const SHORT_SIDE: u32 = 480;
/// Clips whose frames are kept.
const KEPT: usize = 8;
/// Frames of up to so many pixels are sent as PNG: few, and each of them matters.
const LOSSLESS_PIXELS: u32 = 128 * 128;
const JPEG_QUALITY: u8 = 88;

/// The frames of a clip as files.
#[derive(Debug)]
pub(crate) struct Frames {
    /// `image/png` or `image/jpeg`.
    pub(crate) kind: &'static str,
    /// One file per frame.
    pub(crate) images: Vec<Vec<u8>>,
    /// When each is shown, in seconds; as long as `images`.
    pub(crate) seconds: Vec<f64>,
    /// Pixels in a row.
    pub(crate) width: u32,
    /// Rows.
    pub(crate) height: u32,
}

/// Reads clips and keeps the last few.
#[derive(Debug, Default)]
pub(crate) struct Clips {
    loader: Loader,
    kept: Mutex<VecDeque<(String, Arc<Frames>)>>,
}

impl Clips {
    /// The frames of the clip of a task.
    ///
    /// # Errors
    ///
    /// In words that name no path.
    pub(crate) fn frames(&self, task: &str, video: &VideoRef) -> Result<Arc<Frames>, String> {
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, frames)) = lock().iter().find(|(name, _)| name == task) {
            return Ok(frames.clone());
        }
        let clip = self.load(video).map_err(|error| {
            tracing::warn!(%video, %error, "a clip cannot be shown");
            error.public
        })?;
        let frames = Arc::new(encode(&clip)?);
        let mut kept = lock();
        if let Some((_, made)) = kept.iter().find(|(name, _)| name == task) {
            // Somebody else asked for it at the same time.
            return Ok(made.clone());
        }
        kept.push_back((task.to_owned(), frames.clone()));
        while kept.len() > KEPT {
            kept.pop_front();
        }
        Ok(frames)
    }

    fn load(&self, video: &VideoRef) -> Result<Clip, Unshowable> {
        let sampling = |frames: usize| Sampling::Uniform { frames: frames.clamp(1, FRAMES) };
        match video {
            VideoRef::World(address) => Ok(rlaif_world::clip_at(address)?),
            VideoRef::Frames(images) => {
                let size = image_size(images.first().ok_or_else(Unshowable::empty)?)?;
                Ok(self.loader.load(video, &sampling(images.len()), size)?)
            }
            VideoRef::File(path) if path.is_dir() => {
                let images = list_folder(path)?;
                let size = image_size(images.first().ok_or_else(Unshowable::empty)?)?;
                Ok(self.loader.load(video, &sampling(images.len()), size)?)
            }
            VideoRef::File(path) => {
                let size = if let Ok(size) = image_size(path) {
                    size
                } else {
                    let probe = self.loader.probe(path)?;
                    bounded(probe.width, probe.height)
                };
                let fps = Sampling::Fps { fps: FPS, max_frames: FRAMES, min_frames: 1 };
                Ok(self.loader.load(video, &fps, size)?)
            }
        }
    }
}

/// Why there is nothing to show: for the log, and for the page.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
struct Unshowable {
    detail: String,
    public: String,
}

impl Unshowable {
    fn empty() -> Self {
        let text = "the clip has no frames".to_owned();
        Unshowable { detail: text.clone(), public: text }
    }
}

impl From<VideoError> for Unshowable {
    fn from(error: VideoError) -> Self {
        Unshowable {
            detail: error.to_string(),
            public: format!("the clip cannot be read ({})", error.reason()),
        }
    }
}

impl From<rlaif_world::WorldError> for Unshowable {
    fn from(error: rlaif_world::WorldError) -> Self {
        Unshowable {
            detail: error.to_string(),
            public: "there is no such clip in ClipWorld".to_owned(),
        }
    }
}

/// The size for frames of an image's own size.
fn image_size(path: &Path) -> Result<FrameSize, Unshowable> {
    image::ImageReader::open(path)
        .and_then(image::ImageReader::with_guessed_format)
        .map_err(|error| Unshowable {
            detail: format!("`{}`: {error}", path.display()),
            public: "an image of the clip cannot be read".to_owned(),
        })?
        .into_dimensions()
        .map(|(width, height)| bounded(width, height))
        .map_err(|error| Unshowable {
            detail: format!("`{}`: {error}", path.display()),
            public: "an image of the clip cannot be read".to_owned(),
        })
}

/// The same shape with a short side of [`SHORT_SIDE`], at most.
fn bounded(width: u32, height: u32) -> FrameSize {
    let short = width.min(height).max(1);
    if short <= SHORT_SIDE {
        return FrameSize::Exact { width: width.max(1), height: height.max(1) };
    }
    let scaled = |side: u32| {
        let side = u64::from(side) * u64::from(SHORT_SIDE) / u64::from(short);
        u32::try_from(side).unwrap_or(u32::MAX).max(1)
    };
    FrameSize::Exact { width: scaled(width), height: scaled(height) }
}

fn encode(clip: &Clip) -> Result<Frames, String> {
    let first = clip.frames.first().ok_or_else(|| Unshowable::empty().public)?;
    let (width, height) = (first.width, first.height);
    let lossless = width.saturating_mul(height) <= LOSSLESS_PIXELS;
    let image = |frame: &Frame| {
        let mut bytes = Cursor::new(Vec::new());
        let kind = ExtendedColorType::Rgb8;
        let written = if lossless {
            PngEncoder::new(&mut bytes).write_image(&frame.rgb, frame.width, frame.height, kind)
        } else {
            JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).write_image(
                &frame.rgb,
                frame.width,
                frame.height,
                kind,
            )
        };
        written.map_err(|error| format!("a frame cannot be encoded: {error}"))?;
        Ok::<_, String>(bytes.into_inner())
    };
    Ok(Frames {
        kind: if lossless { "image/png" } else { "image/jpeg" },
        images: clip.frames.iter().map(image).collect::<Result<_, _>>()?,
        seconds: clip.timestamps.clone(),
        width,
        height,
    })
}

/// The file and its media type where browsers can be expected to play it, told by its first bytes:
/// whatever a data set names, nothing else than a video leaves this machine.
pub(crate) fn playable(video: &VideoRef) -> Option<(PathBuf, &'static str)> {
    let VideoRef::File(path) = video else { return None };
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut head = [0; 12];
    File::open(path).ok()?.read_exact(&mut head).ok()?;
    let kind = match &head {
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] if !is_image(*brand) => "video/mp4",
        [0x1a, 0x45, 0xdf, 0xa3, ..] => "video/webm",
        [b'O', b'g', b'g', b'S', ..] => "video/ogg",
        _ => return None,
    };
    Some((path.clone(), kind))
}

/// AVIF and HEIC are of MP4's family.
fn is_image(brand: [u8; 4]) -> bool {
    matches!(&brand, b"avif" | b"avis" | b"heic" | b"heix" | b"mif1" | b"msf1")
}

#[cfg(test)]
mod tests;
