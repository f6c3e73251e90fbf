//! Against SentencePiece and `transformers` (`tools/make_sentencepiece_fixtures.py`).

use rlaif_data::Message;
use tokenizers::Tokenizer;

use super::*;
use crate::hf::testing::{fixture, golden};
use crate::hf::tokenizer::VideoText;
use crate::hf::{ChatTokenizer, TokenizerError};

fn model() -> Vec<u8> {
    std::fs::read(fixture("sentencepiece/tokenizer.model")).unwrap()
}

fn converted(config: &Value) -> Tokenizer {
    let (json, _) = convert(&model(), config.as_object().unwrap()).unwrap();
    Tokenizer::from_bytes(json).unwrap()
}

fn ids_of(case: &Value) -> Vec<i64> {
    case["ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
}

fn encoded(tokenizer: &Tokenizer, case: &Value) -> Vec<i64> {
    let encoding = tokenizer.encode_fast(case["text"].as_str().unwrap(), true).unwrap();
    encoding.get_ids().iter().map(|id| i64::from(*id)).collect()
}

#[test]
fn texts_become_the_tokens_of_sentencepiece_and_of_transformers() {
    let golden = golden("sentencepiece");
    for (legacy, kinds) in [(false, &["plain", "special"][..]), (true, &["legacy"])] {
        let tokenizer = converted(&json!({ "legacy": legacy }));
        assert_eq!(tokenizer.get_vocab_size(true), golden["vocabulary"]);
        for kind in kinds {
            let cases = golden[kind].as_array().unwrap();
            assert!(cases.len() >= 4);
            for case in cases.iter().filter(|case| *kind == "legacy" || case["text"] != "") {
                assert_eq!(encoded(&tokenizer, case), ids_of(case), "{kind} {}", case["text"]);
            }
        }
    }
    // The two differ where a text goes on after a special token.
    let case = &golden["special"][0];
    assert_ne!(ids_of(case), ids_of(&golden["legacy"][0]));
    let without = converted(&json!({ "add_bos_token": false }));
    assert_eq!(encoded(&without, case), ids_of(case)[1..]);
}

#[test]
fn a_prompt_is_tokenised_around_the_video_as_the_original_code_does() {
    let golden = golden("sentencepiece");
    let tokenizer = ChatTokenizer::open(fixture("sentencepiece")).unwrap();
    let vocabulary = golden["vocabulary"].as_u64().unwrap();
    assert_eq!(u64::from(tokenizer.image_token_id()), vocabulary);
    assert_eq!(tokenizer.min_embeddings() as u64, vocabulary);
    assert_eq!(tokenizer.eos_ids(), [2]);
    for case in golden["prompts"].as_array().unwrap() {
        let messages = [Message::ask(case["question"].as_str().unwrap())];
        assert_eq!(tokenizer.render(&messages, true).unwrap(), case["rendered"].as_str().unwrap());
        let prompt = tokenizer.encode_prompt(&messages, &VideoText::Repeated(3)).unwrap();
        let place = prompt.visual[0].clone();
        assert_eq!((prompt.visual.len(), place.len()), (1, 3));
        let mut ids: Vec<i64> = prompt.ids.iter().map(|id| i64::from(*id)).collect();
        ids.splice(place, [-200]);
        assert_eq!(ids, ids_of(case));
    }
    // Also after it was saved, which writes tokenizer.json.
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("sentencepiece/config.json"), dir.path().join("config.json")).unwrap();
    tokenizer.save(dir.path()).unwrap();
    let again = ChatTokenizer::open(dir.path()).unwrap();
    let messages = [Message::ask("What moves?")];
    let encode = |tokenizer: &ChatTokenizer| {
        tokenizer.encode_prompt(&messages, &VideoText::Repeated(2)).unwrap()
    };
    assert_eq!(encode(&again), encode(&tokenizer));
}

#[test]
fn tokens_become_the_text_of_sentencepiece() {
    let tokenizer = ChatTokenizer::open(fixture("sentencepiece")).unwrap();
    for case in golden("sentencepiece")["decode"].as_array().unwrap() {
        let ids: Vec<u32> = ids_of(case).iter().map(|id| u32::try_from(*id).unwrap()).collect();
        assert_eq!(tokenizer.decode(&ids), case["text"].as_str().unwrap());
    }
}

/// A message field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut len = bytes.len();
    while len >= 0x80 {
        out.push(u8::try_from(len & 0x7F).unwrap() | 0x80);
        len >>= 7;
    }
    out.push(u8::try_from(len).unwrap());
    out.extend(bytes);
    out
}

#[test]
fn files_of_another_kind_or_broken_ones_are_refused() {
    let whole = model();
    let piece = |text: &str| field(1, &field(1, text.as_bytes()));
    let nan = [field(1, b"x"), vec![0x15], f32::NAN.to_le_bytes().to_vec()].concat();
    let unigram = std::fs::read(fixture("sentencepiece/unigram.model")).unwrap();
    for (bytes, expected) in [
        (unigram, "Llama's kind, which has BPE"),
        (whole[..whole.len() - 3].to_vec(), "cut off"),
        (whole[..1000].to_vec(), "cut off"),
        (Vec::new(), "no pieces"),
        (b"{}".to_vec(), "no SentencePiece model"),
        (vec![0xFF; 64], "no SentencePiece model"),
        (vec![0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], "no SentencePiece"),
        (piece(&"x".repeat(300)), "a piece of 300 bytes"),
        (field(1, &nan), "score NaN"),
        (field(1, &field(1, &[0xFF])), "a piece is no text"),
        ([whole.clone(), piece("a")].concat(), "stands twice"),
    ] {
        let message = convert(&bytes, &Map::new()).unwrap_err();
        assert!(message.contains(expected), "{expected:?} not in {message:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("sentencepiece/config.json"), dir.path().join("config.json")).unwrap();
    std::fs::write(dir.path().join("tokenizer.model"), &whole[..500]).unwrap();
    let error = ChatTokenizer::open(dir.path()).unwrap_err();
    assert!(matches!(error, TokenizerError::Broken { .. }));
    assert!(error.to_string().contains("tokenizer.model: no SentencePiece model"), "{error}");
}

#[test]
fn any_number_of_placeholders_is_encoded() {
    let tokenizer = ChatTokenizer::open(fixture("sentencepiece")).unwrap();
    let n = 100_000;
    let ids = tokenizer.encode_split(&"<image>".repeat(n), false).unwrap();
    assert_eq!(ids.iter().filter(|id| **id == tokenizer.image_token_id()).count(), n);
}

/// The substrings of one text: nearly every split of each is a merge.
#[test]
fn pieces_with_too_many_merges_are_refused() {
    let mut state = 1_u32;
    let text: String = (0..400)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'a' + u8::try_from((state >> 24) % 26).unwrap())
        })
        .collect();
    let pieces = |longest: usize| -> Vec<Piece> {
        (0..text.len())
            .flat_map(|at| (at + 1..=text.len().min(at + longest)).map(move |end| at..end))
            .map(|range| Piece { text: text[range].to_owned(), score: 0.0, kind: NORMAL })
            .collect()
    };
    assert!(merges(&pieces(20)).is_ok());
    assert!(merges(&pieces(250)).unwrap_err().contains("merges"));
}
