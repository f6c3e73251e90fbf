//! Sizes, counts, times and bytes of pictures, and what is said of clips that give none.

use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::{ImageFormat, Rgb, RgbImage};

use super::*;

fn decoded(picture: &Picture) -> RgbImage {
    image::load_from_memory_with_format(&picture.0, ImageFormat::Jpeg).unwrap().into_rgb8()
}

/// A folder of `n` one-coloured images, the red of each its number times 20.
fn folder(n: u8, width: u32, height: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..n {
        let image = RgbImage::from_pixel(width, height, Rgb([number * 20, 0, 100]));
        image.save(folder.path().join(format!("{number:03}.png"))).unwrap();
    }
    folder
}

fn file(path: &Path) -> VideoRef {
    VideoRef::File(path.to_owned())
}

#[test]
fn frames_are_evenly_spread_with_the_first_and_the_last_and_keep_their_shape() {
    let folder = folder(11, 90, 60);
    let show = pictures(Loader::default());
    let shown = show(&file(folder.path()), 3, 30, 90).unwrap();
    let times: Vec<f64> = shown.iter().map(|(_, seconds)| *seconds).collect();
    assert_eq!(times, [0.0, 5.0, 10.0]);
    for (picture, red) in shown.iter().zip([0, 100, 200]) {
        let image = decoded(picture);
        assert_eq!(image.dimensions(), (30, 20));
        let Rgb([r, g, b]) = *image.get_pixel(15, 10);
        assert!(r.abs_diff(red) <= 3 && g <= 3 && b.abs_diff(100) <= 3, "{r} {g} {b}");
    }
    // None is enlarged, and one picture is the first.
    let first = show(&file(folder.path()), 1, 4000, 90).unwrap();
    assert_eq!((first.len(), first[0].1), (1, 0.0));
    assert_eq!(decoded(&first[0]).dimensions(), (90, 60));
}

#[test]
fn a_short_clip_shows_each_frame_once() {
    let folder = folder(3, 16, 16);
    let list = (0..3).map(|number| folder.path().join(format!("{number:03}.png"))).collect();
    for clip in [file(folder.path()), VideoRef::Frames(list)] {
        let shown = pictures(Loader::default())(&clip, 8, 64, 80).unwrap();
        let times: Vec<f64> = shown.iter().map(|(_, seconds)| *seconds).collect();
        assert_eq!(times, [0.0, 1.0, 2.0]);
    }
}

#[test]
fn procedural_clips_are_sampled_and_made_smaller_by_the_same_rules() {
    let clip = rlaif_world::clip_at("test/3").unwrap();
    let show = pictures(Loader::default());
    let world = VideoRef::World("test/3".to_owned());
    let shown = show(&world, 4, 32, 95).unwrap();
    // trunc(k 7 / 3) of eight frames.
    let expected: Vec<f64> = [0, 2, 4, 7].iter().map(|index| clip.timestamps[*index]).collect();
    assert_eq!(shown.iter().map(|(_, seconds)| *seconds).collect::<Vec<_>>(), expected);
    let image = decoded(&shown[3]);
    assert_eq!(image.dimensions(), (clip.frames[7].width, clip.frames[7].height));
    let off: f64 = image
        .as_raw()
        .iter()
        .zip(&clip.frames[7].rgb)
        .map(|(a, b)| f64::from(a.abs_diff(*b)))
        .sum();
    assert!(off / (image.as_raw().len() as f64) < 12.0, "{off}");
    assert_eq!(decoded(&show(&world, 2, 20, 90).unwrap()[1]).dimensions(), (20, 20));
}

#[test]
fn the_same_clip_gives_the_same_bytes_and_a_lower_quality_gives_fewer() {
    let world = VideoRef::World("train/5".to_owned());
    let show = pictures(Loader::default());
    let shown = show(&world, 3, 32, 85).unwrap();
    assert_eq!(show(&world, 3, 32, 85).unwrap(), shown);
    assert_eq!(pictures(Loader::default())(&world, 3, 32, 85).unwrap(), shown);
    assert!(show(&world, 3, 32, 10).unwrap()[0].0.len() < shown[0].0.len());
}

