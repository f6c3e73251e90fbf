//! Which option a generated text names.
//!
//! [`extract_letter`] reads evidence from strong to weak and stops at the first kind that is
//! present; where that kind names two different options the answer is ambiguous, never a guess:
//!
//! 1. the whole answer is one letter: `B`, `(b)`, `**B**.`
//! 2. the whole answer is one option's text
//! 3. a phrase: `the answer is B`, `Answer: (B)`, `option B`, `best choice is b.`
//! 4. marked letters: `(B)`, `[B]`, `B)`, `B.` or `B:` with more text behind it
//! 5. bare capital letters: `it must be B`, without the article `A` and the pronoun `I`
//! 6. one option's text inside the answer; an option within a longer named one does not count
//!
//! [`extract_letter_first_match`] is the rule of Video-MME's own script, kept for comparison with
//! published numbers: it takes the first capital letter that it meets, an article included.

use rlaif_data::example::letter;
use serde::{Deserialize, Serialize};

use crate::text::normalise;

/// What a generated text says about the options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterPick {
    /// It names this option (an index, 0 for `A`).
    Option(usize),
    /// It names several.
    Ambiguous,
    /// It names none.
    Missing,
}

impl LetterPick {
    /// The option named, if it is exactly one.
    #[must_use]
    pub fn option(self) -> Option<usize> {
        match self {
            LetterPick::Option(index) => Some(index),
            LetterPick::Ambiguous | LetterPick::Missing => None,
        }
    }
}

/// The option that `answer` names, by the rules of the [module](self). `options` are the texts
/// without their letters, at most 26.
#[must_use]
pub fn extract_letter(answer: &str, options: &[String]) -> LetterPick {
    // A reasoning model's thoughts are not its answer.
    let answer = answer.rsplit("</think>").next().unwrap_or(answer).trim();
    let scan = Scan::new(answer, options.len());
    let exact = whole_option(answer, options);
    [scan.whole_letter(), exact, scan.phrases(), scan.marked(), scan.bare()]
        .into_iter()
        .chain(std::iter::once_with(|| contained_options(answer, options)))
        .find_map(|named| verdict(&named))
        .unwrap_or(LetterPick::Missing)
}

/// The rule of Video-MME's `eval_your_results.py`: known phrases are cut out, then the first
/// capital option letter counts wherever it stands. `options` is their number, at most 26.
#[must_use]
pub fn extract_letter_first_match(answer: &str, options: usize) -> LetterPick {
    // The script's list, with its two missing commas that fuse neighbours.
    const PHRASES: [&str; 10] = [
        "The best answer is",
        "The correct answer is",
        "The answer is",
        "The answer",
        "The best option isThe correct option is",
        "Best answer:Best option:",
        "Answer:",
        "Option:",
        "The correct answer",
        "The correct option",
    ];
    let mut rest = answer.trim().to_owned();
    for phrase in PHRASES {
        rest = rest.replace(phrase, "");
    }
    rest.chars()
        .find_map(|c| (0..options.min(26)).find(|index| letter(*index) == c))
        .map_or(LetterPick::Missing, LetterPick::Option)
}

/// Nothing where no option is named, so that weaker evidence may speak.
fn verdict(named: &[usize]) -> Option<LetterPick> {
    let first = *named.first()?;
    let agree = named.iter().all(|index| *index == first);
    Some(if agree { LetterPick::Option(first) } else { LetterPick::Ambiguous })
}

fn whole_option(answer: &str, options: &[String]) -> Vec<usize> {
    let answer = normalise(answer);
    let same = |option: &String| !answer.is_empty() && normalise(option) == answer;
    (0..options.len()).filter(|index| same(&options[*index])).collect()
}

/// Options whose words stand in the answer one after the other, without those that are part of
/// another one found (`red` where `dark red` is an option too).
fn contained_options(answer: &str, options: &[String]) -> Vec<usize> {
    let answer = format!(" {} ", normalise(answer));
    let padded: Vec<String> = options.iter().map(|o| format!(" {} ", normalise(o))).collect();
    let found: Vec<usize> = (0..options.len())
        .filter(|index| padded[*index].trim() != "" && answer.contains(&padded[*index]))
        .collect();
    let covered = |index: usize| {
        found.iter().any(|other| {
            padded[*other].len() > padded[index].len() && padded[*other].contains(&padded[index])
        })
    };
    found.iter().copied().filter(|index| !covered(*index)).collect()
}

