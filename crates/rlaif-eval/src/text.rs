//! Comparing a generated answer with a reference in words, without a judge.
//!
//! Sources: the SQuAD v1.1 evaluation script (Rajpurkar et al. 2016, arXiv:1606.05250) for
//! [`normalise`], [`normalised_match`] and [`token_f1`]; Lin 2004, "ROUGE: A Package for Automatic
//! Evaluation of Summaries", for [`rouge_l`].

use std::collections::HashMap;

/// SQuAD's normal form: lower case, ASCII punctuation removed (not replaced: `it's` becomes
/// `its`), the articles `a`, `an`, `the` removed, white space collapsed to single spaces.
#[must_use]
pub fn normalise(text: &str) -> String {
    let kept: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let words: Vec<&str> =
        kept.split_whitespace().filter(|word| !matches!(*word, "a" | "an" | "the")).collect();
    words.join(" ")
}

/// The two texts agree letter for letter once surrounding white space is gone.
#[must_use]
pub fn exact_match(prediction: &str, reference: &str) -> bool {
    prediction.trim() == reference.trim()
}

/// The two texts agree in their [normal form](normalise).
#[must_use]
pub fn normalised_match(prediction: &str, reference: &str) -> bool {
    normalise(prediction) == normalise(reference)
}

/// SQuAD's token F1 in `0..=1`, over the multisets of normalised words:
///
/// ```text
/// F1 = 2 P R / (P + R),  P = |pred ∩ ref| / |pred|,  R = |pred ∩ ref| / |ref|
/// ```
///
/// Where one side has no words left, 1 if both have none, else 0 (SQuAD v2's rule).
#[must_use]
pub fn token_f1(prediction: &str, reference: &str) -> f64 {
    let (prediction, reference) = (normalise(prediction), normalise(reference));
    let predicted: Vec<&str> = prediction.split_whitespace().collect();
    let wanted: Vec<&str> = reference.split_whitespace().collect();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for word in &wanted {
        *open.entry(word).or_default() += 1;
    }
    let mut common = 0;
    for word in &predicted {
        if let Some(count) = open.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    f_measure(common, predicted.len(), wanted.len())
}

/// ROUGE-L as an F-measure in `0..=1`: like [`token_f1`] with the longest common subsequence in
/// place of the multiset intersection, so that word order counts.
///
/// Words are lower-cased runs of alphanumeric characters, articles kept, no stemming (the
/// tokenizer of the `rouge_score` package, except that letters outside ASCII count as letters).
#[must_use]
pub fn rouge_l(prediction: &str, reference: &str) -> f64 {
    let (predicted, wanted) = (rouge_words(prediction), rouge_words(reference));
    f_measure(longest_common_subsequence(&predicted, &wanted), predicted.len(), wanted.len())
}

fn rouge_words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Length of the longest common subsequence, one row of the table at a time.
fn longest_common_subsequence(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

fn f_measure(common: usize, predicted: usize, wanted: usize) -> f64 {
    if predicted == 0 || wanted == 0 {
        return if predicted == wanted { 1.0 } else { 0.0 };
    }
    // 2PR / (P + R) with P = c/p and R = c/w is 2c / (p + w).
    2.0 * common as f64 / (predicted + wanted) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_form_follows_squad() {
        for (text, normal) in [
            ("The  Red Circle.", "red circle"),
            ("It's an apple, a theme", "its apple theme"),
            ("\tLEFT-to-right!\n", "lefttoright"),
            ("the", ""),
            ("Ärger über 2 Bälle", "ärger über 2 bälle"),
        ] {
            assert_eq!(normalise(text), normal, "{text:?}");
        }
    }

    #[test]
    fn matches_differ_in_strictness() {
        assert!(exact_match(" red ", "red"));
        assert!(!exact_match("Red", "red"));
        assert!(normalised_match("The red!", "a Red"));
        assert!(!normalised_match("red", "dark red"));
    }

    #[test]
    fn token_f1_counts_words_as_a_multiset() {
        // P = 2/3, R = 2/2, F1 = 0.8.
        assert!((token_f1("red red circle", "red circle") - 0.8).abs() < 1e-12);
        // Only one of the two `red` can be matched: P = 1/2, R = 1/1.
        assert!((token_f1("red red", "red") - 2.0 / 3.0).abs() < 1e-12);
        assert!((token_f1("circle red", "the red circle") - 1.0).abs() < 1e-12);
        for (prediction, reference, f1) in [("", "", 1.0), ("the", "", 1.0), ("", "red", 0.0)] {
            assert!((token_f1(prediction, reference) - f1).abs() < 1e-12);
        }
    }

    #[test]
    fn rouge_l_minds_the_order() {
        // LCS(police killed the gunman, police kill the gunman) = 3 of 4 and 4 words (Lin 2004).
        assert!(
            (rouge_l("police kill the gunman", "police killed the gunman") - 0.75).abs() < 1e-12
        );
        // LCS(the gunman kill police, ...) = 2.
        assert!(
            (rouge_l("the gunman kill police", "police killed the gunman") - 0.5).abs() < 1e-12
        );
        assert!(rouge_l("", "red") < 1e-12);
    }
}
