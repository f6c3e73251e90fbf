//! One call from a video reference to a clip, or to a vision tower's input.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rlaif_data::{Clip, Frame, Pixels, VideoRef};
use serde::Serialize;

use crate::{
    Filter, FrameProcessor, Probe, Sampling, VideoError,
    decode::{Decoded, Finish, Source, decode},
    digest::{digest_file, digest_parts},
    frame_size::FrameSize,
    images::{check_size, list_folder, load_animation, load_list, sniff},
    probe::probe_file,
    process::Deadline,
    resample::resize,
};

/// Programs, limits and habits of a [`Loader`].
#[derive(Clone, Debug, PartialEq)]
pub struct LoadOptions {
    /// The `ffmpeg` program. Default: the one on PATH.
    pub ffmpeg: PathBuf,
    /// The `ffprobe` program. Default: the one on PATH.
    pub ffprobe: PathBuf,
    /// Time that reading one clip may take, all its processes together. Default 60 s.
    pub timeout: Duration,
    /// Images a second that a folder or list of images is taken to have been recorded at: what
    /// their timestamps and [`Sampling::Fps`] go by. Default 1.
    pub image_fps: f64,
    /// Bytes that the frames of one clip may take, at 3 a pixel. Default 2 GiB.
    pub max_clip_bytes: u64,
    /// Videos up to this length are read in one pass. Default 60 s.
    pub seek_above_seconds: f64,
    /// Longer ones are read in one pass too, unless the sampled frames lie further apart than
    /// this: then each is sought. Default 2 s.
    pub seek_stride_seconds: f64,
    /// Processes that seek at the same time. Default: one per processor, at most 4.
    pub seek_processes: usize,
}

impl Default for LoadOptions {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        LoadOptions {
            ffmpeg: "ffmpeg".into(),
            ffprobe: "ffprobe".into(),
            timeout: Duration::from_mins(1),
            image_fps: 1.0,
            max_clip_bytes: 2 << 30,
            seek_above_seconds: 60.0,
            seek_stride_seconds: 2.0,
            seek_processes: processors.min(4),
        }
    }
}

impl LoadOptions {
    /// Pixels of a frame's longer side, at most.
    pub const SIDE_LIMIT: u32 = 16_384;

    /// Refuses a clip of `copies` frames like this one where they pass the limit.
    pub(crate) fn within_memory(
        &self,
        path: &Path,
        frame: &Frame,
        copies: usize,
    ) -> Result<(), VideoError> {
        let bytes = (frame.rgb.len() as u64).saturating_mul(copies as u64);
        if bytes <= self.max_clip_bytes {
            return Ok(());
        }
        Err(VideoError::TooLarge {
            path: path.to_owned(),
            detail: format!(
                "{copies} frames of {} x {} take {bytes} bytes, above {}",
                frame.width, frame.height, self.max_clip_bytes
            ),
        })
    }
}

/// Reads clips, and remembers the digests of the files that it has read.
#[derive(Debug, Default)]
pub struct Loader {
    options: LoadOptions,
    digests: Mutex<HashMap<FileState, String>>,
}

/// A file's path, length and time of the last change.
type FileState = (PathBuf, u64, Option<SystemTime>);

/// What a video reference turns out to be.
enum Found {
    Video(PathBuf),
    Animation(PathBuf, image::ImageFormat),
    Images(PathBuf, Vec<PathBuf>),
}

