//! What can end a run.

use std::path::PathBuf;

/// A run that could not go on. What it had computed lies in its last checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A knob out of range.
    #[error("{0}")]
    Config(String),
    /// All weights were to be trained, and some are packed.
    #[error(
        "the decoder's weights are kept as {precision} and cannot be trained: train adapters \
         (`trainable` of type `lora`), or load the model in float32"
    )]
    PackedBase {
        /// How they are kept.
        precision: rlaif_model::Precision,
    },
    /// No prompt to train on.
    #[error("there is nothing to train on: the data set is empty")]
    NoData,
    /// A prompt that could not be built.
    #[error("row `{id}`: {source}")]
    Prompt {
        /// [`rlaif_data::Example::id`].
        id: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No group of a step could be ranked.
    #[error(
        "step {step}: the Oracle ranked none of its {groups} groups; the first failure: {first}"
    )]
    NothingRanked {
        /// The step.
        step: u64,
        /// Groups asked for.
        groups: usize,
        /// First failure.
        first: String,
    },
    /// No group of a step could be scored.
    #[error(
        "step {step}: the reward scored none of its {groups} groups; the first failure: {first}"
    )]
    NothingScored {
        /// The step.
        step: u64,
        /// Groups asked for.
        groups: usize,
        /// First failure.
        first: String,
    },
    /// The Oracle will not rank any more, or the recipe wants no run without its verdict.
    #[error("step {step}: the Oracle stopped the run: {source}")]
    OracleStopped {
        /// The step.
        step: u64,
        /// What it failed with.
        source: rlaif_oracle::OracleError,
    },
    /// The run was asked to stop while the Oracle was ranking.
    #[error("step {step} was given up: the Oracle had not ranked it when the run was to stop")]
    Interrupted {
        /// The step.
        step: u64,
    },
    /// The loss or a gradient is not a number.
    #[error(
        "step {step}: the {what} is not finite; lower `learning_rate`, or resume from an \
         earlier checkpoint"
    )]
    NotFinite {
        /// The step.
        step: u64,
        /// Loss or gradient norm.
        what: &'static str,
    },
    /// An advantage that could not be computed.
    #[error("step {step}: {source}")]
    Advantage {
        /// The step.
        step: u64,
        /// Why.
        source: rlaif_rank::AdvantageError,
    },
    /// A file that could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A checkpoint that cannot be used.
    #[error("checkpoint `{}`: {reason}", path.display())]
    Checkpoint {
        /// Its folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A model folder that could not be written.
    #[error(transparent)]
    Model(#[from] rlaif_model::LoadError),
}

impl TrainError {
    /// Whether it came before anything was learnt from the step: the state is that of the step
    /// before, whole, and worth a checkpoint.
    pub(crate) fn is_before_the_update(&self) -> bool {
        matches!(
            self,
            TrainError::NothingRanked { .. }
                | TrainError::NothingScored { .. }
                | TrainError::OracleStopped { .. }
                | TrainError::Interrupted { .. }
        )
    }
}

/// Puts the path into an I/O error.
pub(crate) fn at(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> TrainError + '_ {
    move |source| TrainError::Io { path: path.to_owned(), source }
}
