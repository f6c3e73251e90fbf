//! A tokenizer made from a list of words, for models that start from nothing.

use serde_json::{Map, Value, json};

use crate::hf::tokenizer::open::VisualToken;
use crate::hf::tokenizer::{ChatTokenizer, TokenizerError};

/// Special tokens with the ids 0 to 4.
const SPECIALS: [&str; 5] = ["<pad>", "<s>", "</s>", "<image>", "<unk>"];
/// Words that the template writes, with the ids 5 to 7.
const ROLES: [&str; 3] = ["system:", "user:", "assistant:"];

/// `<s> user: <image> question assistant: answer </s>`, words between spaces.
const TEMPLATE: &str = r"{{- bos_token -}}
{%- for message in messages -%}
    {{- ' ' + message['role'] + ':' -}}
    {%- for block in message['content'] | selectattr('type', 'equalto', 'image') -%}
        {{- ' ' + image_token -}}
    {%- endfor -%}
    {%- for block in message['content'] | selectattr('type', 'equalto', 'text') -%}
        {{- ' ' + block['text'] -}}
    {%- endfor -%}
    {%- if message['role'] == 'assistant' -%}
        {{- ' ' + eos_token -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- ' assistant:' -}}
{%- endif -%}
";

impl ChatTokenizer {
    /// A tokenizer that cuts text at white space and knows `words`, with a chat template of its
    /// own. Ids: `<pad>` 0, `<s>` 1, `</s>` 2, `<image>` 3, `<unk>` 4, `system:` 5, `user:` 6,
    /// `assistant:` 7, then the words in their order, repeated ones once.
    ///
    /// A word outside of the list becomes `<unk>`. What [`save`](Self::save) writes opens with
    /// `transformers`' `AutoTokenizer`.
    ///
    /// # Errors
    ///
    /// When a word is empty or holds white space.
    pub fn word_level<W: AsRef<str>>(
        words: impl IntoIterator<Item = W>,
    ) -> Result<Self, TokenizerError> {
        let mut vocabulary: Map<String, Value> = Map::new();
        let mut add = |word: &str| {
            let id = vocabulary.len();
            vocabulary.entry(word).or_insert_with(|| json!(id));
        };
        SPECIALS.iter().chain(&ROLES).for_each(|word| add(word));
        for word in words {
            let word = word.as_ref();
            if word.is_empty() || word.contains(char::is_whitespace) {
                return Err(TokenizerError::Word { word: word.to_owned() });
            }
            add(word);
        }
        let added: Vec<Value> = SPECIALS
            .iter()
            .enumerate()
            .map(|(id, token)| {
                json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true,
                })
            })
            .collect();
        let tokenizer = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": { "type": "WhitespaceSplit" },
            "post_processor": null,
            "decoder": null,
            "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>" },
        });
        let config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": SPECIALS[0],
            "bos_token": SPECIALS[1],
            "eos_token": SPECIALS[2],
            "image_token": SPECIALS[3],
            "unk_token": SPECIALS[4],
            "clean_up_tokenization_spaces": false,
            "padding_side": "left",
        });
        let config = config.as_object().cloned().unwrap_or_default();
        let visual = VisualToken { id: Some(3), ..VisualToken::default() };
        Self::build(format!("{tokenizer:#}\n"), config, TEMPLATE, &[], visual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hf::tokenizer::VideoText;
    use rlaif_data::Message;

    #[test]
    fn words_become_ids_in_their_order() {
        let chat = ChatTokenizer::word_level(["what", "moves?", "circle", "what"]).unwrap();
        assert_eq!(chat.vocab_size(), 11);
        let prompt =
            chat.encode_prompt(&[Message::ask("what moves?")], &VideoText::Repeated(3)).unwrap();
        assert_eq!(prompt.ids, [1, 6, 3, 3, 3, 8, 9, 7]);
        assert_eq!((prompt.visual.len(), prompt.visual[0].clone()), (1, 2..5));
        assert_eq!(chat.encode_answer("circle moon").unwrap(), [10, 4, 2]);
        assert_eq!(chat.decode(&[10, 9, 2]), "circle moves?");
        assert_eq!((chat.eos_ids(), chat.pad_id()), ([2].as_slice(), Some(0)));
        assert_eq!(chat.forbidden_ids(), [0, 1, 3, 4]);
    }

    #[test]
    fn a_saved_one_opens_again() {
        let dir = tempfile::tempdir().unwrap();
        let chat = ChatTokenizer::word_level(["what", "moves?"]).unwrap();
        chat.save(dir.path()).unwrap();
        let again = ChatTokenizer::open(dir.path()).unwrap();
        let question = [Message::ask("what moves?")];
        assert_eq!(
            again.encode_prompt(&question, &VideoText::Repeated(1)).unwrap(),
            chat.encode_prompt(&question, &VideoText::Repeated(1)).unwrap()
        );
        assert_eq!(again.encode_answer("moves?").unwrap(), [9, 2]);
    }

    #[test]
    fn a_word_with_a_space_is_refused() {
        let error = ChatTokenizer::word_level(["a b"]).unwrap_err().to_string();
        assert!(error.contains("\"a b\""), "{error}");
    }
}
