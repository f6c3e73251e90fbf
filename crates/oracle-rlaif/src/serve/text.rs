//! From sampled tokens to text, piece by piece: nothing is sent that a later token would change.
//!
//! The pieces of an answer together are, byte for byte, what the tokenizer makes of all its tokens.

use std::sync::Arc;

use rlaif_model::hf::ChatTokenizer;

/// What decoders write for bytes that are no text, or not yet.
const INCOMPLETE: char = '\u{FFFD}';

/// Tokens before one that its text may depend on.
const NEAR: usize = 8;

/// A token changed text that was given out: the tokenizer's decoder looks back, and the pieces of
/// an answer would not be its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tokenizer's decoder took back text that was sent already")]
pub struct Retracted;

/// Tokens of one answer to text.
#[derive(Debug)]
pub struct Detokeniser {
    tokenizer: Arc<ChatTokenizer>,
    ids: Vec<u32>,
    /// Text of all tokens so far.
    whole: String,
    /// Bytes of it that were given out.
    given: usize,
}

impl Detokeniser {
    /// For an answer without tokens yet.
    #[must_use]
    pub fn new(tokenizer: Arc<ChatTokenizer>) -> Self {
        Detokeniser { tokenizer, ids: Vec::new(), whole: String::new(), given: 0 }
    }

    /// The text that `id` makes certain; empty where it ends within a character.
    ///
    /// # Errors
    ///
    /// [`Retracted`] where the decoder changed what was given out.
    pub fn push(&mut self, id: u32) -> Result<String, Retracted> {
        self.ids.push(id);
        let whole = self.tokenizer.decode(&self.ids);
        // A run of byte tokens is only text as a whole.
        let certain =
            if self.tokenizer.is_byte(id) { 0 } else { whole.trim_end_matches(INCOMPLETE).len() };
        self.advance(whole, certain)
    }

    /// The text that waited for more tokens, at the end of the answer.
    ///
    /// # Errors
    ///
    /// [`Retracted`] where the decoder changed what was given out.
    pub fn finish(&mut self) -> Result<String, Retracted> {
        let whole = self.tokenizer.decode(&self.ids);
        let certain = whole.len();
        self.advance(whole, certain)
    }

    fn advance(&mut self, whole: String, certain: usize) -> Result<String, Retracted> {
        let given = &self.whole[..self.given];
        // While bytes wait, what was given out may show as incomplete for the moment.
        if certain >= self.given && !whole.starts_with(given) {
            return Err(Retracted);
        }
        let piece = whole.get(self.given..certain).unwrap_or_default().to_owned();
        if certain >= self.given {
            self.given = certain;
            self.whole = whole;
        }
        Ok(piece)
    }

    /// The text that token `id` would add here, for a person: a special token by its spelling,
    /// part of a character as U+FFFD, its last part as the whole of it.
    #[must_use]
    pub fn would_add(&self, id: u32) -> String {
        // No character and no joining of words reaches further back.
        let near = self.ids.len().saturating_sub(NEAR);
        let mut ids = self.ids[near..].to_vec();
        let before = self.tokenizer.decode(&ids);
        ids.push(id);
        let after = self.tokenizer.decode(&ids);
        let shared: usize = if after.starts_with(&before) {
            before.len()
        } else {
            // It completes a character.
            let certain = before.trim_end_matches(INCOMPLETE).chars().zip(after.chars());
            certain.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
        };
        match &after[shared..] {
            "" => self.tokenizer.spelling(id).unwrap_or_default(),
            text => text.to_owned(),
        }
    }

    /// The bytes of token `id`, where it stands for bytes rather than for text.
    #[must_use]
    pub fn bytes(&self, id: u32) -> Option<Vec<u8>> {
        self.tokenizer.raw_bytes(id)
    }
}

/// Looks for the strings that end an answer, and holds back what may be the beginning of one.
#[derive(Clone, Debug, Default)]
pub struct Stops {
    stops: Vec<String>,
    held: String,
}

impl Stops {
    /// For stop strings, none of which is empty.
    #[must_use]
    pub fn new(stops: Vec<String>) -> Self {
        Stops { stops, held: String::new() }
    }

    /// The text that may go out after `piece`, and true where a stop string was met: the text then
    /// ends before the first.
    pub fn push(&mut self, piece: &str) -> (String, bool) {
        self.held.push_str(piece);
        let met = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = met {
            let text = self.held[..at].to_owned();
            self.held.clear();
            return (text, true);
        }
        let waiting = (0..self.held.len())
            .filter(|at| self.held.is_char_boundary(*at))
            .find(|at| self.stops.iter().any(|stop| stop.starts_with(&self.held[*at..])));
        let rest = waiting.map_or_else(String::new, |at| self.held.split_off(at));
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What was held back, at the end of the answer.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests;
