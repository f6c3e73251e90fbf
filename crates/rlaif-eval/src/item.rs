//! One graded answer: what was asked, what came back, and what can be computed from the two.

use rlaif_data::{Choices, Example};
use serde::{Deserialize, Serialize};

use crate::letter::{LetterPick, extract_letter, extract_letter_first_match};
use crate::text;

/// Category of questions that name none.
pub const UNCATEGORISED: &str = "uncategorised";

/// How a question wants to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// By one of several options.
    MultipleChoice,
    /// In free words.
    OpenEnded,
}

/// What was asked, and about which video.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemHead {
    /// Unique within the evaluation; the key that joins two checkpoints' answers.
    pub id: String,
    /// Category in reports, for instance `counting`.
    pub category: String,
    /// The question in words.
    pub question: String,
    /// The video, in any spelling that is the same for all questions about it: intervals are
    /// clustered by it.
    pub video: String,
}

impl ItemHead {
    /// Head of a data set row; a row without a category is [`UNCATEGORISED`].
    #[must_use]
    pub fn from_example(example: &Example) -> Self {
        ItemHead {
            id: example.id.clone(),
            category: example.category.clone().unwrap_or_else(|| UNCATEGORISED.to_owned()),
            question: example.question(),
            video: example.video.to_string(),
        }
    }
}

/// A graded answer. Build it with [`ItemResult::multiple_choice`] or [`ItemResult::open_ended`],
/// which compute every grade that the inputs allow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemResult {
    /// Question, category, video.
    #[serde(flatten)]
    pub head: ItemHead,
    /// Multiple choice or open-ended.
    pub kind: ItemKind,
    /// What the model wrote; empty where it was only asked for likelihoods.
    pub answer_text: String,
    /// A right answer in words; for multiple choice the right option's text unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Options and the right one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Choices>,
    /// Log-likelihood of each option in nats, as the caller defines it (of the letter, or of the
    /// option's text, summed or by token); empty where none were computed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub option_logprobs: Vec<f64>,
    /// The most likely option; `None` without likelihoods and where the largest is tied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_likelihood: Option<usize>,
    /// What [`extract_letter`] finds in the text; `None` where no text was generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_letter: Option<LetterPick>,
    /// What [`extract_letter_first_match`] finds in the text (Video-MME's own rule).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_first_letter: Option<LetterPick>,
    /// Text and reference agree but for surrounding white space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact_match: Option<bool>,
    /// Text and reference agree in SQuAD's normal form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalised_match: Option<bool>,
    /// SQuAD's token F1 against the reference, in `0..=1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_f1: Option<f64>,
    /// ROUGE-L F-measure against the reference, in `0..=1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rouge_l: Option<f64>,
    /// Credit in `0..=1` by whoever knows the truth about the video.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth_score: Option<f64>,
}

/// An answer that cannot be graded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ItemError {
    /// The right option is not one of the options.
    #[error(
        "item `{id}`: `choices.answer` is {answer}, expected 0 to {last} ({options} options); \
         correct the row",
        last = options.saturating_sub(1)
    )]
    NoSuchAnswer {
        /// The item.
        id: String,
        /// The index given.
        answer: usize,
        /// Number of options.
        options: usize,
    },
    /// Likelihoods and options do not pair up.
    #[error("item `{id}`: expected one log-likelihood for each of {options} options, got {got}")]
    LikelihoodCount {
        /// The item.
        id: String,
        /// Number of options.
        options: usize,
        /// Number of likelihoods.
        got: usize,
    },
    /// A likelihood that cannot be compared.
    #[error(
        "item `{id}`: the log-likelihood of option {option} is not a number; \
         the checkpoint or the forward pass is broken"
    )]
    NotANumber {
        /// The item.
        id: String,
        /// Index of the option.
        option: usize,
    },
    /// Credit outside its range.
    #[error("item `{id}`: expected a truth score in 0..=1, got {got}")]
    TruthRange {
        /// The item.
        id: String,
        /// The score given.
        got: f64,
    },
    /// Nothing was asked of the model.
    #[error("item `{id}`: neither log-likelihoods nor a generated text to grade")]
    NoAnswer {
        /// The item.
        id: String,
    },
}

