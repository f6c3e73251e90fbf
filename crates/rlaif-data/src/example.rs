//! One row of a data set: a video, a conversation, and what is known of the answer.

use serde::{Deserialize, Serialize};

use crate::{Message, Role, VideoRef};

/// The options of a multiple-choice question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choices {
    /// The options without their letters, in the order shown.
    pub options: Vec<String>,
    /// Index of the right option.
    pub answer: usize,
}

/// A question about a video. Everything but `video` and `messages` is optional.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Unique within its data set; made from the line number where a row has none.
    #[serde(default)]
    pub id: String,
    /// The video that the conversation is about.
    pub video: VideoRef,
    /// The conversation up to the question; a closing assistant turn is the answer to imitate.
    pub messages: Vec<Message>,
    /// A right answer in words, for Oracles and metrics that compare with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Options and the right one, where the question is multiple choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Choices>,
    /// The question's category in reports, for instance `counting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// What happens in the video, in words: context for a judge, never shown to the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub narrative: Option<String>,
    /// Anything else the row carries, kept as it stands.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub meta: serde_json::Map<String, serde_json::Value>,
}

impl Example {
    /// The conversation up to the question: all turns before a closing assistant turn.
    #[must_use]
    pub fn prompt(&self) -> &[Message] {
        match self.messages.last() {
            Some(last) if last.role == Role::Assistant => &self.messages[..self.messages.len() - 1],
            _ => &self.messages,
        }
    }

    /// The answer to imitate: the closing assistant turn, else the right option's letter, else
    /// the reference.
    #[must_use]
    pub fn target(&self) -> Option<String> {
        match self.messages.last() {
            Some(last) if last.role == Role::Assistant => Some(last.plain_text()),
            _ => match &self.choices {
                Some(choices) => Some(letter(choices.answer).to_string()),
                None => self.reference.clone(),
            },
        }
    }

    /// The text of the last user turn: the question as a judge is shown it.
    #[must_use]
    pub fn question(&self) -> String {
        self.messages
            .iter()
            .rev()
            .find(|message| message.role == Role::User)
            .map(Message::plain_text)
            .unwrap_or_default()
    }
}

/// The letter of option `index`: `A`, `B`, ...; `?` past `Z`.
#[must_use]
pub fn letter(index: usize) -> char {
    u8::try_from(index).ok().filter(|i| *i < 26).map_or('?', |i| char::from(b'A' + i))
}
