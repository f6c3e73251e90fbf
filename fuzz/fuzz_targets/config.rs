//! `config.json` and, after a zero byte, an index.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = rlaif_model::hf::fuzzing::config_and_index(bytes);
});
