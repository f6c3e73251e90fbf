//! Chat messages with content blocks, in the shape Hugging Face uses.

use serde::{Deserialize, Serialize};

use crate::VideoRef;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions above the conversation.
    System,
    /// The person who asks.
    User,
    /// The model that answers.
    Assistant,
}

impl Role {
    /// The lower-case word chat templates use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// One part of a message's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Block {
    /// Plain text.
    Text {
        /// The text itself.
        text: String,
    },
    /// The place of the video. Without `video`, the row's own video is meant.
    Video {
        /// Where the video lies, when the block says so itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        video: Option<VideoRef>,
    },
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said; a plain string in JSON reads as one text block.
    #[serde(deserialize_with = "content")]
    pub content: Vec<Block>,
}

fn content<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Block>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Repr {
        Text(String),
        Blocks(Vec<Block>),
    }
    Ok(match Repr::deserialize(deserializer)? {
        Repr::Text(text) => vec![Block::Text { text }],
        Repr::Blocks(blocks) => blocks,
    })
}

impl Message {
    /// A message of one text block.
    #[must_use]
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Message { role, content: vec![Block::Text { text: text.into() }] }
    }

    /// A user turn that shows the row's video and then asks.
    #[must_use]
    pub fn ask(question: impl Into<String>) -> Self {
        Message {
            role: Role::User,
            content: vec![Block::Video { video: None }, Block::Text { text: question.into() }],
        }
    }

    /// All text blocks joined by single spaces; video blocks leave nothing.
    #[must_use]
    pub fn plain_text(&self) -> String {
        let texts: Vec<&str> = self
            .content
            .iter()
            .filter_map(|block| match block {
                Block::Text { text } => Some(text.as_str()),
                Block::Video { .. } => None,
            })
            .collect();
        texts.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_and_a_list_of_blocks_read_as_content() {
        let plain: Message = serde_json::from_str(r#"{"role":"user","content":"hi"}"#).unwrap();
        assert_eq!(plain, Message::text(Role::User, "hi"));
        let blocks: Message = serde_json::from_str(
            r#"{"role":"user","content":[{"type":"video"},{"type":"text","text":"what moves?"}]}"#,
        )
        .unwrap();
        assert_eq!(blocks, Message::ask("what moves?"));
        assert_eq!(blocks.plain_text(), "what moves?");
    }
}
