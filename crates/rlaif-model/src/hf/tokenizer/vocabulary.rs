//! Sizes of a vocabulary, and whether a model has an embedding for all of it.

mod bytes;

use std::path::Path;

use serde_json::Value;

use crate::hf::config::ModelConfig;
use crate::hf::tokenizer::{ChatTokenizer, TokenizerError};

impl ChatTokenizer {
    /// Embeddings that a model needs for the tokens of texts: one more than the largest id, not
    /// counting the placeholder, which may lie beyond them.
    #[must_use]
    pub fn min_embeddings(&self) -> usize {
        let ids = self.tokenizer.get_vocab(true).into_values();
        let largest = ids.filter(|id| *id != self.image_token_id).max();
        largest.map_or(0, |id| id as usize + 1)
    }

    /// One more than the largest token id: a model needs at least as many embeddings (a
    /// placeholder that only stands for visual tokens may lie beyond).
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        let largest = self.tokenizer.get_vocab(true).into_values().max();
        largest.map_or(0, |id| id as usize + 1)
    }

    /// Checks that the model in `dir` has an embedding for every token of a text.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Vocabulary`] where it has not: the tokenizer is another model's.
    pub fn check(&self, dir: impl AsRef<Path>, config: &ModelConfig) -> Result<(), TokenizerError> {
        let (tokens, embeddings) = (self.min_embeddings(), config.text.vocab_size);
        if tokens <= embeddings {
            return Ok(());
        }
        Err(TokenizerError::Vocabulary { dir: dir.as_ref().to_owned(), tokens, embeddings })
    }

    /// All that texts become tokens by: `tokenizer.json`, `tokenizer_config.json` and the chat
    /// template. Equal sources make equal prompts.
    #[must_use]
    pub fn sources(&self) -> [String; 3] {
        let config = Value::Object(self.config.clone()).to_string();
        [self.json.clone(), config, self.template.source().to_owned()]
    }
}
