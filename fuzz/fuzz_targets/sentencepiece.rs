//! A `tokenizer.model`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = rlaif_model::hf::fuzzing::sentencepiece(bytes);
});
