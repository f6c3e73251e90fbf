//! Video files through ffmpeg: the right frames, their true times, and every kind of bad file.

use std::path::Path;

use rlaif_data::VideoRef;
use rlaif_video::{
    BadClipPolicy, FrameProcessor, FrameSize, Loader, Preprocessor, Sampling, VideoError, load,
    load_rows, probe,
};

use crate::support::{
    cut, encoder, expect_reason, ffmpeg, file, folder, needs_ffmpeg, numbered, numbered_clip,
    numbers, try_ffmpeg,
};

fn uniform(frames: usize) -> Sampling {
    Sampling::Uniform { frames }
}

fn close(times: &[f64], expected: &[f64]) {
    assert_eq!(times.len(), expected.len());
    for (time, expected) in times.iter().zip(expected) {
        assert!((time - expected).abs() < 0.002, "{times:?} is not {expected:?}");
    }
}

#[test]
fn probing_reads_what_the_file_says() {
    needs_ffmpeg!("probing_reads_what_the_file_says");
    let folder = folder();
    let path = numbered_clip(folder.path(), "a.mp4", 10, 30);
    let probe = probe(&path).unwrap();
    assert!((probe.duration_seconds - 3.0).abs() < 0.01, "{probe:?}");
    assert!((probe.fps - 10.0).abs() < 1e-9, "{probe:?}");
    assert_eq!((probe.frames, probe.frames_known), (30, true));
    assert_eq!((probe.width, probe.height, probe.rotation), (48, 32, 0));
    assert!(["h264", "mpeg4"].contains(&probe.codec.as_str()), "{probe:?}");
}

/// linspace(0, 29, 5) = 0, 7.25, 14.5, 21.75, 29.
#[test]
fn uniform_sampling_gives_the_frames_of_its_indices_at_their_times() {
    needs_ffmpeg!("uniform_sampling_gives_the_frames_of_its_indices_at_their_times");
    let folder = folder();
    for name in ["a.mp4", "a.mkv", "a.ts", "a.avi"] {
        let path = numbered_clip(folder.path(), name, 10, 30);
        let clip = load(&file(&path), &uniform(5), FrameSize::Native).unwrap();
        assert_eq!(numbers(&clip), [0, 7, 14, 21, 29], "{name}");
        close(&clip.timestamps, &[0.0, 0.7, 1.4, 2.1, 2.9]);
        let one = load(&file(&path), &uniform(1), FrameSize::Native).unwrap();
        assert_eq!(numbers(&one), [0], "{name}");
    }
}

#[test]
fn more_frames_than_there_are_repeat() {
    needs_ffmpeg!("more_frames_than_there_are_repeat");
    let folder = folder();
    let path = numbered_clip(folder.path(), "a.mp4", 10, 3);
    let clip = load(&file(&path), &uniform(5), FrameSize::Native).unwrap();
    assert_eq!(numbers(&clip), [0, 0, 1, 1, 2]);
    close(&clip.timestamps, &[0.0, 0.0, 0.1, 0.1, 0.2]);
}