impl ItemResult {
    /// Grades a multiple-choice question by likelihood (`option_logprobs`, one per option, the
    /// largest is the pick) and by letter (`answer_text`); either may be `None`, not both.
    ///
    /// # Errors
    ///
    /// The right option does not exist, likelihoods are missing or not numbers, or there is
    /// nothing to grade.
    pub fn multiple_choice(
        head: ItemHead,
        choices: Choices,
        option_logprobs: Option<Vec<f64>>,
        answer_text: Option<String>,
    ) -> Result<Self, ItemError> {
        let (id, options) = (head.id.clone(), choices.options.len());
        let Some(reference) = choices.options.get(choices.answer).cloned() else {
            return Err(ItemError::NoSuchAnswer { id, answer: choices.answer, options });
        };
        if option_logprobs.is_none() && answer_text.is_none() {
            return Err(ItemError::NoAnswer { id });
        }
        if let Some(got) = option_logprobs.as_ref().map(Vec::len).filter(|got| *got != options) {
            return Err(ItemError::LikelihoodCount { id, options, got });
        }
        let option_logprobs = option_logprobs.unwrap_or_default();
        if let Some(option) = option_logprobs.iter().position(|l| l.is_nan()) {
            return Err(ItemError::NotANumber { id, option });
        }
        let text = answer_text.as_deref();
        Ok(ItemResult {
            kind: ItemKind::MultipleChoice,
            by_likelihood: only_maximum(&option_logprobs),
            by_letter: text.map(|t| extract_letter(t, &choices.options)),
            by_first_letter: text.map(|t| extract_letter_first_match(t, options)),
            reference: Some(reference),
            choices: Some(choices),
            option_logprobs,
            ..ItemResult::ungraded(head, answer_text.unwrap_or_default())
        })
    }

    /// Grades an open-ended answer against a reference, where there is one.
    #[must_use]
    pub fn open_ended(head: ItemHead, answer_text: String, reference: Option<String>) -> Self {
        let against = reference.as_deref();
        ItemResult {
            exact_match: against.map(|wanted| text::exact_match(&answer_text, wanted)),
            normalised_match: against.map(|wanted| text::normalised_match(&answer_text, wanted)),
            token_f1: against.map(|wanted| text::token_f1(&answer_text, wanted)),
            rouge_l: against.map(|wanted| text::rouge_l(&answer_text, wanted)),
            reference,
            ..ItemResult::ungraded(head, answer_text)
        }
    }

    /// Adds the credit in `0..=1` that ground truth gives the text.
    ///
    /// # Errors
    ///
    /// The score lies outside that range or is not a number.
    pub fn with_truth_score(mut self, score: f64) -> Result<Self, ItemError> {
        if !(0.0..=1.0).contains(&score) {
            return Err(ItemError::TruthRange { id: self.head.id, got: score });
        }
        self.truth_score = Some(score);
        Ok(self)
    }

    /// The most likely option is the right one; `None` without likelihoods. A tie for the largest
    /// likelihood is wrong.
    #[must_use]
    pub fn correct_likelihood(&self) -> Option<bool> {
        let choices = self.choices.as_ref().filter(|_| !self.option_logprobs.is_empty())?;
        Some(self.by_likelihood == Some(choices.answer))
    }

    /// The option that the text names is the right one; `None` where no text was generated. An
    /// ambiguous or missing letter is wrong.
    #[must_use]
    pub fn correct_letter(&self) -> Option<bool> {
        Some(self.by_letter?.option() == Some(self.choices.as_ref()?.answer))
    }

    fn ungraded(head: ItemHead, answer_text: String) -> Self {
        ItemResult {
            head,
            kind: ItemKind::OpenEnded,
            answer_text,
            reference: None,
            choices: None,
            option_logprobs: Vec::new(),
            by_likelihood: None,
            by_letter: None,
            by_first_letter: None,
            exact_match: None,
            normalised_match: None,
            token_f1: None,
            rouge_l: None,
            truth_score: None,
        }
    }
}

