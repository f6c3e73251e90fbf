//! Frames out of a video file, through `ffmpeg` and a pipe.
//!
//! A clip is read in one pass by one process, which hands out the sampled frames only. Where it
//! is long and the frames lie far apart ([`LoadOptions::seek_above_seconds`],
//! [`LoadOptions::seek_stride_seconds`]), each frame is sought instead, so that what is decoded is
//! about one group of pictures per frame and not the file.

use std::{
    ffi::OsString,
    path::Path,
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use rlaif_data::{Frame, VideoMetadata};

use crate::{
    LoadOptions, Probe, Sampling, VideoError,
    probe::{Counting, count_frames, failure, file_argument, is_truncated},
    process::{Deadline, Ended, Log, Piped},
};

/// Set once an ffmpeg older than 5.1 was met, which says `-vsync` for `-fps_mode`.
static OLD_FFMPEG: AtomicBool = AtomicBool::new(false);

/// Seconds before the end in which the last frame is looked for, when the length that the file
/// states leads past it.
const TAIL_SECONDS: [f64; 2] = [2.0, 10.0];

/// What is done to each frame of a clip of so many as soon as it is decoded, so that large frames do
/// not pile up.
pub(crate) type Finish<'a> = &'a (dyn Fn(Frame, usize) -> Result<Frame, VideoError> + Sync);

/// The different frames of a clip, and which of them each place of the clip shows.
pub(crate) struct Decoded {
    pub(crate) frames: Vec<Frame>,
    /// Seconds from the start of the video, as long as `frames`.
    pub(crate) times: Vec<f64>,
    /// One index into `frames` per sampled frame.
    pub(crate) places: Vec<usize>,
    /// Where the sampled frames lie in the video.
    pub(crate) video: VideoMetadata,
}

/// An ffmpeg expression that is true at each of the frame numbers. ffmpeg parses nested pairs of
/// any number, but a plain sum of at most 100 terms.
fn any_of(indices: &[usize]) -> String {
    match indices {
        [] => "0".to_owned(),
        [index] => format!("eq(n,{index})"),
        _ => {
            let (left, right) = indices.split_at(indices.len() / 2);
            format!("({}+{})", any_of(left), any_of(right))
        }
    }
}

/// Sorted indices without repeats, and the place of each index among them.
pub(crate) fn distinct(indices: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let mut distinct = indices.to_vec();
    distinct.dedup();
    let place = |index: &usize| distinct.partition_point(|other| other < index);
    let places = indices.iter().map(place).collect();
    (distinct, places)
}

/// One file, and everything that decoding it needs to know.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) path: &'a Path,
    pub(crate) probe: &'a Probe,
    pub(crate) options: &'a LoadOptions,
    pub(crate) deadline: Deadline,
    /// Width and height that the pipe delivers.
    pub(crate) size: (u32, u32),
    pub(crate) finish: Finish<'a>,
}

/// Decodes the sampled frames of a file.
pub(crate) fn decode(source: Source, sampling: &Sampling) -> Result<Decoded, VideoError> {
    let probe = source.probe;
    let video = sampling.of_video(probe.frames, probe.fps)?;
    let stride = probe.duration_seconds / distinct(&video.indices).0.len().max(1) as f64;
    if probe.duration_known
        && probe.duration_seconds > source.options.seek_above_seconds
        && stride > source.options.seek_stride_seconds
    {
        return source.seek(video);
    }
    let frames = if probe.frames_known { probe.frames } else { source.count(Counting::Packets)? };
    let (got, log) = match source.one_pass(sampling.of_video(frames, probe.fps)?)? {
        Pass::Whole(decoded) => return Ok(decoded),
        Pass::Short { got, log } => (got, log),
    };
    // The container counts frames that no decoder delivers (edit lists, damage): count what is
    // delivered, and sample that.
    let delivered = source.count(Counting::Frames)?;
    if delivered == 0 {
        return Err(VideoError::ZeroFrames { path: source.path.to_owned() });
    }
    tracing::warn!(
        path = %source.path.display(), frames, delivered, errors = log.errors,
        "fewer frames decode than the file says"
    );
    match source.one_pass(sampling.of_video(delivered, probe.fps)?)? {
        Pass::Whole(decoded) => Ok(decoded),
        Pass::Short { .. } => Err(VideoError::Undecodable {
            path: source.path.to_owned(),
            detail: format!("only {got} of the sampled frames decode ({})", log.brief()),
        }),
    }
}

