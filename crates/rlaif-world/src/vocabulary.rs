//! The words of ClipWorld.

/// Every word between spaces that a question, an option, an answer or a narrative can hold, in a
/// fixed order, each once. New words go to the end: a word's place is its token.
const WORDS: &[&str] = &[
    // Punctuation and letters of options.
    "?",
    ".",
    "A",
    "B",
    "C",
    "D",
    // Colors and shapes.
    "red",
    "green",
    "blue",
    "yellow",
    "purple",
    "white",
    "circle",
    "square",
    "triangle",
    "cross",
    // What is done.
    "moves",
    "stays",
    "still",
    "grows",
    "shrinks",
    "appears",
    "vanishes",
    "changes",
    "color",
    "move",
    "stay",
    "appear",
    "vanish",
    "change",
    // Where.
    "left",
    "right",
    "up",
    "down",
    "top",
    "bottom",
    "center",
    "above",
    "below",
    "relative",
    // How many, and when.
    "zero",
    "one",
    "two",
    "three",
    "early",
    "midway",
    "late",
    "never",
    "first",
    "last",
    "before",
    "after",
    "next",
    "start",
    "end",
    // Together.
    "collide",
    "pass",
    "separate",
    "follow",
    "hits",
    "passes",
    "stop",
    // Questions.
    "what",
    "which",
    "where",
    "when",
    "why",
    "how",
    "many",
    "does",
    "do",
    "happens",
    "look",
    "different",
    "show",
    "go",
    "has",
    "like",
    "new",
    "gone",
    "larger",
    "smaller",
    "largest",
    "smallest",
    "object",
    "objects",
    "shape",
    "clip",
    // Grammar.
    "the",
    "is",
    "are",
    "there",
    "at",
    "in",
    "of",
    "to",
    "it",
    "they",
    "and",
    "that",
];

/// The words from which a tokenizer that cuts at white space is built, in their fixed order.
///
/// ```
/// assert!(rlaif_world::vocabulary().contains(&"circle"));
/// ```
#[must_use]
pub fn vocabulary() -> &'static [&'static str] {
    WORDS
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{Split, WorldConfig, examples};

    fn texts(split: Split, index: u64) -> Vec<String> {
        let mut texts = Vec::new();
        for row in examples(&WorldConfig::default(), split, index) {
            texts.push(row.question());
            texts.push(row.target().unwrap());
            texts.extend(row.reference.clone());
            texts.extend(row.narrative.clone());
            texts.extend(row.choices.map(|choices| choices.options).unwrap_or_default());
        }
        texts
    }

    #[test]
    fn words_stand_once_and_all_are_used() {
        let known: BTreeSet<&str> = vocabulary().iter().copied().collect();
        assert_eq!(known.len(), vocabulary().len());
        let mut used = BTreeSet::new();
        for index in 0..3000 {
            for text in texts(Split::Train, index) {
                used.extend(text.split_whitespace().map(str::to_owned));
            }
        }
        let unused: Vec<&str> = known.into_iter().filter(|word| !used.contains(*word)).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }

    proptest! {
        #[test]
        fn no_text_leaves_the_vocabulary(index: u64, split in proptest::sample::select(&Split::ALL[..])) {
            for text in texts(split, index) {
                for word in text.split_whitespace() {
                    prop_assert!(vocabulary().contains(&word), "{word:?} of {text:?}");
                }
            }
        }
    }
}
