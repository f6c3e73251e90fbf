//! Pieces of answers: characters split over tokens, decoders that look ahead, stop strings.

use std::path::Path;
use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

/// Byte-level and SentencePiece tokenizers.
const FIXTURES: [&str; 6] =
    ["llava-a", "llava-b", "qwen2_5-vl-a", "qwen2_5-vl-b", "smolvlm-a", "smolvlm-b"];

fn fixture(name: &str) -> Arc<ChatTokenizer> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rlaif-model/tests/fixtures");
    Arc::new(ChatTokenizer::open(fixtures.join(name)).expect("a tokenizer"))
}

fn pieces(tokenizer: &Arc<ChatTokenizer>, ids: &[u32]) -> Vec<String> {
    let mut text = Detokeniser::new(Arc::clone(tokenizer));
    let mut pieces: Vec<String> =
        ids.iter().map(|id| text.push(*id).expect("nothing is taken back")).collect();
    pieces.push(text.finish().expect("nothing is taken back"));
    pieces
}

/// Every tokenizer of the fixtures, on whatever a model may say: the pieces are the text.
#[test]
fn pieces_put_together_are_the_whole_text_for_any_tokens() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for name in FIXTURES {
        let tokenizer = fixture(name);
        let size = u32::try_from(tokenizer.vocab_size()).unwrap();
        for _ in 0..200 {
            let len = rng.random_range(1..12);
            let ids: Vec<u32> = (0..len).map(|_| rng.random_range(0..size)).collect();
            let pieces = pieces(&tokenizer, &ids);
            assert_eq!(pieces.concat(), tokenizer.decode(&ids), "{name}: {ids:?}");
        }
    }
}

#[test]
fn a_character_split_over_tokens_comes_whole_with_its_last() {
    let mut split = 0;
    for name in FIXTURES {
        let tokenizer = fixture(name);
        let ids = tokenizer.encode_continuation("a \u{20ac} \u{1f980}\u{e9} b").unwrap();
        let pieces = pieces(&tokenizer, &ids);
        let whole = tokenizer.decode(&ids);
        assert_eq!(pieces.concat(), whole, "{name}");
        if whole.contains('\u{1f980}') {
            assert!(pieces.iter().all(|piece| !piece.contains('\u{FFFD}')), "{name}: {pieces:?}");
            split += usize::from(pieces.iter().any(String::is_empty));
        }
    }
    assert!(split >= 1, "no tokenizer of the fixtures splits a character");
}

#[test]
fn an_answer_that_ends_within_a_character_says_so_at_its_end_alone() {
    let mut checked = 0;
    for name in FIXTURES {
        let tokenizer = fixture(name);
        let mut ids = tokenizer.encode_continuation("a \u{1f980}").unwrap();
        ids.pop();
        if !tokenizer.decode(&ids).ends_with('\u{FFFD}') {
            continue;
        }
        let pieces = pieces(&tokenizer, &ids);
        assert!(pieces.last().unwrap().contains('\u{FFFD}'), "{name}: {pieces:?}");
        assert!(pieces.iter().rev().skip(1).all(|piece| !piece.contains('\u{FFFD}')));
        assert_eq!(pieces.concat(), tokenizer.decode(&ids), "{name}");
        checked += 1;
    }
    assert!(checked >= 1, "no tokenizer of the fixtures splits a character");
}

fn stopped(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool) {
    let mut looks = Stops::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
    let mut out = Vec::new();
    for piece in pieces {
        let (text, met) = looks.push(piece);
        out.push(text);
        if met {
            return (out, true);
        }
    }
    out.push(looks.finish());
    (out, false)
}

#[test]
fn a_stop_string_is_found_across_pieces_and_never_sent() {
    let (out, met) = stopped(&["</end>"], &["the cat <", "/e", "nd> more"]);
    assert!(met);
    assert_eq!(out, ["the cat ", "", ""]);
}

#[test]
fn what_only_looked_like_a_stop_string_is_sent_after_all() {
    let (out, met) = stopped(&["abc", "\u{e9}\u{e9}"], &["xab", "d\u{e9}", "a", "ab"]);
    assert!(!met);
    assert_eq!(out, ["x", "abd", "\u{e9}", "a", "ab"]);
    assert_eq!(out.concat(), "xabd\u{e9}aab");
}

#[test]
fn the_first_of_several_stop_strings_ends_the_text() {
    assert_eq!(stopped(&["two", "one"], &["say one two"]), (vec!["say ".to_owned()], true));
}

#[test]
fn a_token_is_told_by_the_text_that_it_adds() {
    let tokenizer = fixture("qwen2_5-vl-a");
    let ids = tokenizer.encode_continuation("a\u{1f980}").unwrap();
    let mut text = Detokeniser::new(Arc::clone(&tokenizer));
    let mut told = Vec::new();
    for id in &ids {
        told.push(text.would_add(*id));
        text.push(*id).unwrap();
    }
    assert!(told.len() >= 3 && told[0].starts_with('a'), "{told:?}");
    assert!(told[1].contains('\u{FFFD}'), "{told:?}");
    assert_eq!(told.last().unwrap(), "\u{1f980}");
    let end = tokenizer.eos_ids()[0];
    assert_eq!(text.would_add(end), tokenizer.spelling(end).unwrap());
}

/// No tokenizer of the fixtures does so; another's decoder may, and is found out.
#[test]
fn text_that_was_sent_and_changes_is_an_error() {
    let mut text = Detokeniser::new(fixture("llava-b"));
    assert_eq!(text.advance("do n".to_owned(), 4), Ok("do n".to_owned()));
    assert_eq!(text.advance("don't".to_owned(), 5), Err(Retracted));
    assert_eq!(text.advance("do not".to_owned(), 6), Ok("ot".to_owned()));
}
