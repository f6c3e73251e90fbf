//! The `tokenizers` library behind a fence: it panics on some files that are no tokenizers, and on
//! some that it has read when a text is encoded. Here these are errors like any other.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::IgnoredAny;
use tokenizers::{Result, Tokenizer};

use crate::hf::tokenizer::{TokenizerError, encode_error};

/// Reads `tokenizer.json` and tries it on a letter.
pub(super) fn parse(json: &str) -> std::result::Result<Tokenizer, TokenizerError> {
    let read = || {
        serde_json::from_str::<IgnoredAny>(json)?;
        fenced(|| {
            let tokenizer = Tokenizer::from_bytes(json)?;
            tokenizer.encode_fast("a", true)?;
            Ok(tokenizer)
        })
    };
    read().map_err(|error| encode_error("", &error))
}

/// Token ids of a text; `add` lets the post-processor add its own.
pub(super) fn encode(
    tokenizer: &Tokenizer,
    text: &str,
    add: bool,
) -> std::result::Result<Vec<u32>, TokenizerError> {
    let encoding = fenced(|| tokenizer.encode_fast(text, add));
    encoding.map(|e| e.get_ids().to_vec()).map_err(|error| encode_error(text, &error))
}

/// Text of token ids without special tokens; `None` where the decoder fails.
pub(super) fn decode(tokenizer: &Tokenizer, ids: &[u32]) -> Option<String> {
    fenced(|| tokenizer.decode(ids, true)).ok()
}

fn fenced<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    // Nothing that the call may have left half done is looked at again.
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err("the `tokenizers` library fails on this tokenizer".into()))
}
