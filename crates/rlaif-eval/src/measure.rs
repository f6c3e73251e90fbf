//! The numbers that an answer can earn, by name.

use serde::{Deserialize, Serialize};

use crate::item::ItemResult;

/// A number in `0..=1` that an answer earns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The most likely option is right.
    Likelihood,
    /// The letter in the text is right.
    Letter,
    /// The letter in the text is right by Video-MME's first-match rule.
    FirstLetter,
    /// Exact match with the reference.
    ExactMatch,
    /// Match with the reference in SQuAD's normal form.
    NormalisedMatch,
    /// SQuAD's token F1.
    TokenF1,
    /// ROUGE-L F-measure.
    RougeL,
    /// Credit by ground truth.
    TruthScore,
}

impl Measure {
    /// All measures in the order in which reports show them.
    pub const ALL: [Measure; 8] = [
        Measure::Likelihood,
        Measure::Letter,
        Measure::FirstLetter,
        Measure::NormalisedMatch,
        Measure::ExactMatch,
        Measure::TokenF1,
        Measure::RougeL,
        Measure::TruthScore,
    ];

    /// What `item` earns; `None` where the measure does not apply or was not taken.
    #[must_use]
    pub fn value(self, item: &ItemResult) -> Option<f64> {
        let share = |right: bool| f64::from(u8::from(right));
        match self {
            Measure::Likelihood => item.correct_likelihood().map(share),
            Measure::Letter => item.correct_letter().map(share),
            Measure::FirstLetter => {
                let pick = item.by_first_letter?.option();
                Some(share(pick == Some(item.choices.as_ref()?.answer)))
            }
            Measure::ExactMatch => item.exact_match.map(share),
            Measure::NormalisedMatch => item.normalised_match.map(share),
            Measure::TokenF1 => item.token_f1,
            Measure::RougeL => item.rouge_l,
            Measure::TruthScore => item.truth_score,
        }
    }

    /// Every value is 0 or 1.
    #[must_use]
    pub fn is_binary(self) -> bool {
        !matches!(self, Measure::TokenF1 | Measure::RougeL | Measure::TruthScore)
    }

    /// A few words for tables.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Measure::Likelihood => "accuracy by option likelihood",
            Measure::Letter => "accuracy by generated letter",
            Measure::FirstLetter => "accuracy by first letter (Video-MME rule)",
            Measure::ExactMatch => "exact match",
            Measure::NormalisedMatch => "normalised match",
            Measure::TokenF1 => "token F1",
            Measure::RougeL => "ROUGE-L",
            Measure::TruthScore => "ground-truth score",
        }
    }
}
