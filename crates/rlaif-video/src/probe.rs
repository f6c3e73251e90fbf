//! What a video file says of itself, read with `ffprobe`.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use crate::{
    VideoError, mp4,
    process::{Deadline, Log, output},
    sampling::count,
};

/// Bytes of JSON that `ffprobe` may print.
const JSON_LIMIT: usize = 4 << 20;

/// Container formats that name other files, render text, or capture devices: never a clip.
const FORMATS_REFUSED: [&str; 9] =
    ["hls", "dash", "concat", "concatf", "sdp", "rtsp", "tty", "imf", "lavfi"];

/// What a video file says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Length in seconds: of the video stream where it says so, else of the file, else frames by
    /// rate. Above 0.
    pub duration_seconds: f64,
    /// False where the file does not say how long it lasts and its packets were counted; such
    /// files cannot be sought in.
    pub duration_known: bool,
    /// Average frames a second.
    pub fps: f64,
    /// Number of frames: what the container says, else counted, else duration times rate.
    pub frames: usize,
    /// False where `frames` is duration times rate only.
    pub frames_known: bool,
    /// Pixels in a row of a decoded frame, after rotation. Non-square pixels stay as stored.
    pub width: u32,
    /// Rows of a decoded frame, after rotation.
    pub height: u32,
    /// Clockwise rotation in degrees that the file asks players for: 0, 90, 180 or 270. Decoded
    /// frames are rotated already.
    pub rotation: u32,
    /// ffmpeg's name of the codec, for instance `h264`.
    pub codec: String,
    /// ffmpeg's name of the container, for instance `mov,mp4,m4a,3gp,3g2,mj2`.
    pub format: String,
    /// Index of the video stream within the file.
    pub stream: usize,
    /// Presentation time of the stream's first frame, in the container's own seconds.
    pub start_seconds: f64,
    /// Presentation time at which the container starts, in its own seconds.
    pub container_start_seconds: f64,
}

#[derive(Debug, Deserialize)]
struct Report {
    #[serde(default)]
    streams: Vec<Stream>,
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Default, Deserialize)]
struct Format {
    #[serde(default, rename = "format_name")]
    name: String,
    duration: Option<String>,
    start_time: Option<String>,
    #[serde(default)]
    nb_streams: usize,
}

#[derive(Debug, Deserialize)]
struct Stream {
    index: usize,
    #[serde(default)]
    codec_type: String,
    #[serde(default)]
    codec_name: String,
    width: Option<u32>,
    height: Option<u32>,
    avg_frame_rate: Option<String>,
    r_frame_rate: Option<String>,
    nb_frames: Option<String>,
    nb_read_packets: Option<String>,
    nb_read_frames: Option<String>,
    duration: Option<String>,
    start_time: Option<String>,
    #[serde(default)]
    disposition: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    side_data_list: Vec<serde_json::Map<String, serde_json::Value>>,
    #[serde(default)]
    tags: serde_json::Map<String, serde_json::Value>,
}

/// Which frames are counted, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counting {
    /// Every packet of the stream is read, none decoded.
    Packets,
    /// Every frame is decoded.
    Frames,
}

/// A path as an argument that ffmpeg can take for nothing but a local file.
pub(crate) fn file_argument(path: &Path) -> OsString {
    let mut argument = OsString::from("file:");
    argument.push(path);
    argument
}

/// Reads what the file at `path` says of itself.
pub(crate) fn probe_file(
    ffprobe: &Path,
    path: &Path,
    deadline: Deadline,
) -> Result<Probe, VideoError> {
    let (report, log) = report(ffprobe, path, deadline, None)?;
    let refused = report.format.name.split(',').find(|name| FORMATS_REFUSED.contains(name));
    if let Some(name) = refused {
        return Err(VideoError::Undecodable {
            path: path.to_owned(),
            detail: format!("ffprobe takes it for `{name}`, which is no video file"),
        });
    }
    let Some(stream) = report.streams.iter().find(|stream| stream.is_video()) else {
        return Err(no_video_stream(path, &report, &log));
    };
    let mut probe = describe(path, stream, &report.format)?;
    // ffprobe has read the beginning; where the header keeps silent, the packets speak.
    let duration = stream.seconds().or_else(|| seconds(report.format.duration.as_ref()));
    if !probe.frames_known && (probe.frames == 0 || duration.is_none_or(|d| d <= 0.0)) {
        probe.frames = count_frames(ffprobe, path, deadline, &probe, Counting::Packets)?;
        probe.frames_known = true;
    }
    if probe.frames == 0 {
        return Err(VideoError::ZeroFrames { path: path.to_owned() });
    }
    match duration {
        Some(duration) if duration <= 0.0 => {
            return Err(VideoError::ZeroDuration { path: path.to_owned() });
        }
        Some(duration) => probe.duration_seconds = duration,
        None => {}
    }
    if probe.fps <= 0.0 {
        // No rate anywhere: frames over length, else the rate ffmpeg assumes of raw streams.
        const ASSUMED_FPS: f64 = 25.0;
        probe.fps = duration.map_or(ASSUMED_FPS, |duration| probe.frames as f64 / duration);
    }
    if duration.is_none() {
        probe.duration_seconds = probe.frames as f64 / probe.fps;
    }
    Ok(probe)
}

