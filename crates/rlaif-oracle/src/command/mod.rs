//! The `command` Oracle: any program that reads and writes JSON lines.

mod process;
mod protocol;
mod session;

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{Cancel, ConfigError, Oracle, OracleError, RankRequest, Verdict};
use session::Session;

/// Settings of the `command` Oracle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandConfig {
    /// The program: a path, or a name looked up on `PATH`. No shell is involved.
    pub program: String,
    /// Its arguments; default none.
    #[serde(default)]
    pub args: Vec<String>,
    /// Time for one answer, in seconds, above 0; default 60. A judge that reasons about video
    /// frames takes seconds to tens of seconds.
    #[serde(default = "default_timeout_seconds")]
    pub timeout_seconds: f64,
    /// Time that is added while a freshly started program has not answered yet, in seconds, 0 or
    /// more; default 120, for it may have a model to load.
    #[serde(default = "default_startup_seconds")]
    pub startup_seconds: f64,
    /// How often in a row the program is started again without an answer in between; default 3.
    #[serde(default = "default_max_restarts")]
    pub max_restarts: u32,
    /// Requests that the program is given before it has answered, at least 1; default 1. Above
    /// 1 it may answer in any order.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
    /// Names of the environment variables that the program sees, next to `PATH`; default: all of
    /// ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass_env: Option<Vec<String>>,
}

fn default_timeout_seconds() -> f64 {
    60.0
}

fn default_startup_seconds() -> f64 {
    120.0
}

fn default_max_restarts() -> u32 {
    3
}

fn default_concurrency() -> usize {
    1
}

impl CommandConfig {
    /// The settings for `program`, everything else at its default.
    #[must_use]
    pub fn new(program: impl Into<String>) -> Self {
        CommandConfig {
            program: program.into(),
            args: Vec::new(),
            timeout_seconds: default_timeout_seconds(),
            startup_seconds: default_startup_seconds(),
            max_restarts: default_max_restarts(),
            concurrency: default_concurrency(),
            pass_env: None,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let field = |field, why: String| Err(ConfigError::Field { oracle: "command", field, why });
        let seconds = |value: f64| Duration::try_from_secs_f64(value).ok();
        if seconds(self.timeout_seconds).is_none_or(|time| time.is_zero()) {
            let why = format!("{} is not a time above 0 seconds", self.timeout_seconds);
            return field("timeout_seconds", why);
        }
        if seconds(self.startup_seconds).is_none() {
            let why = format!("{} is not a time of 0 seconds or more", self.startup_seconds);
            return field("startup_seconds", why);
        }
        if self.concurrency == 0 {
            return field(
                "concurrency",
                "0 would never ask; 1 asks one group at a time".to_owned(),
            );
        }
        if !can_be_found(&self.program) {
            let why = format!("{:?} is no program here, and none on PATH", self.program);
            return field("program", why);
        }
        Ok(())
    }
}

/// Whether there is such a file, or one on `PATH` where the name has no folder. Only Unix looks on
/// `PATH`, for Windows adds endings to the name.
fn can_be_found(program: &str) -> bool {
    let path = Path::new(program);
    if path.components().count() != 1 || path.is_absolute() || !cfg!(unix) {
        return !program.is_empty() && (!cfg!(unix) || path.is_file());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(path).is_file())
}

/// Asks a program, over JSON lines on its stdin and stdout.
///
/// # The protocol
///
/// Each request is one line of ASCII (everything else is escaped):
///
/// ```json
/// {"id": 0, "example": "row-17", "question": "What colour is the ball?", "video": "clips/a.mp4", "candidates": ["red", "blue", "a ball"], "messages": [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "What colour is the ball?"}]}], "reference": "red"}
/// ```
///
/// `id` is a number that no other request has, `example` the row's id. `video` is a path, a list of
/// frame paths, or `world:split/index` for a ClipWorld clip. `messages` is the conversation up to
/// the question. `reference`, `choices` (`{"options": [...], "answer": 2}`), `category`, `narrative`
/// and `meta` are there where the row has them.
///
/// Each reply is one line with the request's `id` and one of:
///
/// | field | meaning |
/// |---|---|
/// | `"ranking": [[2], [0, 1]]` | blocks of candidate numbers from 0, best first; a block ties |
/// | `"order": [2, 0, 1]` | candidate numbers, best first, no ties |
/// | `"ranks": [1, 1, 0]` | one whole number per candidate, smaller is better, equal ties, `null` is unplaced |
/// | `"abstain": true` or `"abstain": "why"` | no verdict: [`OracleError::Abstained`] |
/// | `"error": "why"` | the program failed on this group: [`OracleError::Reported`] |
///
/// A candidate may be left out on purpose, with `"unplaced": [0, 1]` next to `ranking` or `order`;
/// one that is simply missing, repeated or unknown is [`OracleError::Rejected`]. Other fields are
/// the program's own and are kept in [`Verdict::raw`]. Blank lines are passed over. Logs belong on
/// stderr, the end of which is shown when the program dies. Output must be flushed after each line;
/// a line may be 1 MiB long.
///
/// # The program's life
///
/// It is started at the first request and kept. Before its first answer it is allowed
/// `startup_seconds` more than `timeout_seconds`. At the end its stdin is closed, and it is killed
/// two seconds later. It sees our environment, or of it `PATH` and the names in `pass_env`; and
/// our working folder. On Unix it leads a process group, and what it started ends with it.
///
/// - A request without an answer in time is [`OracleError::Timeout`]; the program is killed and
///   started again for the next one.
/// - A program that dies, or writes a line that is no reply to an open request, is killed and
///   started again. Requests that were open are sent once more; those it fails on a second time are
///   [`OracleError::Died`] or [`OracleError::Protocol`].
/// - After `max_restarts` in a row without an answer the Oracle is given up: every further request
///   is [`OracleError::GaveUp`] at once.
/// - On cancellation the program is killed, and a later request starts it afresh.
#[derive(Debug)]
pub struct CommandOracle {
    name: String,
    config: CommandConfig,
    session: Mutex<Session>,
}

impl CommandOracle {
    /// Checks the settings; the program is not started yet.
    ///
    /// # Errors
    ///
    /// When a setting is out of its range, or there is no such program.
    pub fn new(config: CommandConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let file = Path::new(&config.program).file_name();
        let name =
            file.map_or("command".to_owned(), |file| format!("command {}", file.to_string_lossy()));
        Ok(CommandOracle { name, config, session: Mutex::default() })
    }

