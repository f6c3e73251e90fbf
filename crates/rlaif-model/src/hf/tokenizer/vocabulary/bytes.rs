//! Single tokens: their spelling, and the bytes of those that may be part of a character.

use tokenizers::DecoderWrapper;

use crate::hf::tokenizer::ChatTokenizer;

impl ChatTokenizer {
    /// A token as the vocabulary spells it: `</s>`, `Ġthe`, `<0xE2>`; `None` outside of the
    /// vocabulary. [`decode`](Self::decode) makes text of tokens.
    #[must_use]
    pub fn spelling(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// True for a token that stands for one byte of a text by its value, `<0xE2>`: what a run of
    /// them says is only known at its end.
    #[must_use]
    pub fn is_byte(&self, id: u32) -> bool {
        self.spelling(id).is_some_and(|spelling| fallback_byte(&spelling).is_some())
    }

    /// The bytes of a token that stands for bytes rather than for text: `<0xE2>`, and every token
    /// of a byte-level vocabulary but the special ones.
    #[must_use]
    pub fn raw_bytes(&self, id: u32) -> Option<Vec<u8>> {
        let spelling = self.spelling(id).filter(|_| !self.forbids(id))?;
        if let Some(byte) = fallback_byte(&spelling) {
            return Some(vec![byte]);
        }
        if !self.tokenizer.get_decoder().is_some_and(is_byte_level) {
            return None;
        }
        spelling.chars().map(alphabet_byte).collect()
    }
}

fn is_byte_level(decoder: &DecoderWrapper) -> bool {
    match decoder {
        DecoderWrapper::ByteLevel(_) => true,
        DecoderWrapper::Sequence(all) => all.get_decoders().iter().any(is_byte_level),
        _ => false,
    }
}

fn fallback_byte(spelling: &str) -> Option<u8> {
    let digits = spelling.strip_prefix("<0x")?.strip_suffix('>')?;
    let hexadecimal = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| hexadecimal)
}

/// GPT-2's alphabet: bytes that print stand for themselves, the others for the characters from
/// U+0100 in their order.
fn alphabet_byte(letter: char) -> Option<u8> {
    let code = u32::from(letter);
    let byte = match code {
        33..=126 | 161..=172 | 174..=255 => code,
        256..=288 => code - 256,
        289..=322 => code - 289 + 127,
        323 => 173,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn fixture(name: &str) -> ChatTokenizer {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        ChatTokenizer::open(fixtures.join(name)).expect("a tokenizer")
    }

    /// From GPT-2's `bytes_to_unicode`: U+0120 is the space, U+010A the line feed, U+0143 is 0xAD.
    #[test]
    fn the_alphabet_is_gpt_2s_and_has_every_byte_once() {
        let letters = [('\u{120}', b' '), ('\u{10a}', b'\n'), ('a', b'a'), ('\u{143}', 0xAD)];
        for (letter, byte) in letters {
            assert_eq!(alphabet_byte(letter), Some(byte));
        }
        let all: BTreeSet<u8> =
            (0..400).filter_map(char::from_u32).filter_map(alphabet_byte).collect();
        assert_eq!(all.len(), 256);
    }

    #[test]
    fn bytes_of_the_tokens_together_are_the_text() {
        let text = "a \u{20ac} \u{1f980}\u{e9}\n b";
        for name in ["qwen2_5-vl-a", "smolvlm-a"] {
            let tokenizer = fixture(name);
            let ids = tokenizer.encode_continuation(text).unwrap();
            let bytes: Vec<u8> =
                ids.iter().flat_map(|id| tokenizer.raw_bytes(*id).expect("bytes")).collect();
            assert_eq!(bytes, tokenizer.decode(&ids).into_bytes(), "{name}");
            let end = tokenizer.eos_ids()[0];
            assert!(tokenizer.spelling(end).is_some() && !tokenizer.is_byte(end), "{name}");
        }
    }

    #[test]
    fn only_two_hexadecimal_digits_are_a_byte() {
        assert_eq!(fallback_byte("<0xE2>"), Some(0xE2));
        for other in ["<0xE>", "<0x+E>", "<0xE22>", "0xE2", "<0xE2", "<0x\u{e9}>", "<s>"] {
            assert_eq!(fallback_byte(other), None, "{other}");
        }
    }
}