/// The single letters of a text with what stands around them.
struct Scan {
    chars: Vec<char>,
    options: usize,
}

impl Scan {
    fn new(answer: &str, options: usize) -> Self {
        Scan { chars: answer.chars().collect(), options: options.min(26) }
    }

    fn option_at(&self, at: usize) -> Option<usize> {
        let c = self.chars.get(at)?.to_ascii_uppercase();
        (0..self.options).find(|index| letter(*index) == c)
    }

    /// An option letter at `at` that is no part of a word (`cat`, `A's`, `B2`).
    fn lone_letter(&self, at: usize) -> Option<usize> {
        let joins = |c: &char| c.is_alphanumeric() || matches!(c, '\'' | '’' | '_');
        let before = at.checked_sub(1).and_then(|i| self.chars.get(i)).is_some_and(joins);
        let after = self.chars.get(at + 1).is_some_and(joins);
        self.option_at(at).filter(|_| !before && !after)
    }

    fn whole_letter(&self) -> Vec<usize> {
        let mut letters = (0..self.chars.len()).filter(|i| self.chars[*i].is_alphanumeric());
        match (letters.next(), letters.next()) {
            (Some(at), None) => self.option_at(at).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    fn phrases(&self) -> Vec<usize> {
        const PHRASES: [&str; 9] = [
            "answer is",
            "answer:",
            "answer would be",
            "option is",
            "choice is",
            "option:",
            "choice:",
            "option",
            "choice",
        ];
        let lower: Vec<char> = self.chars.iter().map(char::to_ascii_lowercase).collect();
        let mut named = Vec::new();
        for phrase in PHRASES.map(|p| p.chars().collect::<Vec<char>>()) {
            for start in 0..lower.len() {
                if lower[start..].starts_with(&phrase) {
                    named.extend(self.letter_behind(start + phrase.len()));
                }
            }
        }
        named
    }

    /// The letter next to a phrase that ends at `at`: a capital, or a small letter that ends the
    /// text or is closed by a mark (so that "the answer is a red circle" names nothing).
    fn letter_behind(&self, at: usize) -> Option<usize> {
        let skip =
            |c: &char| c.is_whitespace() || matches!(c, ':' | '*' | '(' | '[' | '"' | '\'' | '`');
        let at = (at..self.chars.len()).find(|i| !skip(&self.chars[*i]))?;
        let joined = at.checked_sub(1).is_some_and(|i| self.chars[i].is_alphanumeric());
        let index = self.lone_letter_or_quoted(at).filter(|_| !joined)?;
        let closed = self.chars.get(at + 1).is_none_or(|c| !c.is_whitespace());
        (self.chars[at].is_ascii_uppercase() || closed).then_some(index)
    }

    /// Like [`Self::lone_letter`], but a quotation mark may close it: `answer is 'B'`.
    fn lone_letter_or_quoted(&self, at: usize) -> Option<usize> {
        let quoted = self.chars.get(at + 1).is_some_and(|c| *c == '\'')
            && self.chars.get(at + 2).is_none_or(|c| !c.is_alphanumeric());
        if quoted { self.option_at(at) } else { self.lone_letter(at) }
    }

    fn marked(&self) -> Vec<usize> {
        let last = self.chars.len().saturating_sub(1);
        self.capitals()
            .filter(|(at, _)| {
                let before = at.checked_sub(1).map(|i| self.chars[i]);
                match self.chars.get(at + 1) {
                    Some(')' | ']') => true,
                    // A full stop at the very end closes the sentence, not the letter.
                    Some('.' | ':') => at + 1 < last,
                    _ => matches!(before, Some('(' | '[')),
                }
            })
            .map(|(_, index)| index)
            .collect()
    }

    fn bare(&self) -> Vec<usize> {
        self.capitals().filter(|(at, _)| !self.is_word(*at)).map(|(_, index)| index).collect()
    }

    /// `A` and `I` before another word are an article and a pronoun, unless that word can only
    /// follow a letter.
    fn is_word(&self, at: usize) -> bool {
        let next: String = self.chars[at + 1..].iter().collect();
        let next = next.split_whitespace().next().filter(|_| next.starts_with(char::is_whitespace));
        let follows_letter = matches!(next, None | Some("or" | "and" | "is" | "because" | "since"));
        matches!(self.chars[at], 'A' | 'I') && !follows_letter
    }

    fn capitals(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.chars.len())
            .filter(|at| self.chars[*at].is_ascii_uppercase())
            .filter_map(|at| Some((at, self.lone_letter(at)?)))
    }
}

#[cfg(test)]
mod tests {
    use LetterPick::{Ambiguous, Missing, Option as Pick};
    use proptest::prelude::*;

