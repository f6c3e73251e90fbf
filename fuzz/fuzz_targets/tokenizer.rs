//! A `tokenizer.json`, with a template and a prompt.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = rlaif_model::hf::fuzzing::tokenizer_json(bytes);
});
