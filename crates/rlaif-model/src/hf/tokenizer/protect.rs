//! Keeps text that spells a special token from becoming one.
//!
//! A question such as "what does `<image>` mean?" must not open a second place for the video.
//! Before a conversation is rendered, every special token spelled out in its texts is replaced by
//! a private-use character that occurs nowhere else; the template carries it along like any
//! letter. After rendering, what still spells a special token was written by the template. Token
//! ids are then made of the stretches between the marks as always, and of the marked words with
//! special tokens switched off.

use rlaif_data::{Block, Message};

/// First characters of Unicode's two private planes.
const PLANES: [u32; 2] = [0xF_0000, 0x10_0000];
/// Characters in a private plane.
const PLANE: u32 = 0xFFFE;

/// Which characters stand for which words.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    /// The character that stands for the first word; the others follow. `None` where nothing
    /// had to be replaced.
    base: Option<u32>,
    words: Vec<String>,
}

/// A stretch of marked text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Text in which special tokens are special.
    Text(&'a str),
    /// A special token's spelling, to be taken literally.
    Literal(&'a str),
}

/// Replaces what spells one of `specials` in the texts of `messages`.
pub(super) fn protect(messages: &[Message], specials: &[String]) -> (Vec<Message>, Marks) {
    let spells = |text: &str| specials.iter().any(|special| text.contains(special.as_str()));
    let touched = messages.iter().any(|message| spells(&together(message)));
    if !touched {
        return (messages.to_vec(), Marks::default());
    }
    let marks = Marks::new(messages, specials);
    let mut messages = messages.to_vec();
    for message in &mut messages {
        for block in &mut message.content {
            if let Block::Text { text } = block {
                *text = marks.replace(text);
            }
        }
        // Two blocks may spell a special token between them once a template joins them.
        if spells(&together(message)) {
            let mut first = true;
            for block in &mut message.content {
                if let Block::Text { text } = block {
                    if !first {
                        text.insert(0, marks.seam());
                    }
                    first = false;
                }
            }
        }
    }
    (messages, marks)
}

/// All texts of a message without anything between them.
fn together(message: &Message) -> String {
    message
        .content
        .iter()
        .filter_map(|block| match block {
            Block::Text { text } => Some(text.as_str()),
            Block::Video { .. } => None,
        })
        .collect()
}

impl Marks {
    /// Marks for `specials` that no text of `messages` contains.
    fn new(messages: &[Message], specials: &[String]) -> Self {
        let mut words = specials.to_vec();
        // Of two spellings that begin alike the longer is meant.
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        let count = u32::try_from(words.len()).unwrap_or(PLANE - 1).min(PLANE - 1) + 1;
        words.truncate(count as usize - 1);
        let used: std::collections::HashSet<u32> = messages
            .iter()
            .flat_map(|m| together(m).chars().map(u32::from).collect::<Vec<_>>())
            .collect();
        let base = PLANES
            .iter()
            .flat_map(|plane| (*plane..=plane + PLANE - count).step_by(count as usize))
            .find(|base| (*base..base + count).all(|mark| !used.contains(&mark)));
        Marks { base: Some(base.unwrap_or(PLANES[0])), words }
    }

    fn mark(&self, index: usize) -> char {
        self.base
            .and_then(|base| char::from_u32(base + u32::try_from(index).ok()?))
            .unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    /// A mark that stands for nothing and only keeps its neighbours apart.
    fn seam(&self) -> char {
        self.mark(self.words.len())
    }

    fn replace(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (index, word) in self.words.iter().enumerate().filter(|(_, word)| !word.is_empty()) {
            if text.contains(word.as_str()) {
                text = text.replace(word.as_str(), self.mark(index).encode_utf8(&mut [0; 4]));
            }
        }
        text
    }

    /// True where nothing was replaced.
    pub(super) fn is_empty(&self) -> bool {
        self.base.is_none()
    }

    /// Cuts rendered text at its marks.
    pub(super) fn pieces<'a>(&'a self, text: &'a str) -> Vec<Piece<'a>> {
        let Some(base) = self.base else { return vec![Piece::Text(text)] };
        let mut pieces = Vec::new();
        let mut start = 0;
        for (at, c) in text.char_indices() {
            let Some(index) = u32::from(c).checked_sub(base).map(|index| index as usize) else {
                continue;
            };
            if index > self.words.len() {
                continue;
            }
            if start < at {
                pieces.push(Piece::Text(&text[start..at]));
            }
            if let Some(word) = self.words.get(index) {
                pieces.push(Piece::Literal(word));
            }
            start = at + c.len_utf8();
        }
        if start < text.len() {
            pieces.push(Piece::Text(&text[start..]));
        }
        pieces
    }

    /// The text as it was meant.
    #[cfg(test)]
    fn restore(&self, text: &str) -> String {
        self.pieces(text)
            .into_iter()
            .map(|piece| match piece {
                Piece::Text(text) | Piece::Literal(text) => text,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_data::Role;

    fn specials() -> Vec<String> {
        ["<s>", "</s>", "<image>", "<image>s"].map(str::to_owned).to_vec()
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        let messages = [Message::ask("is a < b > c ?")];
        let (same, marks) = protect(&messages, &specials());
        assert!(marks.is_empty());
        assert_eq!(same, messages);
    }

    #[test]
    fn spelled_out_tokens_are_cut_out_and_put_back() {
        let text = "what are <image>s and </s> \u{F0000}?";
        let (messages, marks) = protect(&[Message::text(Role::User, text)], &specials());
        let marked = messages[0].plain_text();
        assert!(!marked.contains('<'), "{marked}");
        assert_eq!(marks.restore(&marked), text);
        assert_eq!(
            marks.pieces(&format!("<s>{marked}")),
            [
                Piece::Text("<s>what are "),
                Piece::Literal("<image>s"),
                Piece::Text(" and "),
                Piece::Literal("</s>"),
                Piece::Text(" \u{F0000}?"),
            ]
        );
    }

    #[test]
    fn a_token_spelled_across_blocks_is_kept_apart() {
        let block = |text: &str| Block::Text { text: text.to_owned() };
        let message = Message { role: Role::User, content: vec![block("a <im"), block("age> b")] };
        let (messages, marks) = protect(&[message], &specials());
        let joined = together(&messages[0]);
        assert!(!joined.contains("<image>"));
        assert_eq!(marks.restore(&joined), "a <image> b");
    }
}
