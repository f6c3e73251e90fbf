//! A file of `torch.save`: archive and pickle.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = rlaif_model::hf::fuzzing::torch(bytes);
});