#[test]
fn a_clip_that_was_replaced_is_read_again() {
    let folder = folder(2, 16, 16);
    let show = pictures(Loader::default());
    let before = show(&file(folder.path()), 2, 64, 80).unwrap();
    RgbImage::from_pixel(40, 16, Rgb([9, 9, 9])).save(folder.path().join("000.png")).unwrap();
    RgbImage::from_pixel(40, 16, Rgb([9, 9, 9])).save(folder.path().join("001.png")).unwrap();
    let after = show(&file(folder.path()), 2, 64, 80).unwrap();
    assert_eq!(decoded(&before[0]).dimensions(), (16, 16));
    assert_eq!(decoded(&after[0]).dimensions(), (40, 16));
}

#[test]
fn what_cannot_be_shown_is_named_with_the_remedy_in_one_line() {
    let show = pictures(Loader::default());
    let empty = tempfile::tempdir().unwrap();
    let broken = empty.path().join("a.png");
    std::fs::write(&broken, b"\x89PNG\r\n\x1a\nno picture").unwrap();
    for (video, messages) in [
        (
            VideoRef::File("no/such\nclip.mp4".into()),
            &[r"no/such\nclip.mp4`", "check the path"][..],
        ),
        (VideoRef::Frames(vec![broken]), &["a.png"]),
        (VideoRef::Frames(Vec::new()), &["holds no frames"]),
        (VideoRef::World("train/\u{1b}".to_owned()), &[r"`world:train/\u{1b}`"]),
    ] {
        for _ in 0..2 {
            let error = show(&video, 2, 64, 80).unwrap_err();
            assert!(messages.iter().all(|message| error.contains(message)), "{error}");
            assert!(!error.chars().any(char::is_control), "{error}");
        }
    }
    let world = VideoRef::World("train/0".to_owned());
    for (count, side, quality, message) in [
        (0, 64, 80, "`frames` must be in 1..=4096, got 0"),
        (2, 0, 80, "the frame size must be above 0"),
        (2, 64, 0, "must be in 1..=100, got 0"),
        (2, 64, 101, "must be in 1..=100, got 101"),
    ] {
        let error = show(&world, count, side, quality).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn threads_that_ask_at_once_share_one_making_and_failures_are_tried_again() {
    let kept = Kept::default();
    let (made, together) = (AtomicUsize::new(0), Barrier::new(4));
    let make = || {
        made.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(vec![(vec![7], 0.5)]))
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                together.wait();
                assert_eq!(kept.get("a", make).unwrap()[0].0, [7]);
            });
        }
    });
    assert_eq!(made.load(Ordering::SeqCst), 1);
    assert!(kept.get("b", || Err("no".to_owned())).is_err());
    assert!(kept.get("b", make).is_ok());
    assert_eq!(made.load(Ordering::SeqCst), 2);
}

#[test]
fn the_oldest_pictures_go_when_room_is_short() {
    let kept = Kept::default();
    let large = |byte: u8| Ok(Arc::new(vec![(vec![byte; KEPT_BYTES / 2], 0.0)]));
    for (key, byte) in [("a", 1), ("b", 2)] {
        kept.get(key, || large(byte)).unwrap();
    }
    // `a` was asked for after `b`, so `b` goes.
    assert_eq!(kept.get("a", || Err("gone".to_owned())).unwrap()[0].0[0], 1);
    kept.get("c", || large(3)).unwrap();
    assert_eq!(kept.get("a", || Err("gone".to_owned())).unwrap()[0].0[0], 1);
    assert_eq!(kept.get("b", || Err("gone".to_owned())), Err("gone".to_owned()));
}
