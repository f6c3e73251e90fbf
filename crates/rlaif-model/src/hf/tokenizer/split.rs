//! Text to token ids, in one piece or around the video.

use tokenizers::Tokenizer;

use crate::hf::tokenizer::{ChatTokenizer, TokenizerError, encode_error};

impl ChatTokenizer {
    /// Token ids of a text with its special tokens.
    pub(super) fn encode_split(&self, text: &str, add: bool) -> Result<Vec<u32>, TokenizerError> {
        let Some((before, after)) =
            text.split_once(&self.placeholder).filter(|_| self.split_at_video)
        else {
            return encode(&self.tokenizer, text, add);
        };
        let mut ids = encode(&self.tokenizer, before, add)?;
        ids.push(self.image_token_id);
        ids.extend(self.encode_split(after, false)?);
        Ok(ids)
    }
}

pub(super) fn encode(
    tokenizer: &Tokenizer,
    text: &str,
    add: bool,
) -> Result<Vec<u32>, TokenizerError> {
    let encoding = tokenizer.encode_fast(text, add);
    encoding.map(|e| e.get_ids().to_vec()).map_err(|error| encode_error(text, &error))
}
