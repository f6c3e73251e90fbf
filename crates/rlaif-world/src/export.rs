//! ClipWorld as files: H.264 videos and JSON lines.

use std::{
    fmt,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rlaif_data::{Example, Frame, VideoRef, write_jsonl};

use crate::{
    Split, WorldConfig, WorldError, config::FPS, examples, frames, render::magnified, scene,
};

/// What an export wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportSummary {
    /// Number of videos.
    pub clips: u64,
    /// Number of rows: two for each question.
    pub rows: usize,
    /// The file with the rows.
    pub jsonl: PathBuf,
    /// The folder of the videos.
    pub videos: PathBuf,
}

impl fmt::Display for ExportSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (videos, jsonl) = (self.videos.display(), self.jsonl.display());
        write!(f, "{} clips in {videos}, {} rows in {jsonl}", self.clips, self.rows)
    }
}

/// Writes `clips` clips from `first` on to the folder `out`: `clips/test-000003.mp4` (H.264,
/// nearly lossless, [`FPS`] frames a second, each pixel of the world `scale` pixels wide) and
/// `test.jsonl` with the rows of [`examples`], whose `video` is relative to `out`.
///
/// `progress` hears the number of clips done. Every file is either whole or not there, and the rows are written last. The same export with
/// the same `ffmpeg` gives the same bytes.
///
/// # Errors
///
/// When a setting or the number of clips is out of its range, when `ffmpeg` is not on the PATH or
/// refuses, and when a file cannot be written.
pub fn export(
    config: &WorldConfig,
    split: Split,
    first: u64,
    clips: u64,
    out: &Path,
    scale: u32,
    progress: &mut dyn FnMut(u64),
) -> Result<ExportSummary, WorldError> {
    let end = check(config, first, clips, scale)?;
    let videos = out.join("clips");
    std::fs::create_dir_all(&videos)
        .map_err(|source| WorldError::Io { path: videos.clone(), source })?;
    let mut rows: Vec<Example> = Vec::new();
    for index in first..end {
        let name = format!("{split}-{index:06}.mp4");
        let frames: Vec<Frame> = frames(&scene(config, split, index))
            .iter()
            .map(|frame| magnified(frame, scale))
            .collect();
        encode(&frames, &videos.join(&name))?;
        let video = VideoRef::File(Path::new("clips").join(name));
        let rows_of_clip = examples(config, split, index).into_iter();
        rows.extend(rows_of_clip.map(|row| Example { video: video.clone(), ..row }));
        progress(index - first + 1);
    }
    let jsonl = out.join(format!("{split}.jsonl"));
    let rows = write_jsonl(&jsonl, &rows)?;
    Ok(ExportSummary { clips, rows, jsonl, videos })
}

/// The index after the last clip.
fn check(config: &WorldConfig, first: u64, clips: u64, scale: u32) -> Result<u64, WorldError> {
    const WIDEST: u32 = 4096;
    config.validate()?;
    let wrong = |field, why: String| WorldError::Config { field, why };
    if clips == 0 {
        return Err(wrong("clips", "there is nothing to export; set 1 or more".to_owned()));
    }
    let side = config.size.saturating_mul(scale);
    if side == 0 || side % 2 == 1 || side > WIDEST {
        let why = format!(
            "{} pixels times {scale} are {side}, and a video needs an even side of 2 to {WIDEST} \
             pixels; set another scale",
            config.size
        );
        return Err(wrong("scale", why));
    }
    first
        .checked_add(clips)
        .ok_or_else(|| wrong("first", format!("{first} and {clips} clips more exceed 64 bits")))
}

/// Writes one video beside its place and moves it there when it is whole.
fn encode(frames: &[Frame], path: &Path) -> Result<(), WorldError> {
    let partial = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = run_ffmpeg(frames, path, &partial).and_then(|()| {
        std::fs::rename(&partial, path)
            .map_err(|source| WorldError::Io { path: path.to_owned(), source })
    });
    if written.is_err() {
        // The error that matters is the first one; a half file that stays is named `.tmp`.
        let _ = std::fs::remove_file(&partial);
    }
    written
}

