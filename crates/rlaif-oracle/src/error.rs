//! Why a group has no verdict.

use rlaif_rank::InvalidRanking;

/// Why a group was not ranked. Every variant names the group's example and what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OracleError {
    /// The run asked to stop before the verdict came.
    #[error("ranking of example {example:?} was cancelled")]
    Cancelled {
        /// [`Example::id`](rlaif_data::Example::id).
        example: String,
    },
    /// There is nothing to order.
    #[error("example {example:?} has no candidates to rank: sample at least one completion")]
    NoCandidates {
        /// The example's id.
        example: String,
    },
    /// The Oracle compares with a reference answer and the row has none.
    #[error(
        "example {example:?} has no reference answer to compare with: add `reference` to the row \
         or choose another Oracle"
    )]
    NoReference {
        /// The example's id.
        example: String,
    },
    /// The Oracle knows ClipWorld alone, and this question is not from there.
    #[error(
        "the world Oracle cannot rank example {example:?} ({reason}): use it with ClipWorld \
         examples alone"
    )]
    NotOfTheWorld {
        /// The example's id.
        example: String,
        /// What ClipWorld says of it.
        reason: String,
    },
    /// No answer in time.
    #[error(
        "oracle {oracle:?} did not answer on example {example:?} within {seconds} s: raise \
         `timeout_seconds` (of people `deadline_seconds`), or `startup_seconds` where it was still \
         loading"
    )]
    Timeout {
        /// The Oracle's name.
        oracle: String,
        /// The example's id.
        example: String,
        /// How long it was waited for, in seconds.
        seconds: f64,
    },
    /// The program cannot be started.
    #[error("cannot start the oracle program {program:?} for example {example:?}: {reason}")]
    Start {
        /// The program as the recipe names it.
        program: String,
        /// The example's id.
        example: String,
        /// What the operating system says.
        reason: String,
    },
    /// The program ended while it owed an answer, twice.
    #[error(
        "oracle {oracle:?} ended ({status}) while ranking example {example:?}; stderr: {stderr}"
    )]
    Died {
        /// The Oracle's name.
        oracle: String,
        /// The example's id.
        example: String,
        /// The exit status in words.
        status: String,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
    /// What the program wrote is not the protocol.
    #[error(
        "oracle {oracle:?} broke the protocol on example {example:?}: {detail}; it wrote: {output}"
    )]
    Protocol {
        /// The Oracle's name.
        oracle: String,
        /// The example's id.
        example: String,
        /// The rule that was broken.
        detail: String,
        /// What it wrote, cut.
        output: String,
    },
    /// The answer is no ranking of the candidates.
    #[error(
        "oracle {oracle:?} gave no ranking of example {example:?}: {source}; it wrote: {output}"
    )]
    Rejected {
        /// The Oracle's name.
        oracle: String,
        /// The example's id.
        example: String,
        /// What is wrong with it.
        source: InvalidRanking,
        /// What it wrote, cut.
        output: String,
    },
    /// The Oracle will not say.
    #[error("oracle {oracle:?} abstained from example {example:?}: {reason}")]
    Abstained {
        /// The Oracle's name.
        oracle: String,
        /// The example's id.
        example: String,
        /// Its own reason.
        reason: String,
    },
    /// The Oracle says that it failed.
    #[error("oracle {oracle:?} reported a failure on example {example:?}: {message}")]
    Reported {
        /// The Oracle's name.
        oracle: String,
        /// The example's id.
        example: String,
        /// Its own words, cut.
        message: String,
    },
    /// Nobody answered, however often it was tried.
    #[error(
        "oracle {oracle:?} could not be reached about example {example:?}: {reason}; see \
         `limits.max_retries` and `limits.deadline_seconds`"
    )]
    Unavailable {
        /// The Oracle's name.
        oracle: String,
        /// The example's id.
        example: String,
        /// The attempts and the last failure.
        reason: String,
    },
    /// The server refuses this request.
    #[error("oracle {oracle:?} refused example {example:?}: {reason}")]
    Refused {
        /// The Oracle's name.
        oracle: String,
        /// The example's id.
        example: String,
        /// The server's words.
        reason: String,
    },
    /// The server refuses every request: a wrong key, a wrong address, an unknown model.
    #[error("oracle {oracle:?} cannot be asked (example {example:?}): {reason}")]
    Hopeless {
        /// The Oracle's name.
        oracle: String,
        /// The example's id.
        example: String,
        /// What is wrong.
        reason: String,
    },
    /// The clip cannot be shown to the Oracle.
    #[error("oracle {oracle:?} cannot be shown the clip of example {example:?}: {reason}")]
    Video {
        /// The Oracle's name.
        oracle: String,
        /// The example's id.
        example: String,
        /// Why.
        reason: String,
    },
    /// The budget of the recipe is used up.
    #[error(
        "oracle {oracle:?} was not asked about example {example:?}: {spent}; raise \
         `limits.{limit}` and go on, what was paid for is kept"
    )]
    Budget {
        /// The Oracle's name.
        oracle: String,
        /// The example's id.
        example: String,
        /// `max_calls` or `max_cost`.
        limit: &'static str,
        /// What was spent, in words.
        spent: String,
    },
    /// The ledger cannot be read or written.
    #[error("oracle {oracle:?}, example {example:?}: {source}")]
    Ledger {
        /// The Oracle's name.
        oracle: String,
        /// The example's id.
        example: String,
        /// What is wrong with it.
        source: crate::LedgerError,
    },
    /// The program failed too often in a row and is not started again.
    #[error(
        "oracle {oracle:?} is given up before example {example:?} after {restarts} restarts \
         without an answer; last failure: {last}"
    )]
    GaveUp {
        /// The Oracle's name.
        oracle: String,
        /// The example's id.
        example: String,
        /// Restarts that brought no answer.
        restarts: u32,
        /// The last failure in words.
        last: String,
    },
    /// An Oracle's code panicked.
    #[error("oracle {oracle:?} panicked while ranking example {example:?}: {message}")]
    Panicked {
        /// The Oracle's name.
        oracle: String,
        /// The example's id.
        example: String,
        /// The panic's message.
        message: String,
    },
    /// An implementation of [`Oracle`](crate::Oracle) does not keep to the trait's contract.
    #[error("oracle {oracle:?} broke its contract on example {example:?}: {detail}")]
    Contract {
        /// The Oracle's name.
        oracle: String,
        /// The example's id.
        example: String,
        /// The promise it broke.
        detail: String,
    },
}

