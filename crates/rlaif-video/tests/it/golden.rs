//! Checks that hold for the processors of all families.

use std::path::{Path, PathBuf};

use rlaif_data::{Clip, Frame};
use rlaif_video::FrameProcessor;
use serde_json::{Map, Value, json};

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("it is there")).expect("JSON")
}

/// Frame `t` of the videos of `make_smolvlm_fixtures.py` and `make_qwen_fixtures.py`.
pub(crate) fn synthetic(width: usize, height: usize, t: usize) -> Frame {
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            for c in 0..3 {
                let wave = (x * (7 + c) + y * (3 + 2 * c) + t * 31 + c * 57) % 192;
                let noise = ((x * 73 + y * 151 + t * 199 + c * 83) * (x + 2 * y + 5)) % 61;
                rgb.push(u8::try_from(wave + noise).expect("below 253"));
            }
        }
    }
    let side = |pixels| u32::try_from(pixels).expect("small");
    Frame { width: side(width), height: side(height), rgb }
}

/// Checks the cases of `FAMILY.json` against the frames that `transformers` made of them, and
/// returns how many there are. Not one value may differ: the tolerance is 0 levels of 8 bits (on a
/// processor with AVX2, which made the golden files).
pub(crate) fn check_cases(family: &str, processor: impl Fn(&Value) -> FrameProcessor) -> usize {
    let document = read(&fixtures().join(format!("{family}.json")));
    let cases = document["cases"].as_array().expect("a list");
    for case in cases {
        let name = case["name"].as_str().expect("text");
        let number = |key: &str| {
            usize::try_from(case["video"][key].as_u64().expect("a size")).expect("small")
        };
        let processor = processor(&case["settings"]);
        let fps = case["video"]["fps"].as_f64().expect("a number");
        let video =
            processor.sampling().expect("a rule").of_video(number("frames"), fps).expect("frames");
        assert_eq!(json!(video.indices), case["indices"], "{name}");
        let frames = video.indices.iter().map(|t| synthetic(number("width"), number("height"), *t));
        let clip = Clip {
            frames: frames.collect(),
            timestamps: video.timestamps(),
            digest: "clip".to_owned(),
            video: video.clone(),
        };
        let pixels = processor.apply(&clip).expect("frames");
        assert_eq!(json!([pixels.frames, 3, pixels.height, pixels.width]), case["shape"], "{name}");
        assert_eq!(pixels.video, video);
        assert_eq!(pixels.digest, processor.pixels_digest("clip"));
        let bytes = std::fs::read(fixtures().join(format!("{family}_{name}.f32"))).expect("values");
        let golden: Vec<f32> =
            bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        assert_eq!(golden.len(), pixels.values.len(), "{name}");
        let worst =
            golden.iter().zip(&pixels.values).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
        assert!(worst == 0.0, "{name} differs by up to {worst}");
    }
    cases.len()
}

/// Checks that a saved processor opens as it was, and that its `files` are those of `folder`.
pub(crate) fn check_saved<'a>(
    processor: &FrameProcessor,
    folder: &Path,
    files: impl Iterator<Item = (&'a Path, &'a Map<String, Value>)>,
) {
    let out = tempfile::tempdir().expect("a folder");
    processor.save(out.path()).expect("saved");
    assert_eq!(&FrameProcessor::from_folder(out.path()).expect("it opens"), processor);
    let mut n = 0;
    for (file, _) in files {
        let [got, expected] = [out.path(), folder].map(|folder| read(&folder.join(file)));
        assert_eq!(got, expected, "{} of {}", file.display(), folder.display());
        n += 1;
    }
    assert!(n > 0);
}
