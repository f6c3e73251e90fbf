//! Text from anywhere, fit for a message.

/// `text` with control characters spelled out: names of files and candidates must not break a log
/// line or colour a terminal.
pub(crate) fn tame(text: &str) -> String {
    let mut tamed = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            tamed.extend(c.escape_default());
        } else {
            tamed.push(c);
        }
    }
    tamed
}

#[cfg(test)]
mod tests {
    use super::tame;

    #[test]
    fn control_characters_are_spelled_out_and_the_rest_stays() {
        assert_eq!(tame("a\u{1b}[31m\nä"), "a\\u{1b}[31m\\nä");
    }
}
