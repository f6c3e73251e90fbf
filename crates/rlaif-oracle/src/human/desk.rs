//! The desk: tasks that are filed, verdicts that are laid down, both in the ledger.

use std::sync::Arc;
use std::time::SystemTime;

use rlaif_data::Example;
use rlaif_rank::Ranking;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    AnnotatorName, Answer, Judgement, NewJudgement, OpenTask, Task, TaskState, task_digest,
};
use crate::{Ledger, LedgerError};

/// Tasks and verdicts of one ledger. Clones share it.
#[derive(Clone, Debug)]
pub struct Desk {
    ledger: Arc<Ledger>,
}

/// What became of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It is in the ledger.
    Stored,
    /// This annotator has a verdict on the task already, which stays.
    Already,
}

/// What became of the wish to take a verdict back.
#[derive(Clone, Debug, PartialEq)]
pub enum Withdrawn {
    /// It is withdrawn, and the task waits again. The verdict is as it was.
    Done(Judgement),
    /// A run has taken it.
    Taken,
    /// There is none.
    Nothing,
}

/// How far the tasks have come, seen by one annotator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Verdicts of the annotator that stand, skips among them.
    pub done: u64,
    /// Open tasks that still want a verdict and have none of the annotator's.
    pub left: u64,
    /// Open tasks that still want a verdict, whoever gives it.
    pub wanting: u64,
}

const TASK: &str = "SELECT digest, example, candidates, needed, state FROM tasks";
const JUDGEMENT: &str =
    "SELECT v.id, v.task, v.annotator, v.shown, v.ranking, v.skipped, v.seconds,
            t.candidates
     FROM verdicts v JOIN tasks t ON t.digest = v.task WHERE v.withdrawn_at IS NULL";
/// Verdicts on the task `t` that stand.
const ANSWERED: &str =
    "(SELECT count(*) FROM verdicts v WHERE v.task = t.digest AND v.withdrawn_at IS NULL)";
/// True where the annotator `?1` has said something about the task `t`.
const SPOKEN: &str = "EXISTS (SELECT 1 FROM verdicts v WHERE v.task = t.digest
     AND v.annotator = ?1 AND v.withdrawn_at IS NULL)";