    use super::*;

    fn options() -> Vec<String> {
        ["red", "dark red", "a blue circle", "vitamin C"].map(str::to_owned).to_vec()
    }

    #[test]
    fn texts_and_the_options_they_name() {
        for (answer, pick) in [
            // One letter.
            ("A", Pick(0)),
            (" (B) ", Pick(1)),
            ("C .", Pick(2)),
            ("d", Pick(3)),
            ("**B**", Pick(1)),
            ("B\n", Pick(1)),
            // One option's text.
            ("Dark red.", Pick(1)),
            ("The blue circle", Pick(2)),
            ("Vitamin C", Pick(3)),
            // Phrases.
            ("The answer is A", Pick(0)),
            ("the correct answer is (c).", Pick(2)),
            ("Answer: B, since nothing is A", Pick(1)),
            ("The best answer is: **D**", Pick(3)),
            ("I would go for option B here", Pick(1)),
            ("The answer is 'B'.", Pick(1)),
            ("The answer is A. No, the answer is B.", Ambiguous),
            ("The answer is a matter of taste", Missing),
            // Marks.
            ("A. red", Pick(0)),
            ("(C) a blue circle", Pick(2)),
            ("B: it is darker than A", Pick(1)),
            ("B) because", Pick(1)),
            ("A. red B. dark red C. a blue circle", Ambiguous),
            ("(A) or (B)", Ambiguous),
            // Bare letters.
            ("It must be B.", Pick(1)),
            ("A man walks", Missing),
            ("A because it is red", Pick(0)),
            ("A or B", Ambiguous),
            ("I think C", Pick(2)),
            // Text inside the answer.
            ("it looks dark red to me", Pick(1)),
            ("it is red, later a blue circle", Ambiguous),
            ("a redder thing", Missing),
            // Nothing usable.
            ("", Missing),
            ("E", Missing),
            ("cat", Missing),
            ("<think>A or B? C.</think> D", Pick(3)),
        ] {
            assert_eq!(extract_letter(answer, &options()), pick, "{answer:?}");
        }
    }

    #[test]
    fn a_letter_beats_an_option_that_reads_like_one() {
        let signs = ["B", "A"].map(str::to_owned);
        assert_eq!(extract_letter("B", &signs), Pick(1));
    }

    #[test]
    fn equal_options_cannot_be_told_apart_by_their_text() {
        let twins = ["red", "red", "blue"].map(str::to_owned);
        assert_eq!(extract_letter("red", &twins), Ambiguous);
    }

    proptest! {
        #[test]
        fn any_text_names_an_option_that_exists_or_none(
            text in "(\\PC|[A-F .():*'\n]|answer is ){0,30}",
            n in 0_usize..6,
        ) {
            let options: Vec<String> = options().into_iter().cycle().take(n).collect();
            prop_assert!(extract_letter(&text, &options).option().is_none_or(|pick| pick < n));
            prop_assert!(extract_letter_first_match(&text, n).option().is_none_or(|p| p < n));
        }

        #[test]
        fn a_marked_letter_is_found_whatever_plain_words_follow(
            words in "( [b-z]{2,8}){1,6}",
            pick in 0_usize..4,
        ) {
            let options: Vec<String> = (0..4).map(|i| format!("{i}")).collect();
            let text = format!("{}.{words}", letter(pick));
            // A word like `option` would be a phrase of its own, but names no letter here.
            prop_assert_eq!(extract_letter(&text, &options), Pick(pick));
        }
    }

    #[test]
    fn the_official_rule_takes_the_first_capital() {
        for (answer, pick) in [
            ("The best answer is B", Pick(1)),
            ("A man holds C", Pick(0)),
            // The fused phrase is never cut out, so the B of `Best` counts.
            ("Best option: C", Pick(1)),
            ("b", Missing),
            ("", Missing),
        ] {
            assert_eq!(extract_letter_first_match(answer, 4), pick, "{answer:?}");
        }
    }
}
