//! What `recipe check` says about memory, on the published configurations.

use std::path::PathBuf;

use rlaif_model::hf::{ModelConfig, expected_tensors};

use crate::support::{ok, recipe, refused, text};

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
        let parameters: usize = expected_tensors(&config)
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        assert_eq!(parameters, count, "{name}");
    }
}

/// Runs `recipe check` for a recipe of the repository on a published configuration.
fn check<'a>(name: &str, config: &'a str, more: &[&'a str]) -> Vec<String> {
    let (recipe, config) = (recipe(name), published(config));
    let mut arguments = vec!["recipe", "check", "--recipe", recipe.as_str(), "--config"];
    let config = text(&config);
    arguments.push(config);
    arguments.extend(more);
    arguments.iter().map(|&argument| argument.to_owned()).collect()
}

fn strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn a_7b_qlora_step_fits_one_24_gb_gpu() {
    let name = "llava-7b-qlora.toml";
    let config = "llava-1.5-7b-hf";
    let table = ok(&strs(&check(name, config, &["--on", "gpu", "--memory", "24GB"])));
    assert!(table.contains("7063.43 M parameters, 39.98 M trained"), "{table}");
    assert!(table.contains("2432 tokens, 2304 of them visual (4 x 24 x 24 patches)"), "{table}");
    assert!(table.contains("a step fits into 24.000 GB"), "{table}");
    // 6,476,005,376 weights of the projections in 4.5 bits each.
    assert!(table.lines().any(|l| l.contains("projections") && l.ends_with("3.643 GB")), "{table}");

    let full = ["--on", "gpu", "--memory", "24GB", "--set", "model.base_precision=float32"];
    let message = refused(&strs(&check(name, config, &full)));
    assert!(
        message.contains("a step takes about") && message.contains("base_precision"),
        "{message}"
    );
    let stored = ["--on", "gpu", "--memory", "24GB", "--set", "train.gradient_checkpointing=false"];
    let message = refused(&strs(&check(name, config, &stored)));
    assert!(message.contains("gradient_checkpointing"), "{message}");
}

#[test]
fn smolvlm2_256m_trains_on_a_cpu_in_less_than_8_gb() {
    let name = "smolvlm2-256m-cpu.toml";
    let config = "SmolVLM2-256M-Video-Instruct";
    let table = ok(&strs(&check(name, config, &["--memory", "8GB"])));
    assert!(table.contains("256.48 M parameters"), "{table}");
    assert!(table.contains("1024 of them visual (16 x 32 x 32 patches)"), "{table}");
    assert!(table.contains("a step fits into 8.000 GB"), "{table}");
    let message = refused(&strs(&check(name, config, &["--memory", "1GB"])));
    assert!(message.contains("a step takes about"), "{message}");
}

#[test]
fn qwen_frames_are_rounded_to_whole_tokens() {
    let more = ["--frames", "8", "--frame-size", "360x640"];
    let table = ok(&strs(&check("llava-7b-qlora.toml", "Qwen2.5-VL-7B-Instruct", &more)));
    // Four pairs of frames of 364 x 644 pixels: 13 x 23 tokens each.
    assert!(table.contains("1196 of them visual (4 x 26 x 46 patches)"), "{table}");
}

#[test]
fn sizes_that_are_none_are_refused() {
    for (more, expected) in [
        (["--memory", "24"], "24GB"),
        (["--frames", "0"], "1 to 4096"),
        (["--frame-size", "360"], "360x640"),
        (["--set", "train.prompts_per_step=1000000000000"], "beyond any memory"),
    ] {
        let arguments = check("llava-7b-qlora.toml", "llava-1.5-7b-hf", &more);
        let message = refused(&strs(&arguments));
        assert!(message.contains(expected), "{more:?}: {message}");
    }
}
