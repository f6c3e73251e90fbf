//! From a request to a chat completion.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::rule::candidates_in;

/// SHA-256 of a body, hexadecimal.
pub(super) fn digest(body: &[u8]) -> String {
    Sha256::digest(body).iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The candidates of the last turn of the user that shows any: one that asks for a better answer
/// does not repeat them.
pub(super) fn last_candidates(body: &Value) -> Vec<String> {
    let turns = body.get("messages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let users = turns.iter().rev().filter(|turn| turn["role"] == "user");
    let mut candidates = users.map(|turn| candidates_in(&text(&turn["content"])));
    candidates.find(|candidates| !candidates.is_empty()).unwrap_or_default()
}

fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// A chat completion that says `said`. A token is four characters, a picture 85 tokens.
pub(super) fn completion(body: &Value, number: u64, said: &str) -> Value {
    let turns = body.get("messages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let characters: usize = turns.iter().map(|turn| text(&turn["content"]).chars().count()).sum();
    let pictures = turns
        .iter()
        .filter_map(|turn| turn["content"].as_array())
        .flatten()
        .filter(|part| part["type"] == "image_url")
        .count();
    let prompt_tokens = characters.div_ceil(4) + 85 * pictures;
    let completion_tokens = said.chars().count().div_ceil(4);
    json!({
        "id": format!("rehearsal-{number}"),
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model"),
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": said},
            "finish_reason": "stop",
        }],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    })
}

/// What an error says.
pub(super) fn error(message: &str) -> Vec<u8> {
    json!({"error": {"message": message, "type": "rehearsal"}}).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_counted_over_all_turns_and_pictures() {
        let body = json!({"model": "m", "messages": [
            {"role": "system", "content": "abcd"},
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "data:"}},
                {"type": "text", "text": "[1] a"},
            ]},
        ]});
        assert_eq!(last_candidates(&body), ["a"]);
        let reply = completion(&body, 3, "[1] > [2]");
        // Nine characters asked, nine said.
        assert_eq!(reply["usage"]["prompt_tokens"], 3 + 85);
        assert_eq!(reply["usage"]["completion_tokens"], 3);
        assert_eq!(reply["choices"][0]["message"]["content"], "[1] > [2]");
    }

    #[test]
    fn a_turn_that_shows_nothing_is_about_the_candidates_before_it() {
        let turn = |role: &str, text: &str| json!({"role": role, "content": text});
        let repair = json!({"messages": [
            turn("user", "[1] red\n[2] blue"),
            turn("assistant", "[1] mine"),
            turn("user", "That is no answer."),
        ]});
        assert_eq!(last_candidates(&repair), ["red", "blue"]);
        assert!(last_candidates(&json!({"messages": 7})).is_empty());
    }

    /// The digest of nothing, as FIPS 180-4 examples give it.
    #[test]
    fn digests_are_hexadecimal() {
        assert!(digest(b"").starts_with("e3b0c44298fc1c14"));
        assert_eq!(digest(b"").len(), 64);
    }
}
