//! Runs that do not add up to a comparison.

use crate::item::ItemKind;
use crate::measure::Measure;

/// Runs, baselines or claims that do not add up to a comparison.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ComparisonError {
    /// Nothing to compare.
    #[error("no methods to compare")]
    NoMethods,
    /// Two methods of one name.
    #[error("method `{method}` appears twice; give every method its own name")]
    RepeatedMethod {
        /// The method.
        method: String,
    },
    /// A method that was never run.
    #[error("method `{method}` has no runs")]
    NoRuns {
        /// The method.
        method: String,
    },
    /// Two runs of one method under one seed.
    #[error("method `{method}` has two runs under seed {seed}")]
    RepeatedSeed {
        /// The method.
        method: String,
        /// The seed.
        seed: u64,
    },
    /// A seed under which only one of two methods was run.
    #[error(
        "method `{method}` was run under seed {seed} but `{missing}` was not; \
         run all methods under the same seeds"
    )]
    UnpairedSeed {
        /// The method with the run.
        method: String,
        /// The seed.
        seed: u64,
        /// The method without it.
        missing: String,
    },
    /// A run without answers.
    #[error("method `{method}`, seed {seed}: no answers to compare")]
    NoItems {
        /// The method.
        method: String,
        /// The seed.
        seed: u64,
    },
    /// Two answers to one question.
    #[error("method `{method}`, seed {seed}: item `{id}` appears twice; give every row its own id")]
    RepeatedItem {
        /// The method.
        method: String,
        /// The seed.
        seed: u64,
        /// The item.
        id: String,
    },
    /// A question that only one of two runs answered.
    #[error(
        "method `{method}`, seed {seed}: item `{id}` was not answered ({more} more like it), \
         but `{other}` under seed {other_seed} answered it; evaluate all runs on the same data"
    )]
    Unanswered {
        /// The method that lacks the answer.
        method: String,
        /// Its seed.
        seed: u64,
        /// The item.
        id: String,
        /// How many more ids the run lacks.
        more: usize,
        /// A method that has the answer.
        other: String,
        /// Its seed.
        other_seed: u64,
    },
    /// One id, two different questions.
    #[error(
        "method `{method}`, seed {seed}: item `{id}` is another question than under `{other}`, \
         seed {other_seed} (its video, question, options or reference differ); evaluate all runs \
         on the same data"
    )]
    DifferentItem {
        /// The method.
        method: String,
        /// Its seed.
        seed: u64,
        /// The item.
        id: String,
        /// The method it was compared with.
        other: String,
        /// Its seed.
        other_seed: u64,
    },
    /// An answer without the grade that the others of its kind are counted by.
    #[error(
        "method `{method}`, seed {seed}: item `{id}` has no {label}, unlike others of its kind; \
         grade all of them in one way",
        label = measure.label()
    )]
    Ungraded {
        /// The method.
        method: String,
        /// The seed.
        seed: u64,
        /// The item.
        id: String,
        /// The measure that is missing.
        measure: Measure,
    },
    /// A point of a learning curve that is no fraction.
    #[error(
        "method `{method}`, seed {seed}: expected a curve of accuracies in 0..=1, got {got} at \
         step {step}"
    )]
    CurveRange {
        /// The method.
        method: String,
        /// The seed.
        seed: u64,
        /// The step.
        step: u64,
        /// The value there.
        got: f64,
    },
    /// A baseline or a claim about a method that was not run.
    #[error("{place} names the method `{method}`, expected one of {known}")]
    UnknownMethod {
        /// `baselines`, or the claim's text.
        place: String,
        /// The name.
        method: String,
        /// The names there are.
        known: String,
    },
    /// A claim that compares a method with itself.
    #[error("claim \"{claim}\" compares `{method}` with itself")]
    SameMethod {
        /// The claim's text.
        claim: String,
        /// The method.
        method: String,
    },
    /// A claim about questions that were not asked.
    #[error(
        "claim \"{claim}\" is about {} questions{}, which were not asked",
        kind_words(*kind),
        category.as_ref().map(|c| format!(" of category `{c}`")).unwrap_or_default()
    )]
    NoQuestions {
        /// The claim's text.
        claim: String,
        /// The kind of question.
        kind: ItemKind,
        /// The category, if it is that which is missing.
        category: Option<String>,
    },
}

/// A kind of question in words.
pub(crate) fn kind_words(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::MultipleChoice => "multiple-choice",
        ItemKind::OpenEnded => "open-ended",
    }
}
