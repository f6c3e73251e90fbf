//! Peak memory of loading a sharded checkpoint, measured in a process of its own.

use std::path::Path;
use std::process::Command;

use burn::tensor::Device;
use rlaif_model::hf::{
    ModelConfig, TextConfig, VisionConfig, WeightFormat, Weights, expected_tensors, write_shards,
};
use rlaif_model::{LoadOptions, Precision, load_with};

/// The folder that the child is to load.
const CHILD: &str = "RLAIF_TEST_LOAD";
/// How it is to keep the decoder's projections.
const BASE: &str = "RLAIF_TEST_BASE";
const MIB: u64 = 1 << 20;
/// Bytes of a shard, of which a tensor fills a fifth at most, as in the checkpoints of 7B models.
const SHARD: u64 = 32 * MIB;

/// 60 million parameters, most of them in the decoder.
fn config() -> ModelConfig {
    let vision = VisionConfig {
        hidden_size: 256,
        intermediate_size: 1024,
        num_hidden_layers: 4,
        num_attention_heads: 4,
        image_size: 56,
        patch_size: 14,
        ..VisionConfig::default()
    };
    let text = TextConfig {
        vocab_size: 4000,
        hidden_size: 768,
        intermediate_size: 2048,
        num_hidden_layers: 8,
        num_attention_heads: 12,
        num_key_value_heads: 12,
        head_dim: 64,
        ..TextConfig::default()
    };
    let mut config = ModelConfig::new(vision, text, 3);
    config.dtype = WeightFormat::Bf16;
    config
}

/// `VmHWM` and `VmRSS` of this process, in bytes.
fn memory(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with(key)).expect("the key is there");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    kib * 1024
}

/// What the child does: load. Growth of its peak and the model's size, in bytes.
fn child(folder: &Path) -> (u64, usize) {
    let base = match std::env::var(BASE).as_deref() {
        Ok("bf16") => Precision::Bf16,
        _ => Precision::F32,
    };
    let before = memory("VmRSS:");
    let options = LoadOptions { base };
    let model = load_with(folder, &Device::flex(), &options).expect("the checkpoint loads");
    (memory("VmHWM:") - before, model.memory().total())
}

/// Bound of the issue: the model's own size plus one shard.
#[test]
#[cfg(target_os = "linux")]
fn loading_takes_the_size_of_the_model_and_less_than_a_shard_more() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let (peak, model) = child(Path::new(&folder));
        println!("peak {peak} model {model}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = config();
    config.save(folder.path()).unwrap();
    let tensors = expected_tensors(&config).into_iter().map(|(name, shape)| {
        let len = shape.iter().product();
        (name, shape, vec![0.5; len])
    });
    write_shards(folder.path(), config.dtype, SHARD, tensors).unwrap();
    let shards = std::fs::read_dir(folder.path()).unwrap().count() - 2;
    assert!(shards >= 4, "{shards} shards");
    assert_eq!(
        Weights::open(folder.path()).unwrap().names().count(),
        expected_tensors(&config).len()
    );

    // Packed weights are never there in full.
    for (base, least) in [("f32", 200), ("bf16", 120)] {
        let (peak, model) = measured(folder.path(), base);
        println!("{base}: model {} MiB, peak {} MiB", model / MIB, peak / MIB);
        assert!(model > least * MIB, "{base}: {model}");
        assert!(peak > model, "{base}: the peak {peak} was not measured");
        assert!(peak < model + SHARD, "{base}: peak {} MiB, model {}", peak / MIB, model / MIB);
    }
}

/// Runs the child: its peak and its model's size.
fn measured(folder: &Path, base: &str) -> (u64, u64) {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg("memory::loading_takes_the_size_of_the_model_and_less_than_a_shard_more")
        .env(CHILD, folder)
        .env(BASE, base)
        // glibc gives large blocks back when they are freed, these here too.
        .env("MALLOC_MMAP_THRESHOLD_", "131072")
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |key: &str| -> u64 {
        let mut words = text.split_whitespace().skip_while(|word| *word != key);
        words.nth(1).and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no {key} in {text}"))
    };
    (number("peak"), number("model"))
}
