//! Text to token ids, in one piece or around the video.

use crate::hf::tokenizer::library::encode;
use crate::hf::tokenizer::{ChatTokenizer, TokenizerError};

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
