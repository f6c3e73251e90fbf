//! What `recipe check` says about memory, on the published configurations.

use std::path::PathBuf;

use rlaif_model::hf::{ModelConfig, expected_tensors};

/// The `config.json` of a published model.
fn published(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/published").join(name)
}

/// The hub's count of the tensors in each model's files.
const COUNTS: [(&str, usize); 6] = [
    ("llava-1.5-7b-hf", 7_063_427_072),
    ("SmolVLM2-256M-Video-Instruct", 256_484_928),
    ("SmolVLM2-500M-Video-Instruct", 507_482_304),
    ("SmolVLM2-2.2B-Instruct", 2_246_784_880),
    ("Qwen2.5-VL-3B-Instruct", 3_754_622_976),
    ("Qwen2.5-VL-7B-Instruct", 8_292_166_656),
];

#[test]
fn shapes_of_published_models_add_up_to_their_parameters() {
    for (name, count) in COUNTS {
        let config = ModelConfig::open(published(name)).unwrap();
        let parameters: usize =
            expected_tensors(&config).iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!(parameters, count, "{name}");
    }
}