#[test]
fn fps_sampling_takes_the_frames_at_the_ticks() {
    needs_ffmpeg!("fps_sampling_takes_the_frames_at_the_ticks");
    let folder = folder();
    let path = numbered_clip(folder.path(), "a.mp4", 10, 30);
    let sampling = Sampling::Fps { fps: 2.0, max_frames: 50, min_frames: 1 };
    let clip = load(&file(&path), &sampling, FrameSize::Native).unwrap();
    assert_eq!(numbers(&clip), [0, 5, 10, 15, 20, 25]);
    close(&clip.timestamps, &[0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
}

/// Every frame of 600, so that the choice of frames is a long expression.
#[test]
fn hundreds_of_frames_come_in_order() {
    needs_ffmpeg!("hundreds_of_frames_come_in_order");
    let folder = folder();
    let path = numbered_clip(folder.path(), "a.mp4", 25, 600);
    let clip = load(&file(&path), &uniform(600), FrameSize::Native).unwrap();
    assert_eq!(numbers(&clip), (0..600).collect::<Vec<u32>>());
}

#[test]
fn frames_come_in_the_size_asked_for() {
    needs_ffmpeg!("frames_come_in_the_size_asked_for");
    let folder = folder();
    let path = numbered_clip(folder.path(), "a.mp4", 10, 30);
    for (size, expected) in [
        (FrameSize::Exact { width: 24, height: 20 }, (24, 20)),
        (FrameSize::ShortestEdge { pixels: 64 }, (96, 64)),
        (FrameSize::LongestEdge { pixels: 36 }, (36, 24)),
        (FrameSize::LongestEdge { pixels: 640 }, (48, 32)),
        (FrameSize::Native, (48, 32)),
    ] {
        let clip = load(&file(&path), &uniform(3), size).unwrap();
        assert!(clip.frames.iter().all(|frame| (frame.width, frame.height) == expected));
        assert_eq!(numbers(&clip), [0, 14, 29], "{size:?}");
    }
    let none = FrameSize::Exact { width: 0, height: 20 };
    let error = load(&file(&path), &uniform(3), none).unwrap_err();
    assert!(matches!(error, VideoError::Sampling(_)), "{error}");
}

#[test]
fn rotated_files_come_upright() {
    needs_ffmpeg!("rotated_files_come_upright");
    let folder = folder();
    let at = folder.path();
    // Left white, right black; turned by a quarter, one on top of the other.
    ffmpeg(at, &format!("-f lavfi -i color=white:s=32x48:d=1,pad=64:48 {} a.mp4", encoder(12)));
    let mut seen = Vec::new();
    for degrees in [90, 270] {
        // ffmpeg 6 has an option for it, ffmpeg 5 a tag; their signs differ.
        if !try_ffmpeg(at, &format!("-display_rotation {degrees} -i a.mp4 -c copy turned.mp4")) {
            ffmpeg(at, &format!("-i a.mp4 -c copy -metadata:s:v:0 rotate={degrees} turned.mp4"));
        }
        let path = at.join("turned.mp4");
        let found = probe(&path).unwrap();
        assert_eq!((found.width, found.height), (48, 64));
        let clip = load(&file(&path), &uniform(1), FrameSize::Native).unwrap();
        let frame = &clip.frames[0];
        assert_eq!((frame.width, frame.height), (48, 64));
        let gray = |x: u32, y: u32| frame.rgb[((y * frame.width + x) * 3) as usize];
        // Clockwise by 90 degrees, what was on the left is on top.
        let (white, black) = if found.rotation == 90 { (8, 56) } else { (56, 8) };
        assert!(gray(24, white) > 200 && gray(24, black) < 60, "{found:?}");
        seen.push(found.rotation);
    }
    seen.sort_unstable();
    assert_eq!(seen, [90, 270]);
}

/// `-c copy` from 2.05 s on keeps the frames since the last key frame in the file, hidden by an
/// edit list: the container counts frames that no player shows.
#[test]
fn frames_behind_an_edit_list_are_not_counted() {
    needs_ffmpeg!("frames_behind_an_edit_list_are_not_counted");
    let folder = folder();
    numbered_clip(folder.path(), "a.mp4", 10, 40);
    ffmpeg(folder.path(), "-ss 2.05 -i a.mp4 -c copy cut.mp4");
    let path = folder.path().join("cut.mp4");
    let clip = load(&file(&path), &uniform(4), FrameSize::Native).unwrap();
    let shown = numbers(&clip);
    assert_eq!(shown[3], 39, "{shown:?}");
    assert!(shown.is_sorted() && shown[0] >= 20, "{shown:?}");
    let span = clip.timestamps[3] - clip.timestamps[0];
    assert!((span - f64::from(39 - shown[0]) / 10.0).abs() < 0.002, "{:?}", clip.timestamps);
}

#[test]
fn preprocessing_while_decoding_equals_preprocessing_after() {
    needs_ffmpeg!("preprocessing_while_decoding_equals_preprocessing_after");
    let folder = folder();
    let path = numbered_clip(folder.path(), "a.mp4", 10, 10);
    let loader = Loader::default();
    let steps =
        FrameProcessor::from(Preprocessor { pad_to_square: true, ..Preprocessor::clip(16) });
    let clip = loader.load(&file(&path), &uniform(12), FrameSize::Native).unwrap();
    let pixels = loader.load_pixels(&file(&path), &uniform(12), &steps).unwrap();
    assert_eq!(pixels, steps.apply(&clip).unwrap());
    assert_eq!((pixels.frames, pixels.height, pixels.width), (12, 16, 16));
    let digest = loader.pixels_digest(&file(&path), &uniform(12), &steps).unwrap();
    assert_eq!(digest, pixels.digest);
}

#[test]
fn digests_follow_content_and_settings_not_names() {
    needs_ffmpeg!("digests_follow_content_and_settings_not_names");
    let folder = folder();
    let path = numbered_clip(folder.path(), "a.mp4", 10, 10);
    let copy = folder.path().join("b.mp4");
    std::fs::copy(&path, &copy).unwrap();
    let loader = Loader::default();
    let digest = |path: &Path, frames, size| {
        loader.clip_digest(&file(path), &uniform(frames), size).unwrap()
    };
    let first = digest(&path, 4, FrameSize::Native);
    let clip = loader.load(&file(&path), &uniform(4), FrameSize::Native).unwrap();
    assert_eq!(clip.digest, first);
    assert_eq!(digest(&copy, 4, FrameSize::Native), first);
    assert_ne!(digest(&path, 5, FrameSize::Native), first);
    assert_ne!(digest(&path, 4, FrameSize::ShortestEdge { pixels: 32 }), first);
    ffmpeg(folder.path(), &format!("{} {} b.mp4", numbered(10, 9), encoder(12)));
    assert_ne!(digest(&copy, 4, FrameSize::Native), first);
}

#[test]
fn truncated_files_say_so() {
    needs_ffmpeg!("truncated_files_say_so");
    let folder = folder();
    let at = folder.path();
    let tail = numbered_clip(at, "tail.mp4", 10, 100);
    ffmpeg(at, "-i tail.mp4 -c copy -movflags +faststart front.mp4");
    ffmpeg(at, "-i tail.mp4 -c copy a.mkv");
    // The index lies at the end of one and at the front of the other.
    cut(&tail, &at.join("no-index.mp4"), 60);
    cut(&at.join("front.mp4"), &at.join("half.mp4"), 60);
    cut(&at.join("a.mkv"), &at.join("half.mkv"), 60);
    std::fs::write(at.join("empty.mp4"), "").unwrap();
    for name in ["no-index.mp4", "half.mp4", "half.mkv", "empty.mp4"] {
        let outcome = load(&file(at.join(name)), &uniform(5), FrameSize::Native);
        expect_reason(outcome, "truncated", name);
    }
}

#[test]
fn files_without_video_say_so() {
    needs_ffmpeg!("files_without_video_say_so");
    let folder = folder();
    let at = folder.path();
    ffmpeg(at, "-f lavfi -i sine=d=1 sound.wav");
    ffmpeg(at, "-f lavfi -i color=red:s=16x16 -frames:v 1 cover.png");
    ffmpeg(
        at,
        "-i sound.wav -i cover.png -map 0 -map 1 -c:a aac -c:v copy -disposition:v attached_pic \
         cover.m4a",
    );
    for name in ["sound.wav", "cover.m4a"] {
        let outcome = load(&file(at.join(name)), &uniform(5), FrameSize::Native);
        expect_reason(outcome, "no_video_stream", name);
    }
    // Zero frames, and zero seconds.
    ffmpeg(at, "-f lavfi -i testsrc=s=32x32 -t 0 -c:v mpeg4 zero.avi");
    ffmpeg(at, "-f lavfi -i testsrc=s=32x32 -t 0 -c:v mpeg4 zero.mp4");
    let zero = |name: &str| load(&file(at.join(name)), &uniform(5), FrameSize::Native);
    expect_reason(zero("zero.avi"), "zero_frames", "zero.avi");
    expect_reason(zero("zero.mp4"), "zero_duration", "zero.mp4");
    std::fs::write(at.join("notes.mp4"), "this is no video\n".repeat(100)).unwrap();
    expect_reason(zero("notes.mp4"), "undecodable", "notes.mp4");
    expect_reason(zero("absent.mp4"), "file_missing", "absent.mp4");
}

/// Files that make ffmpeg open other files, or print text as video, are no clips.
#[test]
fn playlists_and_text_are_refused() {
    needs_ffmpeg!("playlists_and_text_are_refused");
    let folder = folder();
    let at = folder.path();
    ffmpeg(at, &format!("{} {} a.ts", numbered(10, 10), encoder(12)));
    let playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\na.ts\n#EXT-X-ENDLIST\n";
    let list = "ffconcat version 1.0\nfile a.ts\n";
    for (name, text) in [("a.m3u8", playlist), ("a.ffconcat", list), ("a.txt", "some text\n")] {
        std::fs::write(at.join(name), text).unwrap();
        let outcome = load(&file(at.join(name)), &uniform(2), FrameSize::Native);
        expect_reason(outcome, "undecodable", name);
    }
}

#[test]
fn names_are_never_taken_for_options_or_addresses() {
    needs_ffmpeg!("names_are_never_taken_for_options_or_addresses");
    let folder = folder();
    let source = numbered_clip(folder.path(), "a.mp4", 10, 10);
    let names = ["-y.mp4", "pipe:0.mp4", "concat:a|b.mp4", "x%03d.mp4", "it's a = b,[c].mp4"];
    for name in names {
        std::fs::copy(&source, folder.path().join(name)).unwrap();
    }
    // Relative, so that the name is all that ffmpeg gets. Every other test uses absolute paths.
    let before = std::env::current_dir().unwrap();
    std::env::set_current_dir(folder.path()).unwrap();
    let outcomes = names.map(|name| load(&file(name), &uniform(2), FrameSize::Native));
    std::env::set_current_dir(before).unwrap();
    for (name, outcome) in names.iter().zip(outcomes) {
        assert_eq!(numbers(&outcome.unwrap()), [0, 9], "{name}");
    }
    let address = load(&file("http://127.0.0.1:9/a.mp4"), &uniform(2), FrameSize::Native);
    expect_reason(address, "file_missing", "http://127.0.0.1:9/a.mp4");
}

#[test]
fn a_data_set_with_bad_clips_is_read_around_them() {
    needs_ffmpeg!("a_data_set_with_bad_clips_is_read_around_them");
    let folder = folder();
    let at = folder.path();
    let good = numbered_clip(at, "good.mp4", 10, 10);
    cut(&good, &at.join("cut.mp4"), 60);
    let rows = ["good.mp4", "cut.mp4", "absent.mp4", "good.mp4"].map(|name| file(at.join(name)));
    let read = |video: &VideoRef| load(video, &uniform(2), FrameSize::Native);
    let (clips, counts) = load_rows(&rows, BadClipPolicy::Skip, read).unwrap();
    assert_eq!(clips.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [0, 3]);
    assert_eq!(counts.to_string(), "2 clips read, 2 skipped (file_missing: 1, truncated: 1)");
    let error = load_rows(&rows, BadClipPolicy::Error, read).unwrap_err();
    assert_eq!(error.reason(), "truncated");
}
