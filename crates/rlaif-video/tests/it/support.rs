//! What the tests share: the check for ffmpeg, clips that carry their own frame numbers.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use rlaif_data::{Clip, Frame, VideoRef};
use rlaif_video::VideoError;
use tempfile::TempDir;

/// True where ffmpeg is there. Otherwise the test is to return, having said so past the capture of
/// test output; where `ORACLE_RLAIF_REQUIRE_FFMPEG=1` is set, as in CI, it fails instead.
pub(crate) fn ffmpeg_or_skip(test: &str) -> bool {
    let runs = |program: &str| {
        Command::new(program).arg("-version").output().is_ok_and(|output| output.status.success())
    };
    if runs("ffmpeg") && runs("ffprobe") {
        return true;
    }
    let required = std::env::var("ORACLE_RLAIF_REQUIRE_FFMPEG").is_ok_and(|value| value == "1");
    assert!(!required, "ORACLE_RLAIF_REQUIRE_FFMPEG=1, but ffmpeg is not on PATH: {test}");
    writeln!(std::io::stderr(), "SKIPPED (no ffmpeg on PATH): {test}").expect("stderr is open");
    false
}

/// Returns from the test where ffmpeg is missing.
macro_rules! needs_ffmpeg {
    ($test:literal) => {
        if !crate::support::ffmpeg_or_skip(concat!(module_path!(), "::", $test)) {
            return;
        }
    };
}
pub(crate) use needs_ffmpeg;

/// A folder of its own for one test.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// Runs ffmpeg with arguments parted by white space, in `folder`.
pub(crate) fn ffmpeg(folder: &Path, arguments: &str) {
    assert!(try_ffmpeg(folder, arguments), "ffmpeg {arguments}");
}

/// The same, false where ffmpeg refuses.
pub(crate) fn try_ffmpeg(folder: &Path, arguments: &str) -> bool {
    let mut command = Command::new("ffmpeg");
    command.current_dir(folder).args(["-loglevel", "error", "-nostdin", "-y"]);
    command.args(arguments.split_whitespace());
    command.status().expect("ffmpeg starts").success()
}

/// H.264 where ffmpeg can write it, else MPEG-4, with a key frame at least every `gop` frames.
pub(crate) fn encoder(gop: usize) -> String {
    let output = Command::new("ffmpeg").args(["-hide_banner", "-encoders"]).output();
    let listed = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    if listed.is_ok_and(|text| text.contains("libx264")) {
        format!("-c:v libx264 -preset veryfast -qp 4 -g {gop} -bf 2 -pix_fmt yuv420p")
    } else {
        format!("-c:v mpeg4 -q:v 1 -g {gop} -bf 2 -pix_fmt yuv420p")
    }
}

/// Digits of a frame's number, one per vertical band, and their base.
const BANDS: u32 = 3;
const BASE: u32 = 20;
/// Luma steps between two digits: far above the coding error.
const STEP: u32 = 11;

/// ffmpeg's source of `frames` frames of 48 x 32 that show their own number.
pub(crate) fn numbered(fps: u32, frames: u32) -> String {
    let digit = format!("mod(floor(N/pow({BASE},floor({BANDS}*X/W))),{BASE})");
    format!(
        "-f lavfi -i color=black:s=48x32:r={fps},geq=lum='16+{STEP}*{digit}':cb=128:cr=128 \
         -frames:v {frames}"
    )
}

/// Writes a numbered clip into `folder` and returns its path.
pub(crate) fn numbered_clip(folder: &Path, name: &str, fps: u32, frames: u32) -> PathBuf {
    ffmpeg(folder, &format!("{} {} {name}", numbered(fps, frames), encoder(12)));
    folder.join(name)
}

/// The number that a frame of a numbered clip shows.
pub(crate) fn number(frame: &Frame) -> u32 {
    let row = (frame.height / 2) * frame.width;
    (0..BANDS)
        .map(|band| {
            let x = frame.width * (2 * band + 1) / (2 * BANDS);
            let gray = f64::from(frame.rgb[((row + x) * 3) as usize]);
            // Limited range: luma 16..=235 becomes 0..=255.
            let digit = (gray * 219.0 / 255.0 / f64::from(STEP)).round();
            let digit =
                (0..BASE).find(|d| (f64::from(*d) - digit).abs() < 0.5).expect("a digit is shown");
            digit * BASE.pow(band)
        })
        .sum()
}

pub(crate) fn numbers(clip: &Clip) -> Vec<u32> {
    clip.frames.iter().map(number).collect()
}

pub(crate) fn file(path: impl Into<PathBuf>) -> VideoRef {
    VideoRef::File(path.into())
}

/// Keeps the first part of a file, in percent.
pub(crate) fn cut(source: &Path, target: &Path, percent: usize) {
    let bytes = std::fs::read(source).expect("the source is there");
    std::fs::write(target, &bytes[..bytes.len() * percent / 100]).expect("the target is written");
}

/// Checks that an error is of the kind named and speaks of the file.
pub(crate) fn expect_reason<T>(outcome: Result<T, VideoError>, reason: &str, name: &str) {
    match outcome {
        Ok(_) => panic!("{name}: expected the error `{reason}`"),
        Err(error) => {
            assert_eq!(error.reason(), reason, "{error}");
            assert!(error.to_string().contains(name), "the message does not name {name}: {error}");
        }
    }
}

/// Writes a program of one shell script.
#[cfg(unix)]
pub(crate) fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("the script is written");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("the script may be run");
    path
}
