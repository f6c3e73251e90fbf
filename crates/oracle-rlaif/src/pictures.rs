//! A clip as pictures that a judge behind a server can be shown: JPEG files and their times.
//!
//! ```text
//! VideoRef -> frames, evenly spread -> longer side at most `max_side` -> JPEG
//! ```
//!
//! Pictures of the clips that were asked for last are kept: a group is often shown many times, and
//! a clip that several threads ask for at once is decoded by one of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use rlaif_data::{Clip, Frame, VideoRef};
use rlaif_video::resample::resize;
use rlaif_video::{Filter, FrameSize, Loader, Sampling, VideoError};

use crate::tame::tame;

/// Bytes of pictures that are kept.
const KEPT_BYTES: usize = 64 << 20;

/// A JPEG file and its time in seconds from the start of the clip.
pub type Picture = (Vec<u8>, f64);

/// Makes pictures of clips: `(video, count, max_side, quality)` to JPEG files with their times.
///
/// - `count` frames, evenly spread, the first and the last among them; the first alone where it is
///   1. A clip with fewer frames shows each of them once.
/// - Frames whose longer side passes `max_side` pixels are made smaller, in the same proportions;
///   none is enlarged.
/// - `quality` is JPEG's, 1 to 100.
///
/// The same clip gives the same bytes. An error is one line that names the clip and the remedy.
pub fn pictures(
    loader: Loader,
) -> impl Fn(&VideoRef, usize, u32, u8) -> Result<Vec<Picture>, String> + Send + Sync {
    let kept = Kept::default();
    move |video: &VideoRef, count: usize, max_side: u32, quality: u8| {
        let wanted = Wanted {
            sampling: Sampling::Uniform { frames: count },
            size: FrameSize::LongestEdge { pixels: max_side },
            quality,
        };
        wanted.check()?;
        let key = wanted.key(&loader, video)?;
        let made = kept.get(&key, || wanted.make(&loader, video).map(Arc::new))?;
        Ok((*made).clone())
    }
}

/// What is asked of a clip.
struct Wanted {
    sampling: Sampling,
    size: FrameSize,
    quality: u8,
}

impl Wanted {
    fn check(&self) -> Result<(), String> {
        self.sampling.validate().map_err(|error| error.to_string())?;
        self.size.of(1, 1).map_err(|error| error.to_string())?;
        if (1..=100).contains(&self.quality) {
            return Ok(());
        }
        Err(format!("the quality of JPEG pictures must be in 1..=100, got {}", self.quality))
    }

    /// By the content of a clip's files: one that was replaced is another clip.
    fn key(&self, loader: &Loader, video: &VideoRef) -> Result<String, String> {
        let content = match video {
            VideoRef::World(address) => format!("world:{address}"),
            files => loader.clip_digest(files, &self.sampling, self.size).map_err(in_words)?,
        };
        Ok(format!("{:?} {:?} {} {content}", self.sampling, self.size, self.quality))
    }

    fn make(&self, loader: &Loader, video: &VideoRef) -> Result<Vec<Picture>, String> {
        let clip = match video {
            VideoRef::World(address) => self.world(address)?,
            files => loader.load(files, &self.sampling, self.size).map_err(in_words)?,
        };
        let mut pictures: Vec<Picture> = Vec::with_capacity(clip.frames.len());
        for (place, (frame, seconds)) in clip.frames.iter().zip(&clip.timestamps).enumerate() {
            let indices = &clip.video.indices;
            if place > 0 && indices.get(place) == indices.get(place - 1) {
                continue;
            }
            let bytes = self.jpeg(frame).map_err(|error| {
                let clip = tame(&video.to_string());
                format!("frame {place} of `{clip}` cannot be encoded as JPEG: {error}")
            })?;
            pictures.push((bytes, *seconds));
        }
        Ok(pictures)
    }

    /// A procedural clip, by the same rules as a file.
    fn world(&self, address: &str) -> Result<Clip, String> {
        let named = |reason: String| tame(&format!("`world:{address}`: {reason}"));
        let clip = rlaif_world::clip_at(address).map_err(|error| named(error.to_string()))?;
        let indices = self
            .sampling
            .indices(clip.frames.len(), clip.video.fps)
            .map_err(|error| named(error.to_string()))?;
        let frame = |index: &usize| {
            let frame = &clip.frames[*index];
            let (width, height) = self.size.of(frame.width, frame.height)?;
            Ok(resize(frame, width, height, Filter::Bicubic))
        };
        let frames: Result<Vec<Frame>, VideoError> = indices.iter().map(frame).collect();
        Ok(Clip {
            frames: frames.map_err(|error| named(error.to_string()))?,
            timestamps: indices.iter().map(|index| clip.timestamps[*index]).collect(),
            digest: clip.digest,
            video: rlaif_data::VideoMetadata { indices, ..clip.video },
        })
    }

    fn jpeg(&self, frame: &Frame) -> Result<Vec<u8>, image::ImageError> {
        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, self.quality);
        encoder.encode(&frame.rgb, frame.width, frame.height, ExtendedColorType::Rgb8)?;
        Ok(bytes)
    }
}

/// The error with its causes, in one line.
fn in_words(error: VideoError) -> String {
    tame(&format!("{:#}", anyhow::Error::new(error)))
}

type Made = Result<Arc<Vec<Picture>>, String>;

/// Pictures by what was asked for, the latest last.
#[derive(Default)]
struct Kept(Mutex<VecDeque<(String, Arc<OnceLock<Made>>)>>);

impl Kept {
    /// What is kept under `key`, or what `make` makes; failures are not kept.
    fn get(&self, key: &str, make: impl FnOnce() -> Made) -> Made {
        let cell = self.cell(key);
        let made = cell.get_or_init(make).clone();
        let mut kept = self.lock();
        if made.is_err() {
            kept.retain(|(_, other)| !Arc::ptr_eq(other, &cell));
        }
        let mut bytes: usize = kept.iter().map(|(_, cell)| size(cell)).sum();
        while bytes > KEPT_BYTES
            && let Some((_, oldest)) = kept.pop_front()
        {
            // What was under way when they were counted may be there by now.
            bytes = bytes.saturating_sub(size(&oldest));
        }
        made
    }

    /// The place of `key`, now the latest.
    fn cell(&self, key: &str) -> Arc<OnceLock<Made>> {
        let mut kept = self.lock();
        let known = kept.iter().position(|(other, _)| other == key);
        let entry = known
            .and_then(|place| kept.remove(place))
            .unwrap_or_else(|| (key.to_owned(), Arc::default()));
        let cell = entry.1.clone();
        kept.push_back(entry);
        cell
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(String, Arc<OnceLock<Made>>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of the pictures in a place; 0 while they are made.
fn size(cell: &OnceLock<Made>) -> usize {
    let made = cell.get().and_then(|made| made.as_ref().ok());
    made.map_or(0, |pictures| pictures.iter().map(|(bytes, _)| bytes.len()).sum())
}

#[cfg(test)]
mod tests;
