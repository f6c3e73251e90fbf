//! Word overlap of two texts: token F1 and ROUGE-L over `SQuAD`'s normal form.
//!
//! ```text
//! F = 2 P R / (P + R) = 2 c / (p + w)
//! ```
//!
//! with `p` and `w` the number of words of the candidate and of the reference, and `c` the size of
//! their multiset intersection (token F1; Rajpurkar et al. 2016, arXiv:1606.05250) or the length of
//! their longest common subsequence (ROUGE-L with equal weights; Lin 2004, "ROUGE: A Package for
//! Automatic Evaluation of Summaries"). A quotient of two integers is rounded once, so equal
//! overlaps are equal numbers and tie.

use std::collections::HashMap;

/// The words of a text in `SQuAD`'s normal form: lower case, ASCII punctuation removed (not replaced:
/// `it's` becomes `its`), the articles `a`, `an`, `the` removed.
pub(crate) fn words(text: &str) -> Vec<String> {
    let kept: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    kept.split_whitespace()
        .filter(|word| !matches!(*word, "a" | "an" | "the"))
        .map(str::to_owned)
        .collect()
}

/// F over the multiset intersection, in `0..=1`. Where one side has no words, 1 if both have none,
/// else 0.
pub(crate) fn token_f1(candidate: &[String], reference: &[String]) -> f64 {
    let mut open: HashMap<&str, usize> = HashMap::new();
    for word in reference {
        *open.entry(word).or_default() += 1;
    }
    let mut common = 0;
    for word in candidate {
        if let Some(count) = open.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    f_measure(common, candidate.len(), reference.len())
}

/// F over the longest common subsequence, in `0..=1`; without words as [`token_f1`].
pub(crate) fn rouge_l(candidate: &[String], reference: &[String]) -> f64 {
    let mut row = vec![0; reference.len() + 1];
    for x in candidate {
        let mut diagonal = 0;
        for (j, y) in reference.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    f_measure(row[reference.len()], candidate.len(), reference.len())
}

fn f_measure(common: usize, candidate: usize, reference: usize) -> f64 {
    if candidate == 0 || reference == 0 {
        return if candidate == reference { 1.0 } else { 0.0 };
    }
    2.0 * common as f64 / (candidate + reference) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_form_is_squads() {
        assert_eq!(words("The  Red Circle."), ["red", "circle"]);
        assert_eq!(words("It's an apple, LEFT-to-right!\n"), ["its", "apple", "lefttoright"]);
        assert!(words("the \t...").is_empty());
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "quotients of small integers, rounded once")]
    fn hand_worked_overlaps() {
        let f1 = |a: &str, b: &str| token_f1(&words(a), &words(b));
        let rouge = |a: &str, b: &str| rouge_l(&words(a), &words(b));
        // 2 common of 3 and 2 words.
        assert_eq!(f1("red red circle", "red circle"), 0.8);
        // Only one `red` matches: 1 common of 2 and 1.
        assert_eq!(f1("red red", "red"), 2.0 / 3.0);
        assert_eq!((f1("", "the"), f1("", "red"), f1("red", "")), (1.0, 0.0, 0.0));
        // Order counts for ROUGE-L alone: LCS 1 of 2 and 2.
        assert_eq!((f1("circle red", "red circle"), rouge("circle red", "red circle")), (1.0, 0.5));
        // Lin 2004, section 3: LCS(police killed gunman, police kill gunman) = 2 of 3 and 3, the
        // article being gone here.
        assert_eq!(rouge("police kill the gunman", "police killed the gunman"), 2.0 / 3.0);
        assert_eq!(rouge("", ""), 1.0);
    }
}
