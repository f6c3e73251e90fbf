//! The part of a reply that is meant to be read, and its many ways to write a digit.

use super::ReplyError;

/// What comes after the thoughts.
pub(super) fn spoken(reply: &str) -> Result<&str, ReplyError> {
    const END: &str = "</think>";
    match reply.rfind(END) {
        Some(at) => Ok(&reply[at + END.len()..]),
        None if reply.trim_start().starts_with("<think>") => Err(ReplyError::Unfinished),
        None => Ok(reply),
    }
}

/// Text with digits, brackets and signs in ASCII, without emphasis and without characters that
/// cannot be seen. Circled numbers are set apart, so that two side by side are not one.
pub(super) fn normalized(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '*' | '`' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' => (),
            '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => plain.push('\n'),
            '【' => plain.push('['),
            '】' => plain.push(']'),
            '≻' => plain.push('>'),
            '⁰' => plain.push('0'),
            '¹' => plain.push('1'),
            '²' => plain.push('2'),
            '³' => plain.push('3'),
            '⁴'..='⁹' => plain.push(shifted(c, '⁴', '4')),
            '₀'..='₉' => plain.push(shifted(c, '₀', '0')),
            // Full-width forms of all that is printable in ASCII.
            '！'..='～' => plain.push(shifted(c, '！', '!')),
            _ => match circled(c) {
                Some(number) => plain.extend([" ", &number.to_string(), " "]),
                None => plain.push(c),
            },
        }
    }
    plain.replace("&gt;", ">")
}

/// The character as far from `to` as `c` is from `from`.
fn shifted(c: char, from: char, to: char) -> char {
    char::from_u32(u32::from(c) - u32::from(from) + u32::from(to)).unwrap_or(c)
}

fn circled(c: char) -> Option<u32> {
    let (first, start) = match c {
        '①'..='⑳' => ('①', 1),
        '⑴'..='⒇' => ('⑴', 1),
        '㉑'..='㉟' => ('㉑', 21),
        '㊱'..='㊿' => ('㊱', 36),
        '❶'..='❿' => ('❶', 1),
        '⓫'..='⓴' => ('⓫', 11),
        '➀'..='➉' => ('➀', 1),
        '➊'..='➓' => ('➊', 1),
        '⓪' => ('⓪', 0),
        _ => return None,
    };
    Some(u32::from(c) - u32::from(first) + start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_signs_become_ascii() {
        assert_eq!(normalized("［２］＞[¹] = 【₃】"), "[2]>[1] = [3]");
        assert_eq!(normalized("②①"), " 2  1 ");
        assert_eq!(normalized("⑳㉑㊿❿⓫⓪"), " 20  21  50  10  11  0 ");
        assert_eq!(normalized("**[1]** &gt;\u{200b} `[2]`\r\nＡ⁹"), "[1] > [2]\n\nA9");
    }

    #[test]
    fn thoughts_are_dropped() {
        assert_eq!(spoken("<think>[1] > [2]</think>\nB"), Ok("\nB"));
        assert_eq!(spoken("a</think>b</think>c"), Ok("c"));
        assert_eq!(spoken("  <think>and so on"), Err(ReplyError::Unfinished));
        assert_eq!(spoken("what <think> means"), Ok("what <think> means"));
    }
}