/// Index of the largest value where it is larger than all others.
fn only_maximum(values: &[f64]) -> Option<usize> {
    let (best, largest) = values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    let tied = values.iter().filter(|v| v.total_cmp(largest).is_eq()).count();
    (tied == 1).then_some(best)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::measure::Measure;

    pub(crate) fn head(id: &str, category: &str, video: &str) -> ItemHead {
        ItemHead {
            id: id.to_owned(),
            category: category.to_owned(),
            question: "what colour is it?".to_owned(),
            video: video.to_owned(),
        }
    }

    fn choices(answer: usize) -> Choices {
        Choices { options: vec!["red".to_owned(), "blue".to_owned()], answer }
    }

    /// A multiple-choice item of two options that is right or wrong by likelihood.
    pub(crate) fn choice(id: &str, category: &str, video: &str, right: bool) -> ItemResult {
        let logprobs = if right { vec![-2.0, -0.5] } else { vec![-0.5, -2.0] };
        let head = head(id, category, video);
        ItemResult::multiple_choice(head, choices(1), Some(logprobs), None).unwrap()
    }

    #[test]
    fn likelihood_and_letter_are_graded_apart() {
        let item = ItemResult::multiple_choice(
            head("1", "c", "v"),
            choices(1),
            Some(vec![-0.1, -3.0]),
            Some("(B)".to_owned()),
        )
        .unwrap();
        assert_eq!((item.by_likelihood, item.correct_likelihood()), (Some(0), Some(false)));
        assert_eq!(item.by_letter, Some(LetterPick::Option(1)));
        assert_eq!(item.correct_letter(), Some(true));
        assert_eq!(item.reference.as_deref(), Some("blue"));
        let json = serde_json::to_string(&item).unwrap();
        assert_eq!(serde_json::from_str::<ItemResult>(&json).unwrap(), item);
    }

    #[test]
    fn what_was_not_asked_is_not_graded() {
        let item = choice("1", "c", "v", true);
        assert_eq!((item.correct_likelihood(), item.correct_letter()), (Some(true), None));
        let open = ItemResult::open_ended(head("2", "c", "v"), "red".to_owned(), None);
        assert!(Measure::ALL.iter().all(|measure| measure.value(&open).is_none()));
    }

    #[test]
    fn a_tie_for_the_most_likely_is_no_pick() {
        let item = ItemResult::multiple_choice(
            head("1", "c", "v"),
            choices(0),
            Some(vec![-1.0, -1.0]),
            None,
        )
        .unwrap();
        assert_eq!((item.by_likelihood, item.correct_likelihood()), (None, Some(false)));
    }

    #[test]
    fn open_answers_are_compared_with_the_reference() {
        let item = ItemResult::open_ended(
            head("1", "c", "v"),
            "The red ball".to_owned(),
            Some("red ball".to_owned()),
        )
        .with_truth_score(0.5)
        .unwrap();
        let values: Vec<Option<f64>> = [
            Measure::ExactMatch,
            Measure::NormalisedMatch,
            Measure::TokenF1,
            Measure::RougeL,
            Measure::TruthScore,
        ]
        .map(|m| m.value(&item))
        .to_vec();
        // ROUGE-L keeps the article: LCS 2 of 3 and 2 words.
        assert_eq!(values, [Some(0.0), Some(1.0), Some(1.0), Some(0.8), Some(0.5)]);
    }

    #[test]
    fn unusable_input_names_the_item() {
        let grade = |answer, logprobs| {
            ItemResult::multiple_choice(head("q7", "c", "v"), choices(answer), logprobs, None)
                .unwrap_err()
                .to_string()
        };
        assert!(grade(2, Some(vec![0.0, 0.0])).contains("`q7`: `choices.answer` is 2"));
        assert!(grade(0, Some(vec![0.0])).contains("2 options, got 1"));
        assert!(grade(0, Some(vec![f64::NAN, 0.0])).contains("option 0 is not a number"));
        assert!(grade(0, None).contains("neither"));
        let open = ItemResult::open_ended(head("q7", "c", "v"), String::new(), None);
        assert!(open.with_truth_score(1.5).unwrap_err().to_string().contains("got 1.5"));
    }
}
