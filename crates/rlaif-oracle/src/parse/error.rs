//! Why a reply is no answer, in words that fit a repair turn.

use super::LONGEST_REPLY;

/// A reply that is no answer. The message tells a judge what to do better.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReplyError {
    /// Too much to read.
    #[error("the reply has {bytes} bytes, at most {LONGEST_REPLY} are read; give the answer alone")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The reply ends before its thoughts do.
    #[error("the reply ends inside its thoughts; think less and give the answer")]
    Unfinished,
    /// More braces than a JSON reply has any use for.
    #[error("the reply has too many braces to look for an answer in; give the answer alone")]
    Braces,
    /// Nothing that reads as an answer.
    #[error("there is no answer in the reply; give {expected}")]
    NoAnswer {
        /// The form that is expected.
        expected: String,
    },
    /// The candidates named are not the candidates shown.
    #[error("{problems}; name each of [1] to [{candidates}] exactly once")]
    Candidates {
        /// What is wrong with which.
        problems: String,
        /// How many were shown.
        candidates: usize,
    },
    /// A field of a JSON answer is not as it should be.
    #[error("`{field}` is wrong: {why}")]
    Field {
        /// The key.
        field: &'static str,
        /// What it should be.
        why: String,
    },
    /// A score that is not on the scale.
    #[error("the score {score} is not on the scale; give a score from {min} to {max}")]
    OffScale {
        /// The score, as far as it can be shown.
        score: String,
        /// The worst score.
        min: i64,
        /// The best score.
        max: i64,
    },
}