/// Longest piece of an Oracle's own output in an error, in characters.
const EXCERPT_CHARS: usize = 400;

/// The beginning of what an Oracle wrote, fit for one line of a log: control characters are
/// escaped, so that hostile output cannot drive a terminal.
pub(crate) fn excerpt(text: &str) -> String {
    let text = text.trim();
    let cut = text.char_indices().nth(EXCERPT_CHARS).map_or(text.len(), |(at, _)| at);
    let shown = tame(&text[..cut]);
    if cut == text.len() { shown } else { format!("{shown} ... ({} bytes in all)", text.len()) }
}

/// The end of what an Oracle wrote, where the last line says what is wrong.
pub(crate) fn excerpt_end(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().rev().nth(EXCERPT_CHARS - 1) {
        Some((cut, _)) if cut > 0 => format!("... {}", tame(&text[cut..])),
        _ => tame(text),
    }
}

fn tame(text: &str) -> String {
    if text.is_empty() {
        return "(nothing)".to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short_and_tame() {
        assert_eq!(excerpt(" \n"), "(nothing)");
        assert_eq!(excerpt("{\"a\": \"ä\"}\n"), "{\"a\": \"ä\"}");
        assert_eq!(excerpt("red\u{1b}[31m\nblue"), "red\\u{1b}[31m\\nblue");
        let long = excerpt(&"é".repeat(1000));
        assert!(long.ends_with("é ... (2000 bytes in all)"), "{long}");
        assert_eq!(long.chars().filter(|c| *c == 'é').count(), 400);

        assert_eq!(excerpt_end("a\nb\n"), "a\\nb");
        let exact = "é".repeat(400);
        assert_eq!(excerpt_end(&exact), exact);
        assert_eq!(excerpt_end(&format!("x{exact}")), format!("... {exact}"));
        assert_eq!(excerpt_end(" "), "(nothing)");
    }

    #[test]
    fn ids_cannot_break_a_log_line() {
        let error = OracleError::NoReference { example: "a\n\u{1b}[2J".to_owned() };
        assert!(error.to_string().contains(r#""a\n\u{1b}[2J""#), "{error}");
    }
}
