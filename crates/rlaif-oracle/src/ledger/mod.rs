//! The ledger: every reply that was paid for, in an SQLite file, stored the moment it arrives.
//!
//! It is also the cache. What a run asks is looked up by the digest of the whole request first, so
//! a run that is resumed or repeated pays for nothing twice, and a process that is killed loses
//! nothing that had arrived. Several processes may use one file at once.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension as _, params};

/// Version of the tables, in the file's `user_version`.
const VERSION: i32 = 1;
/// How long another process may hold the file before this one gives up.
const BUSY: Duration = Duration::from_secs(30);

/// What went wrong with the file.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("ledger `{}`: {reason}", path.display())]
pub struct LedgerError {
    /// The file.
    pub path: PathBuf,
    /// In words.
    pub reason: String,
}

/// A reply with what it was about.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// SHA-256 of the whole request and of who was asked, hexadecimal.
    pub digest: String,
    /// The Oracle's name in the recipe.
    pub oracle: String,
    /// The row's id.
    pub example: String,
    /// The question.
    pub question: String,
    /// The candidates in the order shown.
    pub shown: Vec<String>,
    /// The reply, word for word.
    pub raw: String,
    /// What it was understood as, numbered as shown.
    pub ranking: Option<String>,
    /// Why it could not be understood.
    pub problem: Option<String>,
    /// Tokens of the prompt, where they were counted.
    pub prompt_tokens: Option<u64>,
    /// Tokens of the reply, where they were counted.
    pub completion_tokens: Option<u64>,
    /// What it cost.
    pub cost: f64,
    /// Time from asking to the reply.
    pub latency: Duration,
}

/// What an Oracle has been paid for in this ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Replies.
    pub calls: u64,
    /// Money.
    pub cost: f64,
}

/// An open ledger. Threads share it by reference.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Ledger {
    /// Opens the file, making it where it is not there.
    ///
    /// # Errors
    ///
    /// Where it cannot be opened, is no ledger, or was written by a newer version.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let failed = |reason: String| LedgerError { path: path.to_owned(), reason };
        let connection = Connection::open(path).map_err(|error| failed(error.to_string()))?;
        Ledger::prepare(&connection).map_err(failed)?;
        Ok(Ledger { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    /// A ledger that is gone with the process.
    ///
    /// # Errors
    ///
    /// Where SQLite cannot be had.
    pub fn in_memory() -> Result<Self, LedgerError> {
        let path = PathBuf::from(":memory:");
        let failed = |reason: String| LedgerError { path: path.clone(), reason };
        let connection = Connection::open_in_memory().map_err(|e| failed(e.to_string()))?;
        Ledger::prepare(&connection).map_err(failed)?;
        Ok(Ledger { path, connection: Mutex::new(connection) })
    }

    fn prepare(connection: &Connection) -> Result<(), String> {
        let sql = |error: rusqlite::Error| error.to_string();
        connection.busy_timeout(BUSY).map_err(sql)?;
        let version: i32 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(sql)?;
        if version > VERSION {
            return Err(format!(
                "it has version {version}, this program knows {VERSION}: use a newer program"
            ));
        }
        // Readers and one writer at once. A committed row outlives the process; only a power cut
        // can take the newest ones, and never breaks the file.
        connection.pragma_update(None, "journal_mode", "wal").map_err(sql)?;
        connection.pragma_update(None, "synchronous", "normal").map_err(sql)?;
        connection.execute_batch(include_str!("schema.sql")).map_err(sql)?;
        connection.pragma_update(None, "user_version", VERSION).map_err(sql)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The reply to a request that was asked before.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read.
    pub fn reply(&self, digest: &str) -> Result<Option<Entry>, LedgerError> {
        self.run(|connection| {
            connection
                .prepare_cached(
                    "SELECT oracle, example, question, shown, raw, ranking, problem, prompt_tokens,
                            completion_tokens, cost, latency_seconds
                     FROM replies WHERE digest = ?1",
                )?
                .query_row([digest], |row| {
                    let shown: String = row.get(3)?;
                    Ok(Entry {
                        digest: digest.to_owned(),
                        oracle: row.get(0)?,
                        example: row.get(1)?,
                        question: row.get(2)?,
                        shown: serde_json::from_str(&shown).unwrap_or_default(),
                        raw: row.get(4)?,
                        ranking: row.get(5)?,
                        problem: row.get(6)?,
                        prompt_tokens: row.get(7)?,
                        completion_tokens: row.get(8)?,
                        cost: row.get(9)?,
                        latency: Duration::try_from_secs_f64(row.get(10)?).unwrap_or_default(),
                    })
                })
                .optional()
        })
    }

    /// Stores a reply; where another process was faster with the same one, its row stays.
    ///
    /// # Errors
    ///
    /// Where the file cannot be written.
    pub fn store(&self, entry: &Entry) -> Result<(), LedgerError> {
        let shown = serde_json::Value::from(entry.shown.clone()).to_string();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        self.run(|connection| {
            connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO replies VALUES
                     (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                )?
                .execute(params![
                    entry.digest,
                    entry.oracle,
                    entry.example,
                    entry.question,
                    shown,
                    entry.raw,
                    entry.ranking,
                    entry.problem,
                    entry.prompt_tokens,
                    entry.completion_tokens,
                    entry.cost,
                    entry.latency.as_secs_f64(),
                    now,
                ])
                .map(drop)
        })
    }

    /// What `oracle` has been paid for, in all runs that used this file.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read.
    pub fn spent(&self, oracle: &str) -> Result<Spent, LedgerError> {
        self.run(|connection| {
            connection
                .prepare_cached("SELECT count(*), total(cost) FROM replies WHERE oracle = ?1")?
                .query_row([oracle], |row| Ok(Spent { calls: row.get(0)?, cost: row.get(1)? }))
        })
    }

    /// Runs statements of a table of one's own.
    ///
    /// # Errors
    ///
    /// Where SQLite fails.
    pub fn run<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        work(&self.lock())
            .map_err(|error| LedgerError { path: self.path.clone(), reason: error.to_string() })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic between statements leaves no half of one behind.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
