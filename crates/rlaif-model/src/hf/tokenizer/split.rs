//! Text to token ids, in one piece or around the video.

use crate::hf::tokenizer::library::encode;
use crate::hf::tokenizer::{ChatTokenizer, TokenizerError};

impl ChatTokenizer {
    /// Token ids of a text with its special tokens.
    pub(super) fn encode_split(&self, text: &str, add: bool) -> Result<Vec<u32>, TokenizerError> {
        if !self.split_at_video {
            return encode(&self.tokenizer, text, add);
        }
        let mut ids = Vec::new();
        for (index, part) in text.split(self.placeholder.as_str()).enumerate() {
            if index > 0 {
                ids.push(self.image_token_id);
            }
            ids.extend(encode(&self.tokenizer, part, add && index == 0)?);
        }
        Ok(ids)
    }
}