    /// The session, or none once cancelled while another thread has it.
    fn lock(&self, cancel: &Cancel) -> Option<MutexGuard<'_, Session>> {
        loop {
            match self.session.try_lock() {
                Ok(session) => return Some(session),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if cancel.is_cancelled() => return None,
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Oracle for CommandOracle {
    fn name(&self) -> &str {
        &self.name
    }

    fn rank(&self, requests: &[RankRequest], cancel: &Cancel) -> Vec<Result<Verdict, OracleError>> {
        match self.lock(cancel) {
            Some(mut session) => session.rank(&self.name, &self.config, requests, cancel),
            None => requests
                .iter()
                .map(|r| Err(OracleError::Cancelled { example: r.example.id.clone() }))
                .collect(),
        }
    }
}

impl Drop for CommandOracle {
    fn drop(&mut self) {
        self.session.get_mut().unwrap_or_else(PoisonError::into_inner).close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        let good = CommandConfig::new(std::env::current_exe().unwrap().to_string_lossy());
        assert!(CommandOracle::new(good.clone()).is_ok());
        for (config, field) in [
            (CommandConfig { timeout_seconds: 0.0, ..good.clone() }, "timeout_seconds"),
            (CommandConfig { timeout_seconds: f64::NAN, ..good.clone() }, "timeout_seconds"),
            (CommandConfig { timeout_seconds: 1e300, ..good.clone() }, "timeout_seconds"),
            (CommandConfig { startup_seconds: -1.0, ..good.clone() }, "startup_seconds"),
            (CommandConfig { concurrency: 0, ..good.clone() }, "concurrency"),
            (CommandConfig { program: String::new(), ..good.clone() }, "program"),
            (CommandConfig { program: "./no-such-judge".to_owned(), ..good.clone() }, "program"),
        ] {
            let error = CommandOracle::new(config).unwrap_err().to_string();
            assert!(error.contains(field), "{field}: {error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn names_are_looked_up_on_the_path() {
        assert!(can_be_found("sh"));
        assert!(!can_be_found("no-such-judge-anywhere"));
    }
}
