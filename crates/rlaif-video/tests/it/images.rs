//! Clips from images: no test here needs ffmpeg.

use std::path::{Path, PathBuf};

use rlaif_data::VideoRef;
use rlaif_video::{FrameSize, LoadOptions, Loader, Preprocessor, Sampling, load};

use crate::support::{cut, expect_reason, file, folder};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn uniform(frames: usize) -> Sampling {
    Sampling::Uniform { frames }
}

/// Writes a picture of one shade of gray.
fn gray(path: &Path, width: u32, height: u32, shade: u8) {
    image::RgbImage::from_pixel(width, height, image::Rgb([shade; 3])).save(path).expect("saves");
}

/// A folder of `frame1.png` .. `frame12.png` whose shade is ten times their number.
fn numbered_folder(at: &Path) {
    for number in 1..=12_u8 {
        gray(&at.join(format!("frame{number}.png")), 6, 4, number * 10);
    }
    std::fs::write(at.join("notes.txt"), "not an image").expect("writes");
    std::fs::write(at.join(".hidden.png"), "not an image either").expect("writes");
}

#[test]
fn folders_are_read_in_natural_order() {
    let folder = folder();
    numbered_folder(folder.path());
    let clip = load(&file(folder.path()), &uniform(12), FrameSize::Native).unwrap();
    let shades: Vec<u8> = clip.frames.iter().map(|frame| frame.rgb[0]).collect();
    assert_eq!(shades, (1..=12).map(|number| number * 10).collect::<Vec<u8>>());

    // One image in two seconds, of which one in four is taken.
    let loader = Loader::new(LoadOptions { image_fps: 0.5, ..LoadOptions::default() });
    let sampling = Sampling::Fps { fps: 0.125, max_frames: 50, min_frames: 1 };
    let clip = loader.load(&file(folder.path()), &sampling, FrameSize::Native).unwrap();
    assert_eq!(clip.timestamps, [0.0, 8.0, 16.0]);
    let shades: Vec<u8> = clip.frames.iter().map(|frame| frame.rgb[0]).collect();
    assert_eq!(shades, [10, 50, 90]);
}

#[test]
fn lists_keep_their_own_order_and_digest_by_content() {
    let folder = folder();
    numbered_folder(folder.path());
    let list = |numbers: &[u8]| {
        let path = |n: &u8| folder.path().join(format!("frame{n}.png"));
        VideoRef::Frames(numbers.iter().map(path).collect())
    };
    let read = |numbers: &[u8]| load(&list(numbers), &uniform(2), FrameSize::Native).unwrap();
    let clip = read(&[3, 1]);
    assert_eq!((clip.frames[0].rgb[0], clip.frames[1].rgb[0]), (30, 10));
    assert_ne!(clip.digest, read(&[1, 3]).digest);
    assert_eq!(clip.digest, read(&[3, 1]).digest);
    expect_reason(load(&list(&[]), &uniform(2), FrameSize::Native), "zero_frames", "[]");
    expect_reason(load(&list(&[1, 99]), &uniform(2), FrameSize::Native), "file_missing", "frame99");
}

#[test]
fn an_empty_folder_says_so() {
    let folder = folder();
    std::fs::write(folder.path().join("notes.txt"), "not an image").unwrap();
    let name = folder.path().file_name().unwrap().to_string_lossy().into_owned();
    expect_reason(load(&file(folder.path()), &uniform(2), FrameSize::Native), "zero_frames", &name);
}

#[test]
fn images_of_different_sizes_need_a_size() {
    let folder = folder();
    gray(&folder.path().join("a.png"), 6, 4, 10);
    gray(&folder.path().join("b.png"), 8, 8, 20);
    let error = load(&file(folder.path()), &uniform(2), FrameSize::Native).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("6 x 4") && message.contains("8 x 8"), "{message}");
    let exact = FrameSize::Exact { width: 5, height: 5 };
    let clip = load(&file(folder.path()), &uniform(2), exact).unwrap();
    assert!(clip.frames.iter().all(|frame| (frame.width, frame.height) == (5, 5)));
    assert_eq!((clip.frames[0].rgb[0], clip.frames[1].rgb[0]), (10, 20));
    // A crop makes them agree, too.
    let pixels = Loader::default().load_pixels(
        &file(folder.path()),
        &uniform(2),
        &Preprocessor::clip(4).into(),
    );
    assert_eq!(pixels.unwrap().values.len(), 2 * 3 * 4 * 4);
}

