//! Resampling and preprocessing equal to Pillow's and transformers', by golden files that
//! `tools/video_fixtures.py` made.

use std::path::{Path, PathBuf};

use rlaif_data::{Clip, Frame, VideoMetadata};
use rlaif_video::{Filter, Preprocessor, resample::resize};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn png(name: &str) -> Frame {
    let image = image::open(fixture(name)).expect(name).into_rgb8();
    Frame { width: image.width(), height: image.height(), rgb: image.into_raw() }
}

fn cases() -> Value {
    let text = std::fs::read(fixture("cases.json")).expect("cases.json is committed");
    serde_json::from_slice(&text).expect("cases.json is JSON")
}

#[test]
fn resizing_equals_pillow_to_the_bit() {
    let image = png("image.png");
    let cases = cases();
    let cases = cases["resample"].as_array().unwrap();
    assert!(cases.len() >= 30);
    for case in cases {
        let number = |key: &str| u32::try_from(case[key].as_u64().unwrap()).unwrap();
        let filter = Filter::try_from(u8::try_from(number("filter")).unwrap()).unwrap();
        let file = case["file"].as_str().unwrap();
        let ours = resize(&image, number("width"), number("height"), filter);
        assert!(ours == png(file), "{file} differs");
    }
}

/// The 8-bit steps are exact, so that the floats are, too.
#[test]
fn preprocessing_equals_transformers_to_the_bit() {
    let clip = Clip {
        frames: vec![png("image.png")],
        timestamps: vec![0.0],
        digest: String::new(),
        video: VideoMetadata::default(),
    };
    let cases = cases();
    let cases = cases["pixels"].as_array().unwrap();
    assert!(cases.len() >= 8);
    for case in cases {
        let file = case["file"].as_str().unwrap();
        let config = case["config"].as_object().unwrap().clone();
        let pixels = Preprocessor::from_map(config, Path::new(file)).unwrap().apply(&clip).unwrap();
        let shape: Vec<u64> = serde_json::from_value(case["shape"].clone()).unwrap();
        assert_eq!(shape, [3, pixels.height as u64, pixels.width as u64], "{file}");
        let golden: Vec<f32> = std::fs::read(fixture(file))
            .unwrap()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        let worst =
            golden.iter().zip(&pixels.values).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
        assert_eq!(golden.len(), pixels.values.len(), "{file}");
        assert!(worst == 0.0, "{file} differs by up to {worst}");
    }
}
