//! Missing programs, time and memory: what must hold whatever the file does.

use std::time::{Duration, Instant};

use rlaif_video::{FrameSize, LoadOptions, Loader, Sampling, VideoError};

use crate::support::{expect_reason, file, folder, needs_ffmpeg, numbered_clip};

const SAMPLING: Sampling = Sampling::Uniform { frames: 4 };

#[test]
fn a_missing_ffmpeg_names_the_remedy() {
    let folder = folder();
    let path = folder.path().join("a.mp4");
    std::fs::write(&path, "not looked at").unwrap();
    let ffprobe = folder.path().join("no-such-ffprobe");
    let loader = Loader::new(LoadOptions { ffprobe, ..LoadOptions::default() });
    let error = loader.load(&file(&path), &SAMPLING, FrameSize::Native).unwrap_err();
    assert!(matches!(error, VideoError::FfmpegMissing { .. }), "{error}");
    let message = error.to_string();
    for part in ["no-such-ffprobe", "a.mp4", "apt-get install ffmpeg", "brew install ffmpeg"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!error.is_clip_fault());
}

#[cfg(unix)]
mod programs {
    use super::*;
    use crate::support::script;

    /// What ffprobe says of a clip of 10 frames.
    const REPORT: &str = r#"{"streams":[{"index":0,"codec_type":"video","codec_name":"h264",
        "width":16,"height":16,"avg_frame_rate":"10/1","nb_frames":"10","duration":"DURATION"}],
        "format":{"format_name":"mov","duration":"DURATION"}}"#;

    fn loader(at: &std::path::Path, duration: &str, ffmpeg: &str) -> Loader {
        let report = REPORT.replace("DURATION", duration);
        Loader::new(LoadOptions {
            ffprobe: script(at, "ffprobe", &format!("cat <<'END'\n{report}\nEND")),
            ffmpeg: script(at, "ffmpeg", ffmpeg),
            timeout: Duration::from_millis(700),
            ..LoadOptions::default()
        })
    }

    #[test]
    fn a_decoder_that_hangs_is_ended_in_time() {
        let folder = folder();
        let path = folder.path().join("a.mp4");
        std::fs::write(&path, "anything").unwrap();
        let pid_file = folder.path().join("pid");
        // It delivers half a frame, hangs, and does not mind being asked to end.
        let hang = format!(
            "echo $$ > {}; trap '' TERM INT; head -c 400 /dev/zero; sleep 600",
            pid_file.display()
        );
        for (duration, processes) in [("1.0", 1), ("1000.0", 4)] {
            let start = Instant::now();
            let outcome = loader(folder.path(), duration, &hang).load(
                &file(&path),
                &SAMPLING,
                FrameSize::Native,
            );
            expect_reason(outcome, "timeout", "a.mp4");
            assert!(start.elapsed() < Duration::from_secs(10), "{processes} processes");
            let pid = std::fs::read_to_string(&pid_file).unwrap();
            let entry = std::path::PathBuf::from(format!("/proc/{}", pid.trim()));
            assert!(!entry.exists(), "the decoder runs on, or is a zombie");
        }
    }

    #[test]
    fn what_ffmpeg_says_is_in_the_error_cut_to_a_few_lines() {
        let folder = folder();
        let path = folder.path().join("a.mp4");
        std::fs::write(&path, "anything").unwrap();
        let fail = "i=0; while [ $i -lt 500 ]; do echo '[error] no such codec xyz' >&2; \
                    i=$((i+1)); done; exit 1";
        let outcome =
            loader(folder.path(), "1.0", fail).load(&file(&path), &SAMPLING, FrameSize::Native);
        let message = outcome.unwrap_err().to_string();
        assert!(message.contains("no such codec xyz"), "{message}");
        assert!(message.len() < 1000, "{} characters", message.len());
    }

    #[test]
    fn a_stream_of_zero_seconds_says_so() {
        let folder = folder();
        let path = folder.path().join("a.mp4");
        std::fs::write(&path, "anything").unwrap();
        let outcome =
            loader(folder.path(), "0.0", "exit 1").load(&file(&path), &SAMPLING, FrameSize::Native);
        expect_reason(outcome, "zero_duration", "a.mp4");
    }

    /// ffmpeg before 5.1 knows no `-fps_mode`; here one that only knows `-vsync`.
    #[test]
    fn an_old_ffmpeg_is_asked_in_its_own_words() {
        let folder = folder();
        let path = folder.path().join("a.mp4");
        std::fs::write(&path, "anything").unwrap();
        let old = "case \"$*\" in *fps_mode*) echo \"Unrecognized option 'fps_mode'.\" >&2; \
                   exit 1;; *vsync*) head -c 3072 /dev/zero;; esac";
        let clip = loader(folder.path(), "1.0", old)
            .load(&file(&path), &SAMPLING, FrameSize::Native)
            .unwrap();
        assert_eq!(clip.frames.len(), 4);
        // It printed no times: they are those of a constant rate. linspace(0, 9, 4) = 0, 3, 6, 9.
        assert_eq!(clip.timestamps, [0.0, 0.3, 0.6, 0.9]);
    }
}

#[test]
fn clips_above_the_memory_limit_are_refused() {
    needs_ffmpeg!("clips_above_the_memory_limit_are_refused");
    let folder = folder();
    let path = numbered_clip(folder.path(), "a.mp4", 10, 10);
    let frame_bytes = 48 * 32 * 3;
    let load = |max_clip_bytes, frames| {
        Loader::new(LoadOptions { max_clip_bytes, ..LoadOptions::default() }).load(
            &file(&path),
            &Sampling::Uniform { frames },
            FrameSize::Native,
        )
    };
    assert!(load(frame_bytes * 4, 4).is_ok());
    expect_reason(load(frame_bytes * 4 - 1, 4), "too_large", "a.mp4");
    // Repeated frames are held as often as they are sampled.
    expect_reason(load(frame_bytes * 12 - 1, 12), "too_large", "a.mp4");
    let wide = FrameSize::Exact { width: 20_000, height: 10 };
    let outcome = Loader::default().load(&file(&path), &SAMPLING, wide);
    expect_reason(outcome, "too_large", "a.mp4");
}

#[test]
fn a_clipworld_address_is_no_file() {
    let video = rlaif_data::VideoRef::World("train/3".to_owned());
    let error = Loader::default().load(&video, &SAMPLING, FrameSize::Native).unwrap_err();
    assert!(matches!(&error, VideoError::NotAFile { address } if address == "train/3"), "{error}");
}