/// Red for 100 ms, green for 200, blue for 300; written by Pillow.
#[test]
fn animations_have_their_frames_and_times() {
    for name in ["anim.gif", "anim.webp", "anim.png"] {
        let clip = load(&file(fixture(name)), &uniform(3), FrameSize::Native).unwrap();
        for (frame, expected) in clip.frames.iter().zip([[255, 0, 0], [0, 255, 0], [0, 0, 255]]) {
            // The WebP decoder loses a level when it lays a frame on the one before.
            let near = |(a, b): (&u8, &u8)| a.abs_diff(*b) <= u8::from(name == "anim.webp");
            let pixels = frame.rgb.iter().zip(expected.iter().cycle());
            assert!(pixels.clone().all(near), "{name}: {:?}", frame.rgb);
        }
        for (time, expected) in clip.timestamps.iter().zip([0.0, 0.1, 0.3]) {
            assert!((time - expected).abs() < 1e-9, "{name}: {:?}", clip.timestamps);
        }
        let ends = load(&file(fixture(name)), &uniform(2), FrameSize::Native).unwrap();
        assert_eq!(ends.frames, [clip.frames[0].clone(), clip.frames[2].clone()], "{name}");
    }
}

#[test]
fn transparency_is_laid_on_white_as_transformers_does() {
    let read = |name| load(&file(fixture(name)), &uniform(1), FrameSize::Native).unwrap();
    assert!(read("rgba.png").frames == read("rgba_on_white.png").frames);
}

/// Stored 8 x 4 with white on the left; turned clockwise, white is at the top of 4 x 8.
#[test]
fn exif_orientation_is_applied() {
    let clip = load(&file(fixture("turned.jpg")), &uniform(1), FrameSize::Native).unwrap();
    let frame = &clip.frames[0];
    assert_eq!((frame.width, frame.height), (4, 8));
    let gray = |y: usize| frame.rgb[y * 4 * 3];
    assert!(gray(0) > 240 && gray(7) < 15, "{} {}", gray(0), gray(7));
}

#[test]
fn damaged_images_say_so() {
    let folder = folder();
    for name in ["rgba.png", "anim.gif", "anim.webp", "anim.png", "turned.jpg"] {
        for percent in [50, 95] {
            let path = folder.path().join(name);
            cut(&fixture(name), &path, percent);
            let outcome = load(&file(&path), &uniform(3), FrameSize::Native);
            expect_reason(outcome, "truncated", name);
        }
    }
    let path = folder.path().join("broken.png");
    let mut bytes = std::fs::read(fixture("rgba.png")).unwrap();
    bytes[60] ^= 0xff;
    std::fs::write(&path, bytes).unwrap();
    let outcome = load(&file(&path), &uniform(1), FrameSize::Native);
    expect_reason(outcome, "undecodable", "broken.png");
}

/// A header that promises 60,000 x 60,000 pixels must not be believed with memory.
#[test]
fn a_decompression_bomb_is_refused_by_its_header() {
    let folder = folder();
    let path = folder.path().join("bomb.png");
    let mut header = b"IHDR".to_vec();
    header.extend(60_000_u32.to_be_bytes().repeat(2));
    header.extend([8, 2, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bytes.extend(&header);
    bytes.extend(crc32(&header).to_be_bytes());
    bytes.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
    std::fs::write(&path, bytes).unwrap();
    expect_reason(load(&file(&path), &uniform(1), FrameSize::Native), "too_large", "bomb.png");
}

/// CRC-32 as PNG has it, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}
