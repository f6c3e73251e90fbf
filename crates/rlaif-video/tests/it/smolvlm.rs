//! SmolVLM2's frames equal to `transformers`', by golden files that
//! `tools/make_smolvlm_fixtures.py` made.

use std::path::{Path, PathBuf};

use rlaif_data::{Clip, Frame};
use rlaif_video::{FrameProcessor, SmolVlmProcessor};
use serde_json::{Value, json};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn parse(settings: &Value) -> Result<SmolVlmProcessor, String> {
    let map = settings.as_object().expect("an object");
    SmolVlmProcessor::from_map(map, Path::new("preprocessor_config.json"))
        .map_err(|error| error.to_string())
}

/// Frame `t` of the videos of `make_smolvlm_fixtures.py`.
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

/// Not one value differs, so that the tolerance is 0 levels of 8 bits (on a processor with AVX2,
/// which made the golden files).
#[test]
fn frames_equal_transformers_to_the_bit() {
    let text = std::fs::read(fixtures().join("smolvlm.json")).unwrap();
    let document: Value = serde_json::from_slice(&text).unwrap();
    let cases = document["cases"].as_array().unwrap();
    assert!(cases.len() >= 9);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let number = |key: &str| usize::try_from(case["video"][key].as_u64().unwrap()).unwrap();
        let processor = parse(&case["settings"]).unwrap();
        let fps = case["video"]["fps"].as_f64().unwrap();
        let video = processor.sampling.of_video(number("frames"), fps).unwrap();
        assert_eq!(json!(video.indices), case["indices"], "{name}");
        let frames = video.indices.iter().map(|t| synthetic(number("width"), number("height"), *t));
        let clip = Clip {
            frames: frames.collect(),
            timestamps: video.timestamps(),
            digest: "clip".to_owned(),
            video: video.clone(),
        };
        let pixels = processor.apply(&clip).unwrap();
        assert_eq!(json!([pixels.frames, 3, pixels.height, pixels.width]), case["shape"], "{name}");
        assert_eq!(pixels.video, video);
        assert_eq!(pixels.digest, processor.pixels_digest("clip"));
        let bytes = std::fs::read(fixtures().join(format!("smolvlm_{name}.f32"))).unwrap();
        let golden: Vec<f32> =
            bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        assert_eq!(golden.len(), pixels.values.len(), "{name}");
        let worst =
            golden.iter().zip(&pixels.values).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
        assert!(worst == 0.0, "{name} differs by up to {worst}");
    }
}

/// The hub's flat file and the nested one of transformers 5, out of the fixtures of rlaif-model.
#[test]
fn both_layouts_of_the_files_read() {
    let folder = fixtures().join("../../../rlaif-model/tests/fixtures");
    let hub = SmolVlmProcessor::from_folder(&folder.join("smolvlm-a")).unwrap();
    let nested = SmolVlmProcessor::from_folder(&folder.join("smolvlm-b")).unwrap();
    assert_eq!((hub.max_image_size, nested.max_image_size), (24, 30));
    assert_eq!(json!(hub.sampling), json!({ "type": "smolvlm", "fps": 1.0, "max_frames": 64 }));
    assert_eq!(json!(nested.sampling), json!({ "type": "smolvlm", "fps": 2.0, "max_frames": 3 }));
    let names = |processor: &SmolVlmProcessor| -> Vec<String> {
        processor.files().map(|(name, _)| name.display().to_string()).collect()
    };
    assert_eq!(names(&hub), ["processor_config.json", "preprocessor_config.json"]);
    assert_eq!(names(&nested), ["processor_config.json"]);
    let nowhere = tempfile::tempdir().unwrap();
    let error = SmolVlmProcessor::from_folder(nowhere.path()).unwrap_err();
    assert!(error.to_string().contains("preprocessor_config.json"), "{error}");
}

#[test]
fn bad_values_are_named() {
    let good = json!({
        "video_sampling": { "fps": 1, "max_frames": 64, "video_size": { "longest_edge": 512 } },
    });
    assert!(parse(&good).is_ok());
    for (field, value) in [
        ("resample", json!(0)),
        ("resample", json!(4)),
        ("size", json!({ "longest_edge": 0 })),
        ("size", json!({ "shortest_edge": 20 })),
        ("max_image_size", json!({ "height": 3 })),
        ("max_image_size", json!(512)),
        ("image_std", json!([0.5, 0.0, 0.5])),
        ("do_resize", json!("yes")),
        ("video_sampling", json!([])),
        ("video_sampling", json!({ "fps": 0, "max_frames": 64 })),
        ("video_sampling", json!({ "fps": 1, "max_frames": 100_000 })),
        ("video_sampling", json!({ "fps": 1 })),
        ("video_sampling", json!({ "fps": 1, "max_frames": 2, "video_size": 7 })),
    ] {
        let mut settings = good.clone();
        settings[field] = value;
        let message = parse(&settings).unwrap_err();
        assert!(message.contains(&format!("`{field}`")), "{message}");
        assert!(message.contains("preprocessor_config.json"), "{message}");
    }
    assert!(parse(&json!({})).unwrap_err().contains("`video_sampling`"));
    assert!(parse(&json!({ "fps": 2, "num_frames": 9 })).is_ok());
}

#[test]
fn odd_frames_are_an_error_not_a_panic() {
    let settings = json!({ "fps": 1, "num_frames": 9, "size": { "longest_edge": 4096 } });
    let processor = parse(&settings).unwrap();
    let frame = |width, height, bytes| Frame { width, height, rgb: vec![0; bytes] };
    assert!(processor.frame(&frame(2, 2, 11)).is_err());
    assert!(processor.frame(&frame(0, 2, 0)).is_err());
    let sliver = processor.frame(&frame(20_000, 1, 60_000)).unwrap();
    assert_eq!((sliver.width, sliver.height), (364, 364));
    let huge = json!({ "fps": 1, "num_frames": 9, "max_image_size": { "longest_edge": 1 << 20 } });
    assert!(parse(&huge).unwrap().frame(&frame(2, 2, 12)).is_err());
}

/// Through the one door that checkpoints are opened by, and back into a folder.
#[test]
fn the_checkpoints_own_processor_is_found_and_saved_as_it_was() {
    let folder = fixtures().join("../../../rlaif-model/tests/fixtures");
    for name in ["smolvlm-a", "smolvlm-b"] {
        let processor = FrameProcessor::from_folder(&folder.join(name)).unwrap();
        let FrameProcessor::SmolVlm(own) = &processor else { panic!("{processor:?}") };
        assert_eq!(processor.sampling(), Some(own.sampling));
        let out = tempfile::tempdir().unwrap();
        processor.save(out.path()).unwrap();
        assert_eq!(FrameProcessor::from_folder(out.path()).unwrap(), processor);
        for (file, _) in own.files() {
            let json = |folder: &Path| -> Value {
                serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap()
            };
            assert_eq!(json(out.path()), json(&folder.join(name)), "{name} {}", file.display());
        }
    }
    let llava = FrameProcessor::from_folder(&folder.join("llava-a")).unwrap();
    assert!(matches!(llava, FrameProcessor::Clip(_)), "{llava:?}");
}