/// Counts packets or frames of the probed stream. The error is [`VideoError::Truncated`] where
/// ffprobe says on the way that the file ends too early.
pub(crate) fn count_frames(
    ffprobe: &Path,
    path: &Path,
    deadline: Deadline,
    probe: &Probe,
    counting: Counting,
) -> Result<usize, VideoError> {
    let (report, log) = report(ffprobe, path, deadline, Some((probe.stream, counting)))?;
    let frames = report
        .streams
        .first()
        .and_then(|stream| match counting {
            Counting::Packets => stream.nb_read_packets.as_ref(),
            Counting::Frames => stream.nb_read_frames.as_ref(),
        })
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    if is_truncated(path, &log) {
        return Err(VideoError::Truncated {
            path: path.to_owned(),
            detail: format!(
                "{frames} of about {} frames are there ({})",
                probe.frames,
                log.brief()
            ),
        });
    }
    Ok(frames)
}

fn report(
    ffprobe: &Path,
    path: &Path,
    deadline: Deadline,
    counting: Option<(usize, Counting)>,
) -> Result<(Report, Log), VideoError> {
    let mut command = Command::new(ffprobe);
    command.args(["-hide_banner", "-loglevel", "level+error", "-of", "json"]);
    command.args(["-protocol_whitelist", "file,pipe"]);
    match counting {
        None => command.args(["-show_format", "-show_streams"]),
        Some((stream, counting)) => command
            .args(["-select_streams", &stream.to_string(), "-show_streams"])
            .arg(match counting {
                Counting::Packets => "-count_packets",
                Counting::Frames => "-count_frames",
            }),
    };
    command.arg("-i").arg(file_argument(path));
    let (stdout, ended) = output(command, path, deadline, JSON_LIMIT)?;
    if !ended.status.success() {
        return Err(failure(path, &ended.log));
    }
    let report = serde_json::from_slice(&stdout).map_err(|error| VideoError::Undecodable {
        path: path.to_owned(),
        detail: format!("ffprobe's description is not the JSON expected: {error}"),
    })?;
    Ok((report, ended.log))
}

/// The error for a program that gave up on the file.
pub(crate) fn failure(path: &Path, log: &Log) -> VideoError {
    let path = path.to_owned();
    if is_truncated(&path, log) {
        VideoError::Truncated { path, detail: log.brief() }
    } else {
        VideoError::Undecodable { path, detail: log.brief() }
    }
}

/// True where ffmpeg says so, or the boxes of an MP4 file are longer than the file.
pub(crate) fn is_truncated(path: &Path, log: &Log) -> bool {
    log.says_truncated() || mp4::is_cut_short(path).unwrap_or(false)
}

fn no_video_stream(path: &Path, report: &Report, log: &Log) -> VideoError {
    let path: PathBuf = path.to_owned();
    if is_truncated(&path, log) {
        let detail = "its index is cut off".to_owned();
        return VideoError::Truncated { path, detail };
    }
    let duration = seconds(report.format.duration.as_ref());
    if report.format.nb_streams == 0 && duration.is_some_and(|duration| duration <= 0.0) {
        return VideoError::ZeroDuration { path };
    }
    let found: Vec<&str> = report.streams.iter().map(|stream| stream.codec_type.as_str()).collect();
    let found = if found.is_empty() {
        "it holds no stream at all".to_owned()
    } else {
        format!("it holds: {}", found.join(", "))
    };
    VideoError::NoVideoStream { path, found }
}

