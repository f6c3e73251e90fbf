//! Tokenizer and chat template of a checkpoint: conversations to token ids and back.
//!
//! Prompts are tokenised as `transformers`' `LlavaProcessor.apply_chat_template` does it: the
//! template is rendered, and the tokenizer's post-processor adds its beginning-of-sequence token
//! unless the template wrote one. One thing differs on purpose: text that spells a special token
//! (a question about `</s>`, say) stays text; see the source of `protect`.

mod clock;
mod library;
pub(in crate::hf) mod open;
mod protect;
pub(in crate::hf) mod sentencepiece;
mod split;
mod template;
mod vocabulary;
mod word_level;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rlaif_data::{Block, Message, Role};
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use crate::hf::files::{FileError, write_atomic, write_json};
use library::{decode, encode};
use protect::{Marks, Piece, protect};
use template::ChatTemplate;
pub use template::Template;

/// Why a tokenizer cannot be opened or cannot encode.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file does not hold what it should.
    #[error("{}: {problem}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The checkpoint brings no chat template.
    #[error(
        "{}: no chat template in chat_template.jinja, chat_template.json or \
         tokenizer_config.json; choose one (vicuna_v1 is VLM-RLAIF's)", dir.display()
    )]
    NoTemplate {
        /// The folder.
        dir: PathBuf,
    },
    /// The chat template cannot be used, or refuses the conversation.
    #[error("chat template: {problem}")]
    Template {
        /// What is wrong.
        problem: String,
    },
    /// A token that every use needs is not defined.
    #[error("the tokenizer has no {name}; set it in tokenizer_config.json")]
    NoToken {
        /// `eos_token`, for instance.
        name: &'static str,
    },
    /// The conversation shows no video or several.
    #[error("a prompt shows exactly one video, this conversation shows {found}")]
    VideoCount {
        /// Number of video blocks.
        found: usize,
    },
    /// The template wrote the video's placeholder another number of times than once.
    #[error("chat template: it wrote the placeholder {token} {found} times for one video")]
    Placeholder {
        /// The placeholder.
        token: String,
        /// How often it came out.
        found: usize,
    },
    /// The tokenizer is another model's.
    #[error(
        "{}: the tokenizer knows {tokens} tokens and the model of config.json only {embeddings}; \
         the two do not belong together", dir.display()
    )]
    Vocabulary {
        /// The folder.
        dir: PathBuf,
        /// Embeddings that the tokenizer's ids need.
        tokens: usize,
        /// Embeddings that the model has.
        embeddings: usize,
    },
    /// A text could not be encoded.
    #[error("cannot encode {text:?}: {problem}")]
    Encode {
        /// Its beginning.
        text: String,
        /// What the tokenizer said.
        problem: String,
    },
    /// A vocabulary entry that a white-space tokenizer can never produce.
    #[error("{word:?} cannot be a word of a white-space tokenizer: it is empty or holds a space")]
    Word {
        /// The entry.
        word: String,
    },
}

/// A prompt as token ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptTokens {
    /// Token ids, the video's placeholder repeated once per visual token. Length `T`.
    pub ids: Vec<u32>,
    /// Where the visual tokens lie in `ids`, in order.
    pub visual: Vec<Range<usize>>,
}

/// What a video becomes in the text of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoText {
    /// The visual token so many times.
    Repeated(usize),
    /// A text that takes the placeholder's place, with the visual tokens in it.
    Text(String),
}

/// Where a template puts an answer.
#[derive(Clone, Debug, Default)]
struct AnswerFrame {
    /// A rendered prompt that an answer may follow.
    before: String,
    /// What stands between the prompt and the answer, usually a space or nothing.
    between: String,
    /// The token that closes an answer.
    eos: u32,
}

/// Tokenizer and chat template of one checkpoint.
#[derive(Clone, Debug)]
pub struct ChatTokenizer {
    tokenizer: Tokenizer,
    /// The same, taking special tokens in its input literally.
    literal: Tokenizer,
    template: ChatTemplate,
    /// `tokenizer.json`.
    json: String,
    /// `tokenizer_config.json`.
    config: Map<String, Value>,
    bos_token: Option<String>,
    unk_id: Option<u32>,
    /// What the template writes in the place of a video.
    placeholder: String,
    image_token_id: u32,
    pad_id: Option<u32>,
    eos_ids: Vec<u32>,
    specials: Vec<String>,
    special_ids: BTreeSet<u32>,
    forbidden_ids: Vec<u32>,
    /// Whether what follows the video is encoded as a text of its own, as the original LLaVA code
    /// does: a tokenizer that puts a space before a text puts one there too.
    split_at_video: bool,
    answer: AnswerFrame,
}