enum Pass {
    Whole(Decoded),
    Short { got: usize, log: Log },
}

impl Source<'_> {
    /// Reads the sampled frames in one pass over the file.
    fn one_pass(&self, video: VideoMetadata) -> Result<Pass, VideoError> {
        let (wanted, places) = distinct(&video.indices);
        let select = format!("select='{}',", any_of(&wanted));
        let mut frames: Vec<Frame> = Vec::with_capacity(wanted.len());
        let ended = self.run(None, &select, Some(wanted.len()), |frame| {
            frames.push(self.finished(frame, video.indices.len())?);
            Ok(())
        })?;
        let got = frames.len();
        if got < wanted.len() {
            if is_truncated(self.path, &ended.log) {
                return Err(VideoError::Truncated {
                    path: self.path.to_owned(),
                    detail: format!(
                        "{got} of the {} sampled frames are there ({})",
                        wanted.len(),
                        ended.log.brief()
                    ),
                });
            }
            if !ended.status.success() {
                return Err(failure(self.path, &ended.log));
            }
            return Ok(Pass::Short { got, log: ended.log });
        }
        if !ended.log.errors.is_empty() {
            tracing::warn!(path = %self.path.display(), errors = ended.log.errors, "damaged video");
        }
        let times =
            wanted.iter().enumerate().map(|(nth, index)| self.time(&ended.log, nth, *index));
        let times = from_first(times.collect(), &wanted);
        Ok(Pass::Whole(Decoded { frames, times, places, video }))
    }

    /// Seeks each of the sampled frames on its own, several at a time.
    fn seek(&self, video: VideoMetadata) -> Result<Decoded, VideoError> {
        let (wanted, places) = distinct(&video.indices);
        let next = AtomicUsize::new(0);
        let found: Mutex<Vec<Option<(Frame, f64)>>> = Mutex::new(vec![None; wanted.len()]);
        let failed: Mutex<Option<VideoError>> = Mutex::new(None);
        let worker = || {
            while let Some(index) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                let place = wanted.partition_point(|other| other < index);
                match self.seek_one(*index, video.indices.len()) {
                    Ok(frame) => {
                        found.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(frame);
                    }
                    Err(error) => {
                        next.store(wanted.len(), Ordering::Relaxed);
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.get_or_insert(error);
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.options.seek_processes.clamp(1, 64).min(wanted.len()) {
                scope.spawn(worker);
            }
        });
        if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (frames, times): (Vec<Frame>, Vec<f64>) = found.into_iter().flatten().unzip();
        let times = from_first(times, &wanted);
        Ok(Decoded { frames, times, places, video })
    }

    /// The frame shown at the nominal time of `index`, or the last one before it.
    fn seek_one(&self, index: usize, copies: usize) -> Result<(Frame, f64), VideoError> {
        let nominal = self.nominal(index);
        // Half a frame early, so that rounding cannot skip the frame that is meant.
        let target = (nominal - 0.5 / self.probe.fps).max(0.0);
        let mut last = None;
        let mut delivered = 0;
        let mut keep = |frame| {
            last = Some(frame);
            delivered += 1;
            Ok(())
        };
        let mut log = self.run(Some(target), "", Some(1), &mut keep)?.log;
        for tail in TAIL_SECONDS {
            if log.times.is_empty() {
                // The length is an estimate, or sound outlasts the picture: the last frame will do.
                log = self.run(Some((target - tail).max(0.0)), "", None, &mut keep)?.log;
            }
        }
        let Some(frame) = last else {
            return Err(VideoError::Truncated {
                path: self.path.to_owned(),
                detail: format!(
                    "it states a length of {:.1} s, and nothing decodes at {nominal:.1} s ({})",
                    self.probe.duration_seconds,
                    log.brief()
                ),
            });
        };
        let time = self.time(&log, delivered - 1, index);
        Ok((self.finished(frame, copies)?, time))
    }

    /// Runs ffmpeg from `start` seconds on with `filters` before the scaler and hands each frame
    /// to `take`.
    fn run(
        &self,
        start: Option<f64>,
        filters: &str,
        limit: Option<usize>,
        mut take: impl FnMut(Frame) -> Result<(), VideoError>,
    ) -> Result<Ended, VideoError> {
        let (width, height) = self.size;
        let frame_bytes = width as usize * height as usize * 3;
        let old = OLD_FFMPEG.load(Ordering::Relaxed);
        let command = self.command(start, filters, limit, old);
        let mut child = Piped::spawn(command, self.path, self.deadline, frame_bytes)?;
        let mut taken = 0;
        while limit.is_none_or(|limit| taken < limit) {
            let rgb = child.next_piece()?;
            if rgb.len() < frame_bytes {
                break;
            }
            take(Frame { width, height, rgb })?;
            taken += 1;
        }
        let ended = child.finish()?;
        if taken == 0 && !old && ended.log.errors.contains("fps_mode") {
            OLD_FFMPEG.store(true, Ordering::Relaxed);
            return self.run(start, filters, limit, take);
        }
        Ok(ended)
    }

    fn command(
        &self,
        start: Option<f64>,
        filters: &str,
        limit: Option<usize>,
        old: bool,
    ) -> Command {
        let (width, height) = self.size;
        let mut command = Command::new(&self.options.ffmpeg);
        command.args(["-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info"]);
        command.args(["-protocol_whitelist", "file,pipe"]);
        if let Some(start) = start {
            // One frame: threads would only cost memory and start-up.
            command.args(["-threads", "1", "-ss", &format!("{:.6}", self.sought(start))]);
        }
        command.args([OsString::from("-i"), file_argument(self.path)]);
        command.args(["-copyts", "-map", &format!("0:{}", self.probe.stream)]);
        command.args(["-an", "-sn", "-dn", "-vf"]);
        command.arg(format!(
            "{filters}showinfo,\
             scale={width}:{height}:flags=bicubic+accurate_rnd+full_chroma_int+bitexact"
        ));
        if let Some(limit) = limit {
            command.args(["-frames:v", &limit.to_string()]);
        }
        command.args([if old { "-vsync" } else { "-fps_mode" }, "passthrough"]);
        command.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]);
        command
    }

    /// `-ss` counts from the start of the container, our times from the start of the stream.
    fn sought(&self, time: f64) -> f64 {
        (time + self.probe.start_seconds - self.probe.container_start_seconds).max(0.0)
    }

    /// Seconds from the start of the video at which frame `index` is due at a constant rate.
    fn nominal(&self, index: usize) -> f64 {
        index as f64 / self.probe.fps
    }

    /// The time of the `nth` frame that a process delivered, from the start that the stream
    /// states; the nominal one where the process gave none.
    fn time(&self, log: &Log, nth: usize, index: usize) -> f64 {
        let time = log.times.get(nth).copied().flatten();
        time.map_or(self.nominal(index), |time| time - self.probe.start_seconds)
    }

    /// A frame as it is kept, where the clip's `copies` of it fit in memory.
    fn finished(&self, frame: Frame, copies: usize) -> Result<Frame, VideoError> {
        let frame = (self.finish)(frame, copies)?;
        self.options.within_memory(self.path, &frame, copies)?;
        Ok(frame)
    }

    fn count(&self, counting: Counting) -> Result<usize, VideoError> {
        count_frames(&self.options.ffprobe, self.path, self.deadline, self.probe, counting)
    }
}

/// Times from the first frame on: some containers (AVI with B-frames) state a start that is not
/// that of their first frame. Every sampling takes frame 0.
fn from_first(times: Vec<f64>, indices: &[usize]) -> Vec<f64> {
    let first = if indices.first() == Some(&0) { times.first().copied() } else { None };
    let start = first.unwrap_or(0.0);
    times.into_iter().map(|time| (time - start).max(0.0)).collect()
}