fn describe(path: &Path, stream: &Stream, format: &Format) -> Result<Probe, VideoError> {
    let (Some(width @ 1..), Some(height @ 1..)) = (stream.width, stream.height) else {
        return Err(VideoError::Undecodable {
            path: path.to_owned(),
            detail: format!("its `{}` stream has no frame size", stream.codec_name),
        });
    };
    let rotation = stream.rotation();
    let (width, height) = if rotation % 180 == 90 { (height, width) } else { (width, height) };
    let fps = [&stream.avg_frame_rate, &stream.r_frame_rate]
        .into_iter()
        .find_map(|text| rate(text.as_deref()?))
        .unwrap_or(0.0);
    let duration = stream.seconds().or_else(|| seconds(format.duration.as_ref()));
    let known = stream.nb_frames.as_ref().and_then(|text| text.parse().ok());
    let estimate = duration.filter(|d| *d > 0.0).map_or(0, |d| count((d * fps).round()));
    Ok(Probe {
        duration_seconds: duration.unwrap_or(0.0),
        duration_known: duration.is_some(),
        fps,
        frames: known.unwrap_or(estimate),
        frames_known: known.is_some(),
        width,
        height,
        rotation,
        codec: stream.codec_name.clone(),
        format: format.name.clone(),
        stream: stream.index,
        start_seconds: seconds(stream.start_time.as_ref()).unwrap_or(0.0),
        container_start_seconds: seconds(format.start_time.as_ref()).unwrap_or(0.0),
    })
}

impl Stream {
    /// A moving picture: cover art is a video stream to ffmpeg, too.
    fn is_video(&self) -> bool {
        let cover = self.disposition.get("attached_pic").and_then(serde_json::Value::as_u64);
        self.codec_type == "video" && cover.unwrap_or(0) == 0
    }

    fn seconds(&self) -> Option<f64> {
        seconds(self.duration.as_ref()).or_else(|| clock(self.tags.get("DURATION")?.as_str()?))
    }

    /// Clockwise degrees: ffprobe prints the display matrix counter-clockwise, and old versions
    /// print a `rotate` tag instead.
    fn rotation(&self) -> u32 {
        let matrix = self
            .side_data_list
            .iter()
            .find_map(|data| data.get("rotation")?.as_f64())
            .map(|degrees| -degrees);
        let tag = || self.tags.get("rotate")?.as_str()?.parse::<f64>().ok();
        let degrees = matrix.or_else(tag).unwrap_or(0.0).rem_euclid(360.0);
        match count((degrees / 90.0).round()) % 4 {
            0 => 0,
            1 => 90,
            2 => 180,
            _ => 270,
        }
    }
}

fn seconds(text: Option<&String>) -> Option<f64> {
    text?.parse().ok().filter(|seconds: &f64| seconds.is_finite())
}

/// Matroska's `00:00:10.000000000` in seconds.
fn clock(text: &str) -> Option<f64> {
    let mut parts = text.split(':').map(|part| part.parse::<f64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    Some(hours * 3600.0 + minutes * 60.0 + seconds)
}

/// A rate such as `30000/1001` in 1/s, where it is above 0.
fn rate(text: &str) -> Option<f64> {
    let (numerator, denominator) = text.split_once('/').unwrap_or((text, "1"));
    let rate = numerator.parse::<f64>().ok()? / denominator.parse::<f64>().ok()?;
    (rate.is_finite() && rate > 0.0).then_some(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_clocks_parse() {
        assert_eq!(rate("25/1"), Some(25.0));
        assert_eq!(rate("0/0"), None);
        assert_eq!(rate("0/1"), None);
        assert!((rate("30000/1001").unwrap() - 29.97).abs() < 1e-3);
        assert_eq!(clock("00:01:10.500000000"), Some(70.5));
        assert_eq!(clock("N/A"), None);
    }

    #[test]
    fn rotation_swaps_the_sides() {
        let json = |rotation: &str| {
            format!(
                r#"{{"index":0,"codec_type":"video","codec_name":"h264","width":64,"height":48,
                "avg_frame_rate":"10/1","nb_frames":"20","duration":"2.0",
                "side_data_list":[{{"side_data_type":"Display Matrix","rotation":{rotation}}}]}}"#
            )
        };
        for (rotation, expected) in [
            ("-90", (48, 64, 90)),
            ("90", (48, 64, 270)),
            ("180", (64, 48, 180)),
            ("0", (64, 48, 0)),
        ] {
            let stream: Stream = serde_json::from_str(&json(rotation)).unwrap();
            let probe = describe(Path::new("a.mp4"), &stream, &Format::default()).unwrap();
            assert_eq!((probe.width, probe.height, probe.rotation), expected);
            assert_eq!((probe.frames, probe.frames_known), (20, true));
        }
    }

    #[test]
    fn paths_never_look_like_options_or_addresses() {
        assert_eq!(file_argument(Path::new("-i.mp4")), "file:-i.mp4");
        assert_eq!(file_argument(Path::new("http://host/a.mp4")), "file:http://host/a.mp4");
    }
}