impl Loader {
    /// A loader with options of one's own.
    #[must_use]
    pub fn new(options: LoadOptions) -> Self {
        Loader { options, digests: Mutex::default() }
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &LoadOptions {
        &self.options
    }

    /// Reads what a video file says of itself, without decoding it.
    ///
    /// # Errors
    ///
    /// [`VideoError`], without [`VideoError::TooLarge`] for large frames.
    pub fn probe(&self, path: &Path) -> Result<Probe, VideoError> {
        sniff(path)?;
        probe_file(&self.options.ffprobe, path, Deadline::after(self.options.timeout))
    }

    /// Samples frames of a video file, an animated image, a folder of images, or a list of them.
    ///
    /// Frames of a video file come out of ffmpeg in the wanted size (its bicubic scaler); images
    /// are resized as Pillow does, bicubic. For input to a vision tower that equals
    /// `transformers`', take [`FrameSize::Native`], or [`Loader::load_pixels`].
    ///
    /// # Errors
    ///
    /// [`VideoError`] names the file and the remedy.
    pub fn load(
        &self,
        video: &VideoRef,
        sampling: &Sampling,
        size: FrameSize,
    ) -> Result<Clip, VideoError> {
        let (found, deadline) = self.begin(video, sampling)?;
        let decoded = self.decode(&found, sampling, size, deadline, &|frame, _| Ok(frame))?;
        let digest = self.digest(&found, sampling, size)?;
        expand(decoded, found.path(), digest)
    }

    /// Samples frames and preprocesses each as soon as it is decoded: what
    /// [`FrameProcessor::apply`] makes of [`Loader::load`] at [`FrameSize::Native`], without holding
    /// the large frames.
    ///
    /// # Errors
    ///
    /// [`VideoError`] names the file and the remedy.
    pub fn load_pixels(
        &self,
        video: &VideoRef,
        sampling: &Sampling,
        processor: &FrameProcessor,
    ) -> Result<Pixels, VideoError> {
        let (found, deadline) = self.begin(video, sampling)?;
        let finish =
            |frame: Frame, of: usize| processor.frame(&frame, of).map_err(VideoError::from);
        let decoded = self.decode(&found, sampling, FrameSize::Native, deadline, &finish)?;
        let digest = self.digest(&found, sampling, FrameSize::Native)?;
        let clip = expand(decoded, found.path(), digest)?;
        Ok(processor.normalize(&clip.frames, &clip.digest, clip.video)?)
    }

    /// The digest that [`Loader::load`] would give the clip, without decoding it: SHA-256 of the
    /// content of its files, the sampling and the size.
    ///
    /// # Errors
    ///
    /// [`VideoError`] where the files cannot be read.
    pub fn clip_digest(
        &self,
        video: &VideoRef,
        sampling: &Sampling,
        size: FrameSize,
    ) -> Result<String, VideoError> {
        let (found, _) = self.begin(video, sampling)?;
        self.digest(&found, sampling, size)
    }

    /// The digest that [`Loader::load_pixels`] would give its result, without decoding: together
    /// with a digest of the weights, the key of a [`FeatureCache`](crate::FeatureCache).
    ///
    /// # Errors
    ///
    /// [`VideoError`] where the files cannot be read.
    pub fn pixels_digest(
        &self,
        video: &VideoRef,
        sampling: &Sampling,
        processor: &FrameProcessor,
    ) -> Result<String, VideoError> {
        let clip = self.clip_digest(video, sampling, FrameSize::Native)?;
        Ok(processor.pixels_digest(&clip))
    }

    /// Checks the settings, starts the clock and looks what the reference points to.
    fn begin(
        &self,
        video: &VideoRef,
        sampling: &Sampling,
    ) -> Result<(Found, Deadline), VideoError> {
        sampling.validate()?;
        let fps = self.options.image_fps;
        if !(fps.is_finite() && fps > 0.0) {
            return Err(VideoError::Sampling(format!("`image_fps` must be above 0, got {fps}")));
        }
        let found = match video {
            VideoRef::World(address) => {
                return Err(VideoError::NotAFile { address: address.clone() });
            }
            VideoRef::Frames(images) => match images.first() {
                Some(first) => Found::Images(first.clone(), images.clone()),
                None => return Err(VideoError::ZeroFrames { path: PathBuf::from("[]") }),
            },
            VideoRef::File(path) => {
                let meta = fs::metadata(path).map_err(|source| VideoError::io(path, source))?;
                if meta.is_dir() {
                    Found::Images(path.clone(), list_folder(path)?)
                } else {
                    match sniff(path)? {
                        Some(format) => Found::Animation(path.clone(), format),
                        None => Found::Video(path.clone()),
                    }
                }
            }
        };
        Ok((found, Deadline::after(self.options.timeout)))
    }

    fn decode(
        &self,
        found: &Found,
        sampling: &Sampling,
        size: FrameSize,
        deadline: Deadline,
        finish: Finish,
    ) -> Result<Decoded, VideoError> {
        let options = &self.options;
        let resized = |frame: Frame, of: usize| {
            let (width, height) = size.of(frame.width, frame.height)?;
            check_size(found.path(), width, height)?;
            if (frame.width, frame.height) == (width, height) {
                return finish(frame, of);
            }
            finish(resize(&frame, width, height, Filter::Bicubic), of)
        };
        match found {
            Found::Images(_, images) => load_list(images, sampling, options, deadline, &resized),
            Found::Animation(path, format) => {
                load_animation(path, *format, sampling, options, deadline, &resized)
            }
            Found::Video(path) => {
                let probe = probe_file(&options.ffprobe, path, deadline)?;
                check_size(path, probe.width, probe.height)?;
                let size = size.of(probe.width, probe.height)?;
                check_size(path, size.0, size.1)?;
                let source = Source { path, probe: &probe, options, deadline, size, finish };
                decode(source, sampling)
            }
        }
    }

    fn digest(
        &self,
        found: &Found,
        sampling: &Sampling,
        size: FrameSize,
    ) -> Result<String, VideoError> {
        let mut parts =
            vec!["rlaif-video/clip/1".to_owned(), settings(sampling)?, settings(&size)?];
        match found {
            Found::Video(path) | Found::Animation(path, _) => parts.push(self.file_digest(path)?),
            Found::Images(_, images) => {
                parts.push(format!("image_fps={}", self.options.image_fps));
                for image in images {
                    parts.push(self.file_digest(image)?);
                }
            }
        }
        Ok(digest_parts(&parts))
    }

    fn file_digest(&self, path: &Path) -> Result<String, VideoError> {
        let meta = fs::metadata(path).map_err(|source| VideoError::io(path, source))?;
        let key = (path.to_owned(), meta.len(), meta.modified().ok());
        let known = || self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = known().get(&key) {
            return Ok(digest.clone());
        }
        let digest = digest_file(path)?;
        known().insert(key, digest.clone());
        Ok(digest)
    }
}

impl Found {
    fn path(&self) -> &Path {
        match self {
            Found::Video(path) | Found::Animation(path, _) | Found::Images(path, _) => path,
        }
    }
}

fn settings(settings: &impl Serialize) -> Result<String, VideoError> {
    serde_json::to_string(settings).map_err(|error| VideoError::Sampling(error.to_string()))
}

/// Lays the frames out as sampled, repeats included, and checks that they agree in size.
fn expand(decoded: Decoded, path: &Path, digest: String) -> Result<Clip, VideoError> {
    let Some(first) = decoded.frames.first() else {
        return Err(VideoError::ZeroFrames { path: path.to_owned() });
    };
    let size = |frame: &Frame| format!("{} x {}", frame.width, frame.height);
    for (frame, place) in decoded.places.iter().enumerate() {
        let other = &decoded.frames[*place];
        if (other.width, other.height) != (first.width, first.height) {
            return Err(VideoError::MixedSizes {
                path: path.to_owned(),
                frame,
                expected: size(first),
                got: size(other),
            });
        }
    }
    let timestamps = decoded.places.iter().map(|place| decoded.times[*place]).collect();
    let frames = if decoded.places.len() == decoded.frames.len() {
        decoded.frames
    } else {
        decoded.places.iter().map(|place| decoded.frames[*place].clone()).collect()
    };
    Ok(Clip { frames, timestamps, digest, video: decoded.video })
}

/// [`Loader::probe`] with default options.
///
/// # Errors
///
/// [`VideoError`] names the file and the remedy.
pub fn probe(path: &Path) -> Result<Probe, VideoError> {
    Loader::default().probe(path)
}

/// [`Loader::load`] with default options.
///
/// # Errors
///
/// [`VideoError`] names the file and the remedy.
pub fn load(video: &VideoRef, sampling: &Sampling, size: FrameSize) -> Result<Clip, VideoError> {
    Loader::default().load(video, sampling, size)
}
