//! What can be wrong with an Oracle's settings.

use std::path::{Path, PathBuf};

/// Settings from which no Oracle can be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A setting is out of its range.
    #[error("the `{field}` of the {oracle} oracle is wrong: {why}")]
    Field {
        /// The Oracle's `type`.
        oracle: &'static str,
        /// The key.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A prompt cannot be used.
    #[error("prompt `{prompt}`{}: {why}", place(path.as_deref(), *line))]
    Prompt {
        /// Which, as its key is called.
        prompt: &'static str,
        /// The file it comes from; none for one that is built in.
        path: Option<PathBuf>,
        /// The line, where it is known, from 1.
        line: Option<usize>,
        /// What is wrong with it.
        why: String,
    },
}

fn place(path: Option<&Path>, line: Option<usize>) -> String {
    let file = path.map(|path| format!(" in `{}`", path.display()));
    let line = line.map(|line| format!(", line {line}"));
    file.into_iter().chain(line).collect()
}
