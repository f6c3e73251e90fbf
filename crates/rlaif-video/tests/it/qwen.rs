//! Qwen2.5-VL's frames equal to `transformers`', by golden files that
//! `tools/make_qwen_fixtures.py` made.

use std::path::Path;

use rlaif_data::{Frame, VideoRef};
use rlaif_video::qwen::smart_resize;
use rlaif_video::{
    FrameProcessor, FrameSize, LoadOptions, Loader, PreprocessError, QwenVlProcessor, Sampling,
};
use serde_json::{Value, json};

use crate::golden::{check_cases, check_saved, fixtures, synthetic};

fn document() -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join("qwen.json")).expect("golden values"))
        .expect("JSON")
}

fn parse(settings: &Value) -> Result<QwenVlProcessor, String> {
    let map = settings.as_object().expect("an object");
    QwenVlProcessor::from_map(map, Path::new("preprocessor_config.json"))
        .map_err(|error| error.to_string())
}

#[test]
fn frames_equal_transformers_to_the_bit() {
    let processor = |settings: &Value| FrameProcessor::QwenVl(parse(settings).unwrap());
    assert!(check_cases("qwen", processor) >= 7);
}

#[test]
fn frames_are_taken_as_transformers_takes_them() {
    let document = document();
    let sampled = document["sampled"].as_array().unwrap();
    assert!(sampled.len() > 50);
    for case in sampled {
        let number = |at: usize| usize::try_from(case[at].as_u64().unwrap()).unwrap();
        let rule = Sampling::QwenVl {
            fps: case[0].as_f64().unwrap(),
            min_frames: number(1),
            max_frames: number(2),
            temporal_patch: 2,
        };
        let indices = rule.indices(number(3), case[4].as_f64().unwrap()).unwrap();
        assert_eq!(json!(indices), case[5], "{rule:?} of {} at {}", case[3], case[4]);
    }
    for case in document["counted"].as_array().unwrap() {
        let steps = parse(&json!({ "num_frames": case[0] })).unwrap();
        let n = usize::try_from(case[1].as_u64().unwrap()).unwrap();
        assert_eq!(json!(steps.sampling.indices(n, 25.0).unwrap()), case[2], "{case}");
    }
    // A single frame, where transformers divides by zero.
    let rule: Sampling = serde_json::from_value(json!({ "type": "qwen_vl" })).unwrap();
    assert_eq!(rule.indices(1, 25.0).unwrap(), [0]);
    assert!(rule.indices(0, 25.0).unwrap().is_empty());
}

/// `torch.arange(0, 17, 17 / 14).int()` is 0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 14, 15, 17 (PyTorch
/// 2.15): fifteen numbers, the last of which is no frame.
#[test]
fn frames_stay_whole_patches_where_arange_runs_over() {
    let rule: Sampling = serde_json::from_value(json!({ "type": "qwen_vl" })).unwrap();
    let expected = [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 14, 15];
    assert_eq!(rule.indices(17, 17.0 / 7.2).unwrap(), expected);
    for n in 4..700 {
        let indices = rule.indices(n, 7.3).unwrap();
        assert!(indices.len().is_multiple_of(2), "{} of {n}", indices.len());
        assert!(indices.windows(2).all(|pair| pair[0] < pair[1]), "{n}: {indices:?}");
    }
}

#[test]
fn the_checkpoints_own_processor_is_found_and_saved_as_it_was() {
    let folder = fixtures().join("../../../rlaif-model/tests/fixtures");
    for name in ["qwen2_5-vl-a", "qwen2_5-vl-b"] {
        let processor = FrameProcessor::from_folder(&folder.join(name)).unwrap();
        let FrameProcessor::QwenVl(own) = &processor else { panic!("{processor:?}") };
        assert_eq!(processor.sampling(), Some(own.sampling));
        check_saved(&processor, &folder.join(name), own.files());
    }
}

#[test]
fn bad_values_and_odd_frames_are_named() {
    for (field, value) in [
        ("resample", json!(0)),
        ("size", json!(7)),
        ("min_pixels", json!(0)),
        ("min_pixels", json!(1_000_000_000)),
        ("patch_size", json!(-14)),
        ("temporal_patch_size", json!(1.5)),
        ("image_std", json!([0.5, 0.0, 0.5])),
        ("patch_size", json!(100_000)),
        ("merge_size", json!(1_u64 << 33)),
        ("size", json!({ "shortest_edge": 0, "longest_edge": 9 })),
        ("num_frames", json!(0)),
        ("num_frames", json!(1)),
        ("num_frames", json!(100_000)),
        ("fps", json!("fast")),
        ("max_frames", json!(100_000)),
    ] {
        let message = parse(&json!({ field: value })).unwrap_err();
        assert!(message.contains("preprocessor_config.json"), "{message}");
        assert!(message.contains(&format!("`{field}`")), "{message}");
    }
    assert!(parse(&json!({ "fps": 2, "num_frames": 8 })).unwrap_err().contains("`num_frames`"));
    assert!(parse(&json!({})).is_ok());
    assert!(matches!(smart_resize(1, 201, 28, 1, 9), Err(PreprocessError::Sliver { .. })));
    assert_eq!(smart_resize(1080, 1920, 28, 3136, 12_845_056).unwrap(), (1092, 1932));
    let wrong = Frame { width: 2, height: 2, rgb: vec![0; 11] };
    assert!(parse(&json!({})).unwrap().frame(&wrong, 4).is_err());
}

/// The bound on a clip's pixels is known before its frames are decoded: none is kept in its own size.
#[test]
fn capped_frames_are_resized_one_by_one() {
    let settings = json!({
        "size": { "shortest_edge": 64, "longest_edge": 4096 },
        "patch_size": 4, "cap_pixels_per_frame": true, "max_video_tokens": 40, "num_frames": 8,
    });
    let processor = FrameProcessor::QwenVl(parse(&settings).unwrap());
    let rule = processor.sampling().unwrap();
    let images = VideoRef::Frames(vec![fixtures().join("image.png"); 9]);
    let clip = Loader::default().load(&images, &rule, FrameSize::Native).unwrap();
    let whole = processor.apply(&clip).unwrap();
    let native = clip.frames.iter().map(|frame| frame.rgb.len()).sum::<usize>() as u64;
    // 40 * 64 * 0.9 pixels for 8 frames, two of them to a patch.
    assert!(whole.frames == 8 && (64..=576).contains(&(whole.height * whole.width)));
    let options = LoadOptions { max_clip_bytes: native / 2, ..LoadOptions::default() };
    let loader = Loader::new(options);
    assert!(loader.load(&images, &rule, FrameSize::Native).is_err());
    assert_eq!(loader.load_pixels(&images, &rule, &processor).unwrap().values, whole.values);
}

#[test]
fn a_bound_of_the_users_own_makes_frames_smaller() {
    let steps = parse(&json!({ "min_pixels": 784, "max_pixels": 100_000 })).unwrap();
    let mut processor = FrameProcessor::QwenVl(steps);
    let frame = synthetic(400, 300, 0);
    let before = processor.frame(&frame, 1).unwrap();
    processor.set_max_pixels(20_000).unwrap();
    let after = processor.frame(&frame, 1).unwrap();
    assert!(before.width * before.height > 80_000 && after.width * after.height <= 20_000);
    assert!(processor.set_max_pixels(100).is_err());
    let mut clip = FrameProcessor::from(rlaif_video::Preprocessor::clip(4));
    assert!(clip.set_max_pixels(20_000).unwrap_err().to_string().contains("takes one size"));
}
