//! The records at the desk.

use std::fmt;

use rlaif_data::Example;
use rlaif_rank::Ranking;

/// How far a task has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Verdicts are wanted.
    Open,
    /// A run has taken the verdicts: none can be withdrawn any more.
    Decided,
    /// The run that wanted it waited as long as it may; filing it again opens it.
    Expired,
}

impl TaskState {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            TaskState::Open => "open",
            TaskState::Decided => "decided",
            TaskState::Expired => "expired",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [TaskState::Open, TaskState::Decided, TaskState::Expired]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// A group that people are asked about.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// See [`task_digest`](super::task_digest).
    pub digest: String,
    /// The row, its paths absolute.
    pub example: Example,
    /// The candidates in the order in which rankings number them.
    pub candidates: Vec<String>,
    /// Verdicts that are enough, at least 1.
    pub needed: u32,
    /// How far it has come.
    pub state: TaskState,
}

/// A task that an annotator may be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTask {
    /// The task.
    pub digest: String,
    /// Verdicts that are enough.
    pub needed: u32,
    /// Verdicts that stand, skips among them.
    pub answered: u32,
}

/// What an annotator said.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The order, numbered as in [`Task::candidates`].
    Ranking(Ranking),
    /// No order, and why; the reason may be empty.
    Skipped(String),
}

/// A verdict on its way into the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJudgement {
    /// The task.
    pub task: String,
    /// Who.
    pub annotator: AnnotatorName,
    /// The candidates in the order shown.
    pub shown: Vec<usize>,
    /// What was said.
    pub answer: Answer,
    /// Time it took, in seconds.
    pub seconds: f64,
}

/// A verdict of the ledger that was not withdrawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Grows with every verdict.
    pub id: i64,
    /// The task.
    pub task: String,
    /// Who.
    pub annotator: String,
    /// The candidates in the order shown.
    pub shown: Vec<usize>,
    /// What was said.
    pub answer: Answer,
    /// Time it took, in seconds.
    pub seconds: f64,
}

/// The name of an annotator: 1 to [`AnnotatorName::LIMIT`] characters on one line, nothing before or
/// after them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnnotatorName(String);

/// A text that is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an annotator's name has 1 to {limit} characters and none that control a terminal, this one \
     has {got}",
    limit = AnnotatorName::LIMIT
)]
pub struct BadName {
    got: String,
}

impl AnnotatorName {
    /// Characters, at most.
    pub const LIMIT: usize = 60;

    /// Takes a name, without the white space around it.
    ///
    /// # Errors
    ///
    /// Where nothing is left, it is too long, or holds control characters.
    pub fn new(text: &str) -> Result<Self, BadName> {
        let text = text.trim();
        let n = text.chars().count();
        // Marks that change the direction of what follows would disguise one name as another.
        let turns = |c: char| matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if text.chars().any(|c| c.is_control() || turns(c)) {
            return Err(BadName { got: "such characters".to_owned() });
        }
        if !(1..=Self::LIMIT).contains(&n) {
            return Err(BadName { got: n.to_string() });
        }
        Ok(AnnotatorName(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AnnotatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_cannot_drive_a_terminal() {
        assert_eq!(AnnotatorName::new("  Zoë K. ").unwrap().as_str(), "Zoë K.");
        assert_eq!(AnnotatorName::new(&"é".repeat(60)).unwrap().as_str().chars().count(), 60);
        let long = AnnotatorName::new(&"é".repeat(61)).unwrap_err().to_string();
        assert!(long.ends_with("this one has 61"), "{long}");
        for bad in ["", " \t", "a\u{1b}[2J", "a\nb", "a\u{202e}b"] {
            assert!(AnnotatorName::new(bad).is_err(), "{bad:?}");
        }
    }
}
