//! Rows of a file that people are to rank: filed at the desk, their orders collected.

use rlaif_data::Example;
use rlaif_oracle::human::votes;
use rlaif_oracle::{Desk, LedgerError};
use rlaif_rank::{
    AggregateError, Aggregator, InvalidRanking, Merged, Ranking, aggregate, merge_identical,
};

/// Why the orders cannot be collected.
#[derive(Debug, thiserror::Error)]
pub enum GroupsError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The orders of several annotators cannot become one.
    #[error("example {example:?}: {source}")]
    Aggregate {
        /// The row's id.
        example: String,
        /// Why.
        source: AggregateError,
    },
    /// What is stored is no order of the candidates.
    #[error("example {example:?}: {source}")]
    Invalid {
        /// The row's id.
        example: String,
        /// Why.
        source: InvalidRanking,
    },
}

/// Groups that were filed.
#[derive(Debug)]
pub struct Groups {
    desk: Desk,
    filed: Vec<Group>,
    needed: u32,
    aggregation: Aggregator,
}

#[derive(Debug)]
struct Group {
    example: String,
    merged: Merged,
    /// None where all candidates read the same, which nobody needs to be asked about.
    task: Option<String>,
}

impl Groups {
    /// Files every row with at least two different candidates, each to be ranked by `needed`
    /// annotators. As in training, candidates that read the same but for white space around them are
    /// shown once and tie. What was filed before is not filed again.
    ///
    /// # Errors
    ///
    /// Where the ledger cannot be written.
    pub fn file<'a>(
        desk: Desk,
        rows: impl IntoIterator<Item = (&'a Example, &'a [String])>,
        needed: u32,
        aggregation: Aggregator,
    ) -> Result<Self, LedgerError> {
        let mut filed = Vec::new();
        for (example, candidates) in rows {
            let trimmed: Vec<&str> = candidates.iter().map(|text| text.trim()).collect();
            let merged = merge_identical(&trimmed);
            let texts: Vec<String> =
                merged.representatives.iter().map(|i| trimmed[*i].to_owned()).collect();
            let task = match texts.len() {
                0 | 1 => None,
                _ => Some(desk.file(example, &texts, needed)?),
            };
            filed.push(Group { example: example.id.clone(), merged, task });
        }
        Ok(Groups { desk, filed, needed, aggregation })
    }

    /// The orders so far, one per row: none where too few annotators have spoken, where all of
    /// them skipped, and where there is no candidate.
    ///
    /// # Errors
    ///
    /// Where the ledger cannot be read, or the orders cannot become one.
    pub fn rankings(&self) -> Result<Vec<Option<Ranking>>, GroupsError> {
        self.filed.iter().map(|group| self.ranking(group)).collect()
    }

    fn ranking(&self, group: &Group) -> Result<Option<Ranking>, GroupsError> {
        let all = group.merged.representative_of.len();
        let Some(task) = &group.task else { return Ok(Ranking::all_tied(all).ok()) };
        let mut judgements = self.desk.judgements(task)?;
        if judgements.len() < self.needed as usize {
            return Ok(None);
        }
        // The first ones, as the human Oracle takes them.
        judgements.truncate(self.needed as usize);
        let orders: Vec<Ranking> =
            votes(&judgements).into_iter().map(|vote| vote.ranking).collect();
        if orders.is_empty() {
            return Ok(None);
        }
        let example = || group.example.clone();
        let order = aggregate(self.aggregation, &orders)
            .map_err(|source| GroupsError::Aggregate { example: example(), source })?;
        let order = order
            .expand(&group.merged.representative_of)
            .map_err(|source| GroupsError::Invalid { example: example(), source })?;
        Ok(Some(order))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rlaif_data::{Message, VideoRef};
    use rlaif_oracle::Ledger;
    use rlaif_oracle::human::{AnnotatorName, Answer, NewJudgement};

    use super::*;

    fn row(id: &str) -> Example {
        Example {
            id: id.to_owned(),
            video: VideoRef::World("test/3".to_owned()),
            messages: vec![Message::ask(id)],
            reference: None,
            choices: None,
            category: None,
            narrative: None,
            meta: serde_json::Map::new(),
        }
    }

    #[test]
    fn orders_come_back_for_whole_groups_with_their_copies() {
        let desk = Desk::new(Arc::new(Ledger::in_memory().unwrap()));
        let rows = [row("a"), row("b"), row("c")];
        let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let candidates = [texts(&["x", " y", "x "]), texts(&["z", "z"]), texts(&["p", "q"])];
        let pairs = || rows.iter().zip(candidates.iter().map(Vec::as_slice));
        let groups = Groups::file(desk.clone(), pairs(), 2, Aggregator::Borda).unwrap();
        let ann = AnnotatorName::new("ann").unwrap();
        let open = desk.open_tasks(&ann).unwrap();
        assert_eq!(open.len(), 2, "copies alone are no question");
        assert_eq!(desk.task(&open[0].digest).unwrap().unwrap().candidates, ["x", "y"]);

        let say = |who: &str, task: &str, answer: Answer| {
            let annotator = AnnotatorName::new(who).unwrap();
            let (task, shown) = (task.to_owned(), vec![0, 1]);
            desk.submit(&NewJudgement { task, annotator, shown, answer, seconds: 1.0 }).unwrap();
        };
        let second = Ranking::parse("[2] > [1]", 2).unwrap();
        say("ann", &open[0].digest, Answer::Ranking(second.clone()));
        assert_eq!(desk.changes().unwrap(), 1);
        let tied = Some("[1] = [2]".to_owned());
        let text = |groups: &Groups| -> Vec<Option<String>> {
            groups.rankings().unwrap().iter().map(|r| r.as_ref().map(ToString::to_string)).collect()
        };
        assert_eq!(text(&groups), [None, tied.clone(), None], "one of two has spoken");
        say("bob", &open[0].digest, Answer::Skipped(String::new()));
        say("bob", &open[1].digest, Answer::Skipped(String::new()));
        say("ann", &open[1].digest, Answer::Skipped(String::new()));
        assert_eq!(text(&groups), [Some("[2] > [1] = [3]".to_owned()), tied.clone(), None]);

        // The same rows again, for one annotator: nothing is asked.
        let again = Groups::file(desk.clone(), pairs(), 1, Aggregator::Borda).unwrap();
        assert_eq!(text(&again)[0].as_deref(), Some("[2] > [1] = [3]"));
        assert_eq!(desk.open_tasks(&AnnotatorName::new("cyd").unwrap()).unwrap(), []);
    }
}
