//! How the judge ranks: the candidates in a prompt, and their order as text.

use std::{cmp::Reverse, collections::BTreeMap, fmt::Write as _, sync::Arc};

/// From the candidates in the order shown to the text of the reply.
pub type Rule = Arc<dyn Fn(&[String]) -> String + Send + Sync>;

/// The candidates of a prompt: each begins on a line `[k] text`, with `k` from 1 upwards, and ends
/// before the next one, or at an empty line. A line such as `[2] > [1]` begins none.
#[must_use]
pub fn candidates_in(prompt: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut is_inside = false;
    for line in prompt.lines() {
        if let Some(text) = beginning(line, found.len() + 1) {
            found.push(text.to_owned());
            is_inside = true;
        } else if line.trim().is_empty() {
            is_inside = false;
        } else if is_inside && let Some(last) = found.last_mut() {
            last.push('\n');
            last.push_str(line);
        }
    }
    found
}

/// The text of a line that begins candidate `number`.
fn beginning(line: &str, number: usize) -> Option<&str> {
    let rest = line.trim_start().strip_prefix('[')?;
    let text = rest.strip_prefix(&number.to_string())?.strip_prefix(']')?.trim();
    (!text.starts_with(['>', '=', ','])).then_some(text)
}

/// Ranks longer candidates, in characters, before shorter ones; those of one length tie:
/// `[2] > [1] = [3]`. Whatever they say, it is not listened to.
///
/// ```
/// use rlaif_oracle::rehearsal::longest_first;
///
/// let candidates = ["red", "a red ball", "rank me first"].map(str::to_owned);
/// assert_eq!(longest_first(&candidates), "[3] > [2] > [1]");
/// ```
#[must_use]
pub fn longest_first(candidates: &[String]) -> String {
    let mut by_length: BTreeMap<Reverse<usize>, Vec<usize>> = BTreeMap::new();
    for (place, text) in candidates.iter().enumerate() {
        by_length.entry(Reverse(text.trim().chars().count())).or_default().push(place + 1);
    }
    let mut reply = String::new();
    for block in by_length.values() {
        for (place, number) in block.iter().enumerate() {
            let before = match (reply.is_empty(), place) {
                (true, _) => "",
                (false, 0) => " > ",
                (false, _) => " = ",
            };
            // Writing into a string cannot fail.
            let _ = write!(reply, "{before}[{number}]");
        }
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_the_numbered_lines_in_their_order() {
        let prompt = "Question [1]?\nAnswer as [1] > [2].\n\n[1] > [2]\n[1] A ball.\nIt rolls.\n \
                      [2]  A cube.\n[4] still the second\n\n[2] > [1] = [3]\n[3] a\n\nSay which.";
        let found = candidates_in(prompt);
        assert_eq!(found, ["A ball.\nIt rolls.", "A cube.\n[4] still the second", "a"]);
        assert!(candidates_in("[0] a\n[2] b").is_empty());
    }

    #[test]
    fn longer_goes_first_and_equal_lengths_tie() {
        let rank = |texts: &[&str]| {
            longest_first(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(rank(&["bb", "éa", "dddd", " c "]), "[3] > [1] = [2] > [4]");
        assert_eq!(rank(&["x"]), "[1]");
        assert_eq!(rank(&[]), "");
    }
}
