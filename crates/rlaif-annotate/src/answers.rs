//! What the page sends and gets.

use rlaif_oracle::human::{AnnotatorName, Answer, Judgement, Progress, Task};
use rlaif_rank::Ranking;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::shown_order;

/// Characters of a reason for skipping, at most.
const REASON_LIMIT: usize = 500;
/// Seconds for one task, at most: a page that was left open over night says little.
const SECONDS_LIMIT: f64 = 86_400.0;

/// A task as the page shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    id: String,
    /// The conversation; the last turn is the question.
    turns: Vec<Turn>,
    options: Vec<String>,
    reference: Option<String>,
    narrative: Option<String>,
    /// In the order of this annotator.
    candidates: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Turn {
    role: &'static str,
    text: String,
}

impl Shown {
    pub(crate) fn new(task: Task, annotator: &AnnotatorName) -> Self {
        let order = shown_order(annotator.as_str(), &task.digest, task.candidates.len());
        let turns = task
            .example
            .prompt()
            .iter()
            .map(|message| Turn { role: message.role.as_str(), text: message.plain_text() });
        Shown {
            turns: turns.collect(),
            options: task.example.choices.map(|choices| choices.options).unwrap_or_default(),
            reference: task.example.reference,
            narrative: task.example.narrative,
            candidates: order.into_iter().map(|i| task.candidates[i].clone()).collect(),
            id: task.digest,
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Counts {
    done: u64,
    left: u64,
    wanting: u64,
}

impl From<Progress> for Counts {
    fn from(progress: Progress) -> Self {
        let Progress { done, left, wanting } = progress;
        Counts { done, left, wanting }
    }
}

/// A verdict of the page: `blocks` of answers as numbered on the page, best first, or `skip`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sent {
    pub(crate) annotator: String,
    pub(crate) task: String,
    blocks: Option<Vec<Vec<usize>>>,
    skip: Option<String>,
    seconds: f64,
}

impl Sent {
    /// Checks it against the task.
    pub(crate) fn answer(&self, shown: &[usize]) -> Result<Answer, Failure> {
        match (&self.blocks, &self.skip) {
            (Some(blocks), None) => ranking(blocks, shown).map(Answer::Ranking),
            (None, Some(reason)) if reason.chars().count() <= REASON_LIMIT => {
                Ok(Answer::Skipped(reason.trim().to_owned()))
            }
            (None, Some(_)) => {
                Err(Failure::bad(format!("a reason has at most {REASON_LIMIT} characters")))
            }
            _ => Err(Failure::bad("a verdict has either `blocks` or `skip`")),
        }
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.seconds.clamp(0.0, SECONDS_LIMIT)
    }
}

/// From places on the page to candidates.
fn ranking(blocks: &[Vec<usize>], shown: &[usize]) -> Result<Ranking, Failure> {
    let candidate = |place: &usize| shown.get(*place).copied();
    let named: Option<Vec<Vec<usize>>> =
        blocks.iter().map(|block| block.iter().map(candidate).collect()).collect();
    let named = named.ok_or_else(|| {
        Failure::bad(format!(
            "the order names an answer that is not there; there are {}",
            shown.len()
        ))
    })?;
    let ranking = Ranking::from_blocks(&named, shown.len())
        .map_err(|error| Failure::bad(format!("this is no order: {error}")))?;
    if !ranking.is_complete() {
        return Err(Failure::bad("the order leaves out an answer"));
    }
    Ok(ranking)
}

/// The order of a verdict in places on the page; none for a skip.
pub(crate) fn blocks(judgement: &Judgement) -> Option<Vec<Vec<usize>>> {
    let Answer::Ranking(ranking) = &judgement.answer else { return None };
    ranking.permute(&judgement.shown).ok().map(|shown| shown.blocks())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(json: &str) -> Result<String, String> {
        let json = format!(r#"{{"annotator": "a", "task": "t", "seconds": 1, {json}}}"#);
        let sent: Sent = serde_json::from_str(&json).map_err(|error| error.to_string())?;
        match sent.answer(&[2, 0, 1]) {
            Ok(Answer::Ranking(ranking)) => Ok(ranking.to_string()),
            Ok(Answer::Skipped(reason)) => Ok(format!("skipped: {reason}")),
            Err(failure) => Err(format!("{failure:?}")),
        }
    }

    #[test]
    fn places_on_the_page_become_candidates() {
        // Place 0 shows candidate 3, place 1 candidate 1, place 2 candidate 2.
        assert_eq!(sent(r#""blocks": [[1], [0, 2]]"#).unwrap(), "[1] > [2] = [3]");
        assert_eq!(sent(r#""skip": " too dark ""#).unwrap(), "skipped: too dark");
        let judgement = Judgement {
            id: 1,
            task: String::new(),
            annotator: String::new(),
            shown: vec![2, 0, 1],
            answer: Answer::Ranking(Ranking::parse("[1] > [2] = [3]", 3).unwrap()),
            seconds: 0.0,
        };
        assert_eq!(blocks(&judgement).unwrap(), [vec![1], vec![0, 2]]);
    }

    #[test]
    fn half_orders_and_made_up_answers_are_refused() {
        for (json, why) in [
            (r#""blocks": [[1], [0]]"#, "leaves out an answer"),
            (r#""blocks": []"#, "leaves out an answer"),
            (r#""blocks": [[1], [0, 2, 1]]"#, "placed more than once"),
            (r#""blocks": [[1], [0, 2, 3]]"#, "not there; there are 3"),
            (r#""blocks": [[0, 1, 2]], "skip": """#, "either"),
            (r#""other": 1"#, "unknown field"),
        ] {
            let error = sent(json).unwrap_err();
            assert!(error.contains(why), "{json}: {error}");
        }
        let long = format!(r#""skip": "{}""#, "x".repeat(REASON_LIMIT + 1));
        assert!(sent(&long).unwrap_err().contains("at most 500"));
    }
}
