//! Long files are sought in: what is decoded stays near the frames that are wanted.

use rlaif_data::VideoRef;
use rlaif_video::{FrameSize, LoadOptions, Loader, Sampling, VideoError};

use crate::support::{cut, encoder, ffmpeg, file, folder, needs_ffmpeg, numbered, numbers};

/// 20 minutes at 5 frames a second with a key frame every 10 s: 6000 frames. Eight frames cost at
/// most 8 x (50 + the decoder's look-ahead) when sought, all 6000 in one pass.
#[cfg(unix)]
#[test]
fn eight_frames_of_twenty_minutes_decode_a_fraction() {
    needs_ffmpeg!("eight_frames_of_twenty_minutes_decode_a_fraction");
    let folder = folder();
    let at = folder.path();
    ffmpeg(at, &format!("{} {} -movflags +faststart long.mp4", numbered(5, 6000), encoder(50)));

    // Runs ffmpeg with more to say, and keeps what it says.
    let spy = crate::support::script(
        at,
        "spy",
        &format!(
            "err={at}/err.$$\n\
             n=$#; for a in \"$@\"; do [ \"$a\" = level+info ] && a=level+verbose; \
             set -- \"$@\" \"$a\"; done; shift $n\n\
             ffmpeg \"$@\" 2>\"$err\"; rc=$?; cat \"$err\" >&2; exit $rc",
            at = at.display()
        ),
    );
    let decoded = || {
        let mut total = 0;
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("err.") {
                let text = std::fs::read_to_string(&path).unwrap();
                std::fs::remove_file(&path).unwrap();
                let (before, _) = text.split_once(" frames decoded").expect("ffmpeg counts");
                total += before.rsplit(' ').next().unwrap().parse::<u32>().unwrap();
            }
        }
        total
    };
    let loader = |seek_above_seconds| {
        let ffmpeg = spy.clone();
        Loader::new(LoadOptions { ffmpeg, seek_above_seconds, ..LoadOptions::default() })
    };
    let video = file(at.join("long.mp4"));
    let sampling = Sampling::Uniform { frames: 8 };

    let sought = loader(60.0).load(&video, &sampling, FrameSize::Native).unwrap();
    let frames_decoded = decoded();
    // linspace(0, 5999, 8)
    assert_eq!(numbers(&sought), [0, 857, 1714, 2571, 3428, 4285, 5142, 5999]);
    for (time, frame) in sought.timestamps.iter().zip(numbers(&sought)) {
        assert!((time - f64::from(frame) / 5.0).abs() < 0.002, "{time} {frame}");
    }
    assert!(frames_decoded < 600, "{frames_decoded} frames were decoded for 8");

    let in_one_pass = loader(f64::INFINITY).load(&video, &sampling, FrameSize::Native).unwrap();
    assert!(decoded() > 5900);
    assert_eq!(sought.timestamps, in_one_pass.timestamps);
    assert!(sought.frames == in_one_pass.frames, "seeking and one pass give other pixels");

    cut(&at.join("long.mp4"), &at.join("half.mp4"), 50);
    let half = file(at.join("half.mp4"));
    let error = loader(60.0).load(&half, &sampling, FrameSize::Native).unwrap_err();
    assert!(matches!(error, VideoError::Truncated { .. }), "{error}");
}

/// Sound that outlasts the picture makes a container longer than its video; the last frame is
/// then the last one there is.
#[test]
fn the_last_frame_is_found_when_sound_outlasts_the_picture() {
    needs_ffmpeg!("the_last_frame_is_found_when_sound_outlasts_the_picture");
    let folder = folder();
    let at = folder.path();
    ffmpeg(
        at,
        &format!(
            "-f lavfi -i sine=d=12:r=8000 {} {} -c:a aac a.ts",
            numbered(10, 110),
            encoder(20)
        ),
    );
    let options =
        LoadOptions { seek_above_seconds: 5.0, seek_stride_seconds: 1.0, ..LoadOptions::default() };
    let video: VideoRef = file(at.join("a.ts"));
    let clip =
        Loader::new(options).load(&video, &Sampling::Uniform { frames: 3 }, FrameSize::Native);
    let clip = clip.unwrap();
    let shown = numbers(&clip);
    assert_eq!((shown[0], shown[2]), (0, 109), "{shown:?}");
    for (time, frame) in clip.timestamps.iter().zip(&shown) {
        assert!((time - f64::from(*frame) / 10.0).abs() < 0.002, "{:?}", clip.timestamps);
    }
}