impl ChatTokenizer {
    /// Writes `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja` into `dir`.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<(), TokenizerError> {
        let dir = dir.as_ref();
        write_atomic(&dir.join("tokenizer.json"), self.json.as_bytes())?;
        let mut config = self.config.clone();
        // Releases before 4.43 look for the template here, later ones in its own file.
        config.insert("chat_template".to_owned(), json!(self.template.source()));
        write_json(&dir.join("tokenizer_config.json"), &Value::Object(config))?;
        write_atomic(&dir.join("chat_template.jinja"), self.template.source().as_bytes())?;
        Ok(())
    }

    /// The conversation as the template writes it; a video block becomes the placeholder.
    ///
    /// `add_generation_prompt` opens the assistant's turn.
    ///
    /// # Errors
    ///
    /// When the template refuses the conversation.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, TokenizerError> {
        self.template.render(messages, add_generation_prompt)
    }

    /// Token ids of a prompt, the assistant's turn opened, the one video's placeholder replaced.
    ///
    /// # Errors
    ///
    /// When the conversation does not show exactly one video, or the template refuses it.
    pub fn encode_prompt(
        &self,
        messages: &[Message],
        video: &VideoText,
    ) -> Result<PromptTokens, TokenizerError> {
        let blocks = messages.iter().flat_map(|message| &message.content);
        let found = blocks.filter(|block| matches!(block, Block::Video { .. })).count();
        if found != 1 {
            return Err(TokenizerError::VideoCount { found });
        }
        let ids = match video {
            VideoText::Repeated(n) => self.encode_repeated(messages, *n)?,
            VideoText::Text(text) => self.encode_replaced(messages, text)?,
        };
        let mut visual: Vec<Range<usize>> = Vec::new();
        for (at, id) in ids.iter().enumerate() {
            if *id != self.image_token_id {
                continue;
            }
            match visual.last_mut() {
                Some(last) if last.end == at => last.end += 1,
                _ => visual.push(at..at + 1),
            }
        }
        Ok(PromptTokens { ids, visual })
    }

    /// The placeholder, one token, repeated `n` times.
    fn encode_repeated(&self, messages: &[Message], n: usize) -> Result<Vec<u32>, TokenizerError> {
        let ids = self.encode_conversation(messages, true)?;
        let mut places = ids.iter().enumerate().filter(|(_, id)| **id == self.image_token_id);
        let (first, rest) = (places.next(), places.count());
        let Some((start, _)) = first.filter(|_| rest == 0) else {
            let found = rest + usize::from(first.is_some());
            return Err(self.misplaced(found));
        };
        let mut expanded = Vec::with_capacity(ids.len() + n);
        expanded.extend_from_slice(&ids[..start]);
        expanded.extend(std::iter::repeat_n(self.image_token_id, n));
        expanded.extend_from_slice(&ids[start + 1..]);
        Ok(expanded)
    }

    /// The placeholder's spelling replaced before the text becomes tokens, as processors do that
    /// write more than the visual tokens.
    fn encode_replaced(
        &self,
        messages: &[Message],
        text: &str,
    ) -> Result<Vec<u32>, TokenizerError> {
        let (messages, marks) = protect(messages, &self.specials);
        let rendered = self.template.render(&messages, true)?;
        let found = rendered.matches(self.placeholder.as_str()).count();
        if found != 1 {
            return Err(self.misplaced(found));
        }
        let rendered = rendered.replacen(self.placeholder.as_str(), text, 1);
        self.encode_marked(&rendered, &marks, !self.writes_bos(&rendered))
    }

    fn misplaced(&self, found: usize) -> TokenizerError {
        TokenizerError::Placeholder { token: self.placeholder.clone(), found }
    }

    fn writes_bos(&self, rendered: &str) -> bool {
        self.bos_token.as_ref().is_some_and(|bos| rendered.starts_with(bos.as_str()))
    }

    /// Token ids of a whole conversation, each video's placeholder once.
    ///
    /// # Errors
    ///
    /// When the template refuses the conversation.
    pub fn encode_conversation(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<Vec<u32>, TokenizerError> {
        let (messages, marks) = protect(messages, &self.specials);
        let rendered = self.template.render(&messages, add_generation_prompt)?;
        self.encode_marked(&rendered, &marks, !self.writes_bos(&rendered))
    }

    /// Token ids of an answer as it continues a prompt, closed by the end-of-sequence token.
    /// Special tokens spelled out in `text` stay text.
    ///
    /// # Errors
    ///
    /// When the tokenizer cannot encode the text.
    pub fn encode_answer(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = self.encode_continuation(text)?;
        ids.push(self.answer.eos);
        Ok(ids)
    }

    /// [`encode_answer`](Self::encode_answer) without the closing token: a beginning of an
    /// answer, such as an option's letter.
    ///
    /// # Errors
    ///
    /// When the tokenizer cannot encode the text.
    pub fn encode_continuation(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let (messages, marks) = protect(&[Message::text(Role::Assistant, text)], &self.specials);
        let AnswerFrame { before, between, .. } = &self.answer;
        let text = messages[0].plain_text();
        // Encoded in its place, since the first letters may merge with what stands before them.
        let prompt = self.encode_marked(before, &Marks::default(), false)?;
        let whole = self.encode_marked(&format!("{before}{between}{text}"), &marks, false)?;
        match whole.strip_prefix(prompt.as_slice()) {
            Some(answer) => Ok(answer.to_vec()),
            None => self.encode_marked(&format!("{between}{text}"), &marks, false),
        }
    }

    fn encode_marked(
        &self,
        text: &str,
        marks: &Marks,
        add_special_tokens: bool,
    ) -> Result<Vec<u32>, TokenizerError> {
        if marks.is_empty() {
            return self.encode_split(text, add_special_tokens);
        }
        let mut ids = Vec::new();
        for (index, piece) in marks.pieces(text).into_iter().enumerate() {
            match piece {
                Piece::Text(text) => {
                    let add = add_special_tokens && index == 0;
                    ids.extend(self.encode_split(text, add)?);
                }
                Piece::Literal(word) => {
                    let special = |id: &u32| self.forbids(*id) || self.eos_ids.contains(id);
                    let whole = encode(&self.literal, word, false)?;
                    if !whole.iter().any(special) {
                        ids.extend(whole);
                        continue;
                    }
                    // A vocabulary may hold the token as a word like any other.
                    for c in word.chars() {
                        let letter = encode(&self.literal, c.encode_utf8(&mut [0; 4]), false)?;
                        ids.extend(
                            letter
                                .into_iter()
                                .filter(|id| Some(*id) == self.unk_id || !special(id)),
                        );
                    }
                }
            }
        }
        Ok(ids)
    }

    fn forbids(&self, id: u32) -> bool {
        self.special_ids.contains(&id)
    }

    /// Text of token ids without special tokens; ids outside of the vocabulary are passed over.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> String {
        // A decoder may reject a token's spelling.
        decode(&self.tokenizer, ids).unwrap_or_else(|| {
            let tokens = ids.iter().filter(|id| !self.forbids(**id));
            tokens.filter_map(|id| self.tokenizer.id_to_token(*id)).collect()
        })
    }

    /// Tokens that end an answer: the tokenizer's own, then those of `generation_config.json`.
    #[must_use]
    pub fn eos_ids(&self) -> &[u32] {
        &self.eos_ids
    }

    /// Padding token, where there is one.
    #[must_use]
    pub fn pad_id(&self) -> Option<u32> {
        self.pad_id
    }

    /// The token that stands for a visual token.
    #[must_use]
    pub fn image_token_id(&self) -> u32 {
        self.image_token_id
    }

    /// Tokens that may never be sampled, sorted: every special token that does not end an answer
    /// (visual placeholder, padding, beginning of sequence, unknown, ...).
    #[must_use]
    pub fn forbidden_ids(&self) -> &[u32] {
        &self.forbidden_ids
    }
}

pub(super) fn encode_error(text: &str, error: &tokenizers::Error) -> TokenizerError {
    TokenizerError::Encode { text: text.chars().take(60).collect(), problem: error.to_string() }
}

#[cfg(test)]
mod tests;
