//! What can go wrong, and when.

use std::{fmt, sync::Arc, time::Duration};

/// What becomes of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// It is answered.
    #[default]
    None,
    /// It is turned down with this status and, where given, this `Retry-After`.
    Status(u16, Option<String>),
    /// It is sent elsewhere: 307 with this `Location`.
    Redirect(String),
    /// The connection is closed before a word is said.
    ResetBeforeHeaders,
    /// The connection is closed in the middle of the reply.
    ResetMidBody,
    /// Half of the reply comes, and nothing after it.
    StallMidBody,
    /// Success, and a page of HTML.
    Garbage,
    /// Success, and a chat completion without choices.
    EmptyChoices,
    /// An answer that ranks one candidate too few.
    WrongCount,
    /// An answer that takes this much longer.
    Slow(Duration),
    /// Success, and a text that is not UTF-8.
    InvalidUtf8,
    /// Success, and 16 MiB of blanks.
    HugeBody,
    /// An answer that declines to judge.
    Abstain,
}

/// The fault of each chat request, numbered from 0 in the order of their coming. A function of the
/// number alone makes a rehearsal repeatable.
pub type Schedule = Arc<dyn Fn(u64) -> Fault + Send + Sync>;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Status(status, _) => write!(f, "status {status}"),
            Fault::Slow(by) => write!(f, "slow by {} s", by.as_secs_f64()),
            other => write!(f, "{other:?}"),
        }
    }
}
