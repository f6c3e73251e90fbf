//! SmolVLM2's frames equal to `transformers`', by golden files that
//! `tools/make_smolvlm_fixtures.py` made.

use std::path::Path;

use rlaif_data::Frame;
use rlaif_video::{FrameProcessor, SmolVlmProcessor};
use serde_json::{Value, json};

use crate::golden::{check_cases, check_saved, fixtures};

fn parse(settings: &Value) -> Result<SmolVlmProcessor, String> {
    let map = settings.as_object().expect("an object");
    SmolVlmProcessor::from_map(map, Path::new("preprocessor_config.json"))
        .map_err(|error| error.to_string())
}

#[test]
fn frames_equal_transformers_to_the_bit() {
    let processor = |settings: &Value| FrameProcessor::SmolVlm(parse(settings).unwrap());
    assert!(check_cases("smolvlm", processor) >= 9);
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
        check_saved(&processor, &folder.join(name), own.files());
    }
    let llava = FrameProcessor::from_folder(&folder.join("llava-a")).unwrap();
    assert!(matches!(llava, FrameProcessor::Clip(_)), "{llava:?}");
}
