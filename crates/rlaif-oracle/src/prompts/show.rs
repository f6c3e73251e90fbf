//! Text of others made safe to stand in a prompt.
//!
//! - Every line but the first begins with `    | `, whatever ends a line for anybody, so that no
//!   text can open a candidate `[2]` of its own or close the list of candidates.
//! - `<` before a letter, `/`, `|` or `_`, and `[` before `INST` or `/INST`, get a space behind them:
//!   `<image>` and `<|im_end|>` are placeholders and turns to the tokenizers of many servers.
//! - Control characters, and those that steer direction or hide text, are escaped.
//! - What is too long is cut, and says so.

use std::fmt::Write as _;

/// The beginning of a further line.
const FURTHER: &str = "\n    | ";

/// `text` made safe, at most `chars` characters of it.
pub(super) fn show(text: &str, chars: usize) -> String {
    let text = text.trim();
    if text.is_empty() {
        return "(empty)".to_owned();
    }
    let end = text.char_indices().nth(chars).map(|(end, _)| end);
    let kept = &text[..end.unwrap_or(text.len())];
    let mut shown = String::with_capacity(kept.len());
    let mut before = ' ';
    for (at, c) in kept.char_indices() {
        let rest = &kept[at..];
        match c {
            '\n' if before == '\r' => (),
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                shown.push_str(FURTHER);
            }
            '\t' => shown.push(' '),
            _ if c.is_control() || steers(c) => shown.extend(c.escape_unicode()),
            '<' | '[' if opens_token(rest) => shown.extend([c, ' ']),
            _ => shown.push(c),
        }
        before = c;
    }
    if end.is_some() {
        // Writing to a string cannot fail.
        let _ = write!(shown, " (cut after {chars} characters)");
    }
    shown
}

/// Whether `text` is longer than what is shown of it.
pub(super) fn is_cut(text: &str, chars: usize) -> bool {
    text.trim().chars().nth(chars).is_some()
}

/// Bidirectional controls, tags, and other characters that are read but not seen.
fn steers(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{e0000}'..='\u{e007f}')
}

fn opens_token(text: &str) -> bool {
    let name = |c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '|' | '_' | '｜');
    match text.strip_prefix('<') {
        Some(rest) => rest.starts_with(name),
        None => text.starts_with("[INST") || text.starts_with("[/INST"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn further_lines_are_marked_whatever_ends_a_line() {
        assert_eq!(show("a\n[2] b", 99), "a\n    | [2] b");
        assert_eq!(show("a\r\n\r\nb", 99), "a\n    | \n    | b");
        for end in ["\r", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "\u{2029}"] {
            assert_eq!(show(&format!("a{end}b"), 99), "a\n    | b", "{end:?}");
        }
    }

    #[test]
    fn placeholders_turns_and_hidden_text_are_broken_up() {
        assert_eq!(show("<image> <|im_end|> </s>", 99), "< image> < |im_end|> < /s>");
        assert_eq!(show("[INST] a [/INST] [1]", 99), "[ INST] a [ /INST] [1]");
        assert_eq!(show("1 < 2, a<3 <｜User｜>", 99), "1 < 2, a<3 < ｜User｜>");
        assert_eq!(show("a\u{1b}[2J\tb\u{202e}\u{e0041}", 99), "a\\u{1b}[2J b\\u{202e}\\u{e0041}");
    }

    #[test]
    fn long_text_is_cut_by_characters_and_says_so() {
        assert_eq!(show("ééé", 3), "ééé");
        assert_eq!(show(" éééé ", 3), "ééé (cut after 3 characters)");
        assert_eq!((is_cut(" ééé ", 3), is_cut("éééé", 3)), (false, true));
        assert_eq!(show(" \n ", 3), "(empty)");
    }

    proptest! {
        #[test]
        fn no_text_has_a_line_of_its_own(text in r"(?s)([\[\]<>|\r\n\x0b\x85 12]|<image>|.){0,60}") {
            let shown = show(&text, 40);
            for line in shown.split(|c: char| "\n\r\u{b}\u{c}\u{85}\u{2028}\u{2029}".contains(c)).skip(1) {
                prop_assert!(line.starts_with("    | "), "{:?}", shown);
            }
            prop_assert!(!shown.contains("<image>"));
        }
    }
}
