//! What a judge's reply says: a [`Said`] from prose, JSON or a line like `[2] > [1] = [3]`.
//!
//! Tolerant about form, strict about content. A candidate that is missing, named twice or made up
//! is an error whose words fit a repair turn, and nothing is filled in: appending what is missing, as
//! `RankGPT` does, would let the order in which candidates were shown become the verdict. Candidates
//! are left out on purpose only, as `"unplaced": [3]`.
//!
//! | for | forms |
//! |---|---|
//! | an order | `{"ranking": [[2], [1, 3]]}`, `{"order": [2, 1, 3]}`, `[2] > [1] = [3]`, a line `2 > 1 = 3` |
//! | a pair | the same, `A`, `B`, `C` or `tie` on a line, `[[A]]` anywhere, a line `A > B` |
//! | a score | `{"score": 7}`, `7/10`, `7 out of 10`, `score: 7`, a line `7` |
//! | no verdict | `{"abstain": "why"}`, a line `abstain: why` |
//!
//! Thoughts up to `</think>` are dropped. Where a reply holds several answers the last one is its
//! answer: what a judge quotes of a candidate does not outweigh what it concludes. Work is linear in
//! the length of the reply, which is bounded.

mod error;
mod json;
mod labels;
mod lines;
mod scores;
mod text;

#[cfg(test)]
mod tests;

pub use error::ReplyError;

use crate::protocol::{Question, QuestionKind, Said};

/// Longest reply that is read, in bytes.
pub const LONGEST_REPLY: usize = 1 << 20;

/// What `reply` says to `question`.
///
/// ```
/// use rlaif_oracle::{parse::parse_reply, protocol::{Question, QuestionKind, Said}};
///
/// let question = Question { kind: QuestionKind::Listwise, shown: vec![4, 0, 2], repeat: 0 };
/// let Said::Order(order) = parse_reply("The third is vague.\n[2] > [1] = [3]", &question)? else {
///     panic!("an order was asked for");
/// };
/// assert_eq!(order.to_string(), "[2] > [1] = [3]");
/// let error = parse_reply(r#"{"ranking": [2, 1]}"#, &question).unwrap_err();
/// assert!(error.to_string().starts_with("candidate [3] is missing"), "{error}");
/// # Ok::<(), rlaif_oracle::parse::ReplyError>(())
/// ```
///
/// # Errors
///
/// Where the reply holds no answer or one that is not about the candidates shown: what to say in a
/// repair turn.
pub fn parse_reply(reply: &str, question: &Question) -> Result<Said, ReplyError> {
    if reply.len() > LONGEST_REPLY {
        return Err(ReplyError::TooLong { bytes: reply.len() });
    }
    let spoken = text::spoken(reply)?;
    let wanted = Wanted::of(question);
    let objects = json::objects(spoken)?;
    let structured = objects.iter().rev().find(|object| object.answers(wanted));
    let rest = text::normalized(&json::rest(spoken, &objects, structured));
    if let Some(said) = lines::last_answer(&rest, wanted) {
        return said;
    }
    match structured {
        Some(object) => object.said(wanted),
        None => json::list(spoken, wanted)
            .unwrap_or_else(|| Err(ReplyError::NoAnswer { expected: wanted.form() })),
    }
}

/// What a question asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wanted {
    /// An order of this many candidates; `letters` where `A` and `B` name them too.
    Order { candidates: usize, letters: bool },
    /// A score.
    Score { min: i64, max: i64 },
}

impl Wanted {
    fn of(question: &Question) -> Self {
        let candidates = question.shown.len();
        match question.kind {
            QuestionKind::Listwise => Wanted::Order { candidates, letters: false },
            QuestionKind::Pairwise => Wanted::Order { candidates, letters: candidates == 2 },
            QuestionKind::Pointwise { min, max } => Wanted::Score { min, max },
        }
    }

    /// The form that is expected, as a repair turn tells it.
    fn form(self) -> String {
        match self {
            Wanted::Order { candidates, .. } => {
                let labels: Vec<String> =
                    (1..=candidates.min(3)).rev().map(|label| format!("[{label}]")).collect();
                let more = if candidates > 3 { " > ..." } else { "" };
                format!(
                    "an order of [1] to [{candidates}] such as `{}{more}`, or `abstain: why`",
                    labels.join(" > ")
                )
            }
            Wanted::Score { min, max } => {
                format!("a score from {min} to {max} such as `score: {max}`, or `abstain: why`")
            }
        }
    }
}
