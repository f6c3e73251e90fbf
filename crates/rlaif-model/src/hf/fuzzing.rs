//! Entry points for fuzzing: each takes any bytes, must not panic, and checks what must hold of
//! what it accepts. `fuzz/` runs them under libFuzzer, the tests here on mutated fixtures.
//!
//! Not part of the crate's interface. Each returns whether the bytes were accepted.

use serde_json::Value;

use crate::hf::{ModelConfig, expected_tensors, tokenizer, weights};

/// Separates `config.json` from an index in the bytes of [`config_and_index`].
const SEPARATOR: u8 = 0;
/// Most blocks of the decoder for which the list of tensors is made: it is long, not wrong.
const MAX_LISTED: usize = 64;

/// A safetensors file.
#[must_use]
pub fn safetensors(bytes: &[u8]) -> bool {
    weights::fuzzing::safetensors(bytes)
}

/// A file of `torch.save`: archive and pickle.
#[must_use]
pub fn torch(bytes: &[u8]) -> bool {
    weights::fuzzing::torch(bytes)
}

/// `config.json` and, after a zero byte, `model.safetensors.index.json`.
///
/// # Panics
///
/// Where a configuration that was accepted does not come back from its own document.
#[must_use]
pub fn config_and_index(bytes: &[u8]) -> bool {
    let at = bytes.iter().position(|byte| *byte == SEPARATOR).unwrap_or(bytes.len());
    let index = std::str::from_utf8(bytes.get(at + 1..).unwrap_or_default());
    let index = index.is_ok_and(weights::fuzzing::index);
    let Ok(document) = serde_json::from_slice::<Value>(&bytes[..at]) else { return index };
    let Ok(config) = ModelConfig::from_json(&document) else { return index };
    if config.text.num_hidden_layers <= MAX_LISTED {
        assert!(!expected_tensors(&config).is_empty());
    }
    let again = ModelConfig::from_json(&config.to_json()).expect("its own document");
    assert!(again.arch == config.arch && again.text == config.text, "{document}");
    true
}

/// A `tokenizer.model`.
#[must_use]
pub fn sentencepiece(bytes: &[u8]) -> bool {
    tokenizer::sentencepiece::convert(bytes, &serde_json::Map::new()).is_ok()
}

/// A `tokenizer.json`, with a template and a prompt. Not for libFuzzer, which ends at a panic that
/// is caught, too: the `tokenizers` library has some.
#[must_use]
pub fn tokenizer_json(bytes: &[u8]) -> bool {
    tokenizer::open::try_prompt(bytes)
}

#[cfg(test)]
mod tests {
    use rand::seq::IndexedRandom;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::hf::testing::fixture;

    /// Numbers that parsers stumble over.
    const NUMBERS: [u64; 10] =
        [0, 1, 0x7F, 0xFF, 0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 32, 1 << 60, u64::MAX / 2 + 1, u64::MAX];
    /// Texts that JSON parsers stumble over.
    const WORDS: [&str; 12] = [
        "-1",
        "1e400",
        "1e15",
        "NaN",
        "null",
        "[",
        "{",
        "\"",
        "4294967296",
        "18446744073709551616",
        "../",
        "0.5",
    ];

    /// Changes one to four places.
    fn mutate(seed: &[u8], text: bool, rng: &mut ChaCha8Rng) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..rng.random_range(1..=4) {
            if bytes.is_empty() {
                break;
            }
            let at = rng.random_range(0..bytes.len());
            let len = rng.random_range(1..=16.min(bytes.len() - at));
            match rng.random_range(0..7) {
                0 => bytes[at] = rng.random(),
                1 => bytes[at] ^= 1 << rng.random_range(0..8),
                2 => bytes.truncate(at),
                3 => drop(bytes.drain(at..at + len)),
                4 => {
                    let part = bytes[at..at + len].to_vec();
                    let to = rng.random_range(0..=bytes.len());
                    bytes.splice(to..to, part);
                }
                5 if text => {
                    // In the place of a number where there is one.
                    let digits = |from: usize, bytes: &[u8]| {
                        bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count()
                    };
                    let from = (at..bytes.len()).find(|from| bytes[*from].is_ascii_digit());
                    let from = from.unwrap_or(at);
                    let end = from + digits(from, &bytes);
                    let word = WORDS.choose(rng).unwrap();
                    bytes.splice(from..end, word.bytes());
                }
                _ => {
                    let number = NUMBERS.choose(rng).unwrap().to_le_bytes();
                    let len = [1, 2, 4, 8][rng.random_range(0..4)].min(bytes.len() - at);
                    bytes[at..at + len].copy_from_slice(&number[..len]);
                }
            }
        }
        bytes
    }

    /// Runs `entry` on `rounds` mutants; some must be accepted, some not, or nothing was tested.
    fn drive(seeds: &[Vec<u8>], text: bool, rounds: usize, entry: fn(&[u8]) -> bool) {
        let mut rng = ChaCha8Rng::seed_from_u64(20_240_607);
        for seed in seeds {
            assert!(entry(seed), "the fixture itself is refused");
        }
        let accepted = (0..rounds)
            .filter(|round| entry(&mutate(&seeds[round % seeds.len()], text, &mut rng)))
            .count();
        println!("{accepted} of {rounds} accepted");
        assert!(accepted > rounds / 100 && accepted < rounds, "{accepted} of {rounds}");
    }

    fn read(name: &str) -> Vec<u8> {
        std::fs::read(fixture(name)).unwrap()
    }

    /// A file with so short a header that mutations meet its numbers.
    fn short_safetensors() -> Vec<u8> {
        let header = r#"{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
            "b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}"#;
        let length = (header.len() as u64).to_le_bytes();
        [&length[..], header.as_bytes(), &[0; 32]].concat()
    }

    #[test]
    fn mutated_safetensors_files_do_no_harm() {
        let seeds = [short_safetensors(), read("torch/golden.safetensors")];
        drive(&seeds, true, 20_000, safetensors);
    }

    #[test]
    fn mutated_files_of_torch_do_no_harm() {
        let seeds = ["torch/state_dict.bin", "torch/plain_dict.bin"].map(read);
        drive(&seeds, false, 20_000, torch);
    }

    #[test]
    fn mutated_configurations_and_indices_do_no_harm() {
        let index = read("llava-b/model.safetensors.index.json");
        let seeds = [
            "llava-a",
            "llava-b",
            "llava-original-a",
            "smolvlm-a",
            "smolvlm-b",
            "qwen2_5-vl-a",
            "qwen2_5-vl-c",
        ]
        .map(|name| {
            let mut config: Value =
                serde_json::from_slice(&read(&format!("{name}/config.json"))).unwrap();
            if config.get("mm_vision_tower").is_some() {
                // Its own is described in another file.
                config["mm_vision_tower"] = "openai/clip-vit-large-patch14-336".into();
                config["mm_hidden_size"] = 1024.into();
            }
            [config.to_string().as_bytes(), &[SEPARATOR], &index[..]].concat()
        });
        drive(&seeds, true, 14_000, config_and_index);
    }

    #[test]
    fn mutated_tokenizers_do_no_harm() {
        let seeds = ["llava-a/tokenizer.json", "llava-b/tokenizer.json"].map(read);
        drive(&seeds, true, 5_000, tokenizer_json);
    }

    #[test]
    fn mutated_sentencepiece_files_do_no_harm() {
        drive(&[read("sentencepiece/tokenizer.model")], false, 1_000, sentencepiece);
    }
}