impl Desk {
    /// The desk of a ledger.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Desk { ledger }
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Files a task and returns its digest. One that is there stays: it opens again where it had
    /// expired, and more verdicts are asked for where more are `needed`.
    ///
    /// # Errors
    ///
    /// Where the file cannot be written.
    pub fn file(
        &self,
        example: &Example,
        candidates: &[String],
        needed: u32,
    ) -> Result<String, LedgerError> {
        let digest = task_digest(example, candidates);
        // Another process may have another working directory.
        let row = Example { video: example.video.absolute(), ..example.clone() };
        let row = serde_json::to_string(&row)
            .map_err(|error| self.broken(format!("a row has no form in JSON: {error}")))?;
        let texts = serde_json::Value::from(candidates.to_vec()).to_string();
        self.ledger.run(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO tasks VALUES (?1, ?2, ?3, ?4, 'open', ?5)
                     ON CONFLICT (digest) DO UPDATE SET
                       needed = max(needed, excluded.needed),
                       state = iif(state = 'expired', 'open', state)",
                )?
                .execute(params![digest, row, texts, needed.max(1), now()])
        })?;
        Ok(digest)
    }

    /// A task.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read.
    pub fn task(&self, digest: &str) -> Result<Option<Task>, LedgerError> {
        self.ledger.run(|connection| {
            connection
                .prepare_cached(&format!("{TASK} WHERE digest = ?1"))?
                .query_row([digest], read_task)
                .optional()
        })
    }

    /// What an annotator may be given: open tasks that want more verdicts and have none of theirs,
    /// those with the fewest first, then the oldest.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read.
    pub fn open_tasks(&self, annotator: &AnnotatorName) -> Result<Vec<OpenTask>, LedgerError> {
        self.ledger.run(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT t.digest, t.needed, {ANSWERED} AS answered FROM tasks t
                     WHERE t.state <> 'expired' AND answered < t.needed AND NOT {SPOKEN}
                     ORDER BY answered, t.created_at, t.rowid"
                ))?
                .query_map([annotator.as_str()], |row| {
                    Ok(OpenTask { digest: row.get(0)?, needed: row.get(1)?, answered: row.get(2)? })
                })?
                .collect()
        })
    }

    /// Lays down a verdict. It may come after the task was decided: it then counts for agreement
    /// alone.
    ///
    /// # Errors
    ///
    /// Where the file cannot be written; where there is no such task.
    pub fn submit(&self, judgement: &NewJudgement) -> Result<Submitted, LedgerError> {
        let shown = serde_json::Value::from(judgement.shown.clone()).to_string();
        let (ranking, skipped) = match &judgement.answer {
            Answer::Ranking(ranking) => (Some(ranking.to_string()), None),
            Answer::Skipped(reason) => (None, Some(reason)),
        };
        let seconds = if judgement.seconds.is_finite() { judgement.seconds.max(0.0) } else { 0.0 };
        let stored = self.ledger.run(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO verdicts
                       (task, annotator, shown, ranking, skipped, seconds, created_at)
                     SELECT digest, ?2, ?3, ?4, ?5, ?6, ?7 FROM tasks WHERE digest = ?1
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    judgement.task,
                    judgement.annotator.as_str(),
                    shown,
                    ranking,
                    skipped,
                    seconds,
                    now(),
                ])
        })?;
        if stored == 1 {
            return Ok(Submitted::Stored);
        }
        match self.task(&judgement.task)? {
            Some(_) => Ok(Submitted::Already),
            None => Err(self.broken(format!("there is no task {:?}", judgement.task))),
        }
    }

    /// Takes back the last verdict of an annotator that stands.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read or written.
    pub fn withdraw_last(&self, annotator: &AnnotatorName) -> Result<Withdrawn, LedgerError> {
        let last = self.ledger.run(|connection| {
            connection
                .prepare_cached(&format!(
                    "{JUDGEMENT} AND v.annotator = ?1 ORDER BY v.id DESC LIMIT 1"
                ))?
                .query_row([annotator.as_str()], read_judgement)
                .optional()
        })?;
        let Some(last) = last else { return Ok(Withdrawn::Nothing) };
        let withdrawn = self.ledger.run(|connection| {
            connection
                .prepare_cached(
                    "UPDATE verdicts SET withdrawn_at = ?2 WHERE id = ?1 AND withdrawn_at IS NULL
                     AND (SELECT state FROM tasks WHERE digest = task) <> 'decided'",
                )?
                .execute(params![last.id, now()])
        })?;
        Ok(if withdrawn == 1 { Withdrawn::Done(last) } else { Withdrawn::Taken })
    }

    /// The verdicts on a task that stand, oldest first.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read.
    pub fn judgements(&self, task: &str) -> Result<Vec<Judgement>, LedgerError> {
        self.ledger.run(|connection| {
            connection
                .prepare_cached(&format!("{JUDGEMENT} AND v.task = ?1 ORDER BY v.id"))?
                .query_map([task], read_judgement)?
                .collect()
        })
    }

    /// All verdicts that stand, oldest first.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read.
    pub fn all_judgements(&self) -> Result<Vec<Judgement>, LedgerError> {
        self.ledger.run(|connection| {
            connection
                .prepare_cached(&format!("{JUDGEMENT} ORDER BY v.id"))?
                .query_map([], read_judgement)?
                .collect()
        })
    }

    /// A number that grows with every verdict and every withdrawal.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read.
    pub fn changes(&self) -> Result<u64, LedgerError> {
        self.ledger.run(|connection| {
            connection
                .prepare_cached("SELECT count(*) + count(withdrawn_at) FROM verdicts")?
                .query_row([], |row| row.get(0))
        })
    }

    /// How far the tasks have come.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read.
    pub fn progress(&self, annotator: &AnnotatorName) -> Result<Progress, LedgerError> {
        self.ledger.run(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT (SELECT count(*) FROM verdicts
                             WHERE annotator = ?1 AND withdrawn_at IS NULL),
                            count(*) FILTER (WHERE NOT {SPOKEN}), count(*)
                     FROM tasks t WHERE t.state <> 'expired' AND {ANSWERED} < t.needed"
                ))?
                .query_row([annotator.as_str()], |row| {
                    Ok(Progress { done: row.get(0)?, left: row.get(1)?, wanting: row.get(2)? })
                })
        })
    }

    /// Takes the verdicts on a task where `needed` of them are there and older than
    /// `settled_seconds`: from then on none can be withdrawn. Returns the first `needed`, the same
    /// ones whenever it is asked again; none where they are not there.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read or written.
    pub fn decide(
        &self,
        task: &str,
        needed: u32,
        settled_seconds: f64,
    ) -> Result<Option<Vec<Judgement>>, LedgerError> {
        // One statement, so that nobody can withdraw between counting and taking.
        let decided = self.ledger.run(|connection| {
            connection
                .prepare_cached(
                    "UPDATE tasks SET state = 'decided' WHERE digest = ?1
                     AND (SELECT count(*) FROM verdicts WHERE task = ?1 AND withdrawn_at IS NULL
                          AND (created_at <= ?3 OR tasks.state = 'decided')) >= ?2",
                )?
                .execute(params![task, needed, now() - settled_seconds])
        })?;
        if decided == 0 {
            return Ok(None);
        }
        let mut judgements = self.judgements(task)?;
        judgements.truncate(needed as usize);
        Ok(Some(judgements))
    }

    /// Nobody waits for the task any more; verdicts that it has stay.
    ///
    /// # Errors
    ///
    /// Where the file cannot be written.
    pub fn expire(&self, task: &str) -> Result<(), LedgerError> {
        self.ledger.run(|connection: &Connection| {
            connection
                .prepare_cached(
                    "UPDATE tasks SET state = 'expired' WHERE digest = ?1 AND state = 'open'",
                )?
                .execute([task])
                .map(drop)
        })
    }

    fn broken(&self, reason: String) -> LedgerError {
        LedgerError { path: self.ledger.path().to_owned(), reason }
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn malformed(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(&row.get::<_, String>(column)?).map_err(|error| malformed(column, error))
}

fn read_task(row: &Row<'_>) -> rusqlite::Result<Task> {
    let state: String = row.get(4)?;
    let unknown = || malformed(4, std::fmt::Error);
    Ok(Task {
        digest: row.get(0)?,
        example: json(row, 1)?,
        candidates: json(row, 2)?,
        needed: row.get(3)?,
        state: TaskState::parse(&state).ok_or_else(unknown)?,
    })
}

fn read_judgement(row: &Row<'_>) -> rusqlite::Result<Judgement> {
    let candidates: Vec<String> = json(row, 7)?;
    let ranking: Option<String> = row.get(4)?;
    let answer = match ranking {
        Some(text) => Answer::Ranking(
            Ranking::parse(&text, candidates.len()).map_err(|error| malformed(4, error))?,
        ),
        None => Answer::Skipped(row.get(5)?),
    };
    Ok(Judgement {
        id: row.get(0)?,
        task: row.get(1)?,
        annotator: row.get(2)?,
        shown: json(row, 3)?,
        answer,
        seconds: row.get(6)?,
    })
}