fn run_ffmpeg(frames: &[Frame], path: &Path, partial: &Path) -> Result<(), WorldError> {
    let size = format!("{}x{}", frames[0].width, frames[0].height);
    let rate = FPS.to_string();
    let input = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", &size, "-framerate", &rate];
    // One thread and no dates, versions or other marks of the writer: the same bytes every time.
    let coding = [
        "-c:v", "libx264", "-crf", "4", "-preset", "medium", "-pix_fmt", "yuv420p", "-threads", "1",
    ];
    let plain = ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact"];
    let mut child = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-loglevel", "error", "-y"])
        .args(input)
        .args(["-i", "-", "-an"])
        .args(coding)
        .args(plain)
        .args(["-f", "mp4"])
        .arg(partial)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| WorldError::NoFfmpeg { source })?;
    // With `-loglevel error` what ffmpeg writes to stderr fits its pipe while it reads. Where
    // writing fails, ffmpeg has ended, and its own words say why.
    let fed = child
        .stdin
        .take()
        .map_or(Ok(()), |mut pipe| frames.iter().try_for_each(|frame| pipe.write_all(&frame.rgb)));
    let output = child
        .wait_with_output()
        .map_err(|source| WorldError::Io { path: path.to_owned(), source })?;
    if output.status.success() {
        return fed.map_err(|source| WorldError::Io { path: path.to_owned(), source });
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let start = stderr.trim().char_indices().rev().nth(399).map_or(0, |(at, _)| at);
    Err(WorldError::Ffmpeg {
        path: path.to_owned(),
        status: output.status.to_string(),
        stderr: stderr.trim()[start..].to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use rlaif_data::{Columns, read_examples};

    use super::*;
    use crate::truth_score;

    /// Whether the programs are there. Otherwise says so past the capture of test output, and
    /// fails where `ORACLE_RLAIF_REQUIRE_FFMPEG=1` is set, as in CI.
    fn has_ffmpeg() -> bool {
        let runs = |program: &str| Command::new(program).arg("-version").output().is_ok();
        if runs("ffmpeg") && runs("ffprobe") {
            return true;
        }
        let required = std::env::var("ORACLE_RLAIF_REQUIRE_FFMPEG").is_ok_and(|value| value == "1");
        assert!(!required, "ORACLE_RLAIF_REQUIRE_FFMPEG=1, but ffmpeg is not on PATH");
        let line = "SKIPPED (no ffmpeg on PATH): a test of the export of ClipWorld";
        writeln!(std::io::stderr(), "{line}").unwrap();
        false
    }

    fn probe(video: &Path) -> String {
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-count_frames", "-select_streams", "v", "-of", "csv=p=0"])
            .args([
                "-show_entries",
                "stream=codec_name,width,height,pix_fmt,r_frame_rate,nb_read_frames",
            ])
            .arg(video)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn an_export_reads_back() {
        if !has_ffmpeg() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let config = WorldConfig { seed: 7, ..WorldConfig::default() };
        let summary = export(&config, Split::Test, 3, 2, folder.path(), 4, &mut |_| ()).unwrap();
        let mut expected = examples(&config, Split::Test, 3);
        expected.extend(examples(&config, Split::Test, 4));
        assert_eq!((summary.clips, summary.rows), (2, expected.len()));
        let text = std::fs::read_to_string(&summary.jsonl).unwrap();
        assert_eq!(text.lines().count(), expected.len());
        assert!(text.contains(r#""video":"clips/test-000003.mp4""#), "{text}");

        let rows = read_examples(&summary.jsonl, &Columns::default()).unwrap();
        for (row, made) in rows.iter().zip(&expected) {
            assert_eq!((&row.id, &row.messages, &row.meta), (&made.id, &made.messages, &made.meta));
            let answer = row.target().unwrap();
            assert!(truth_score(row, &answer).unwrap() >= 1.0, "{}", row.id);
            let VideoRef::File(video) = &row.video else { panic!("{:?}", row.video) };
            assert!(video.is_file(), "{}", video.display());
        }
        let video = folder.path().join("clips/test-000004.mp4");
        assert_eq!(probe(&video), "h264,128,128,yuv420p,4/1,8");

        let before = std::fs::read(&video).unwrap();
        export(&config, Split::Test, 4, 1, folder.path(), 4, &mut |_| ()).unwrap();
        assert_eq!(std::fs::read(&video).unwrap(), before, "the same bytes again");
        let left: Vec<_> = std::fs::read_dir(folder.path().join("clips")).unwrap().collect();
        assert_eq!(left.len(), 2, "nothing is left over: {left:?}");
    }

    #[test]
    fn the_video_shows_the_world() {
        if !has_ffmpeg() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let config = WorldConfig::default();
        export(&config, Split::Train, 0, 1, folder.path(), 4, &mut |_| ()).unwrap();
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(folder.path().join("clips/train-000000.mp4"))
            .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
            .output()
            .unwrap();
        let shown: Vec<u8> = frames(&scene(&config, Split::Train, 0))
            .iter()
            .flat_map(|frame| magnified(frame, 4).rgb)
            .collect();
        assert_eq!(output.stdout.len(), shown.len());
        let off: f64 =
            output.stdout.iter().zip(&shown).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
        let mean = off / shown.len() as f64;
        assert!(mean < 4.0, "the video is off by {mean} of 255 in the mean");
    }

    #[test]
    fn what_cannot_be_exported_is_named() {
        let config = WorldConfig { size: 33, ..WorldConfig::default() };
        let folder = Path::new("nowhere");
        for (config, first, clips, scale, field) in [
            (&config, 0, 1, 1, "scale"),
            (&config, 0, 1, 0, "scale"),
            (&config, 0, 1, u32::MAX, "scale"),
            (&config, 0, 0, 2, "clips"),
            (&config, u64::MAX, 2, 2, "first"),
            (&WorldConfig { frames: 1, ..config.clone() }, 0, 1, 2, "frames"),
        ] {
            let error =
                export(config, Split::Train, first, clips, folder, scale, &mut |_| ()).unwrap_err();
            assert!(error.to_string().contains(&format!("`{field}`")), "{error}");
        }
    }
}
