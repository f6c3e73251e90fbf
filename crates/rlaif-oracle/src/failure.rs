//! The kinds of failure, as they are counted.

use serde::{Deserialize, Serialize};

use crate::OracleError;

/// The kind of an [`OracleError`], for counting: `oracle/failures/<kind>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// [`OracleError::Cancelled`].
    Cancelled,
    /// The request cannot be ranked by this Oracle: [`OracleError::NoCandidates`],
    /// [`OracleError::NoReference`], [`OracleError::NotOfTheWorld`].
    Request,
    /// [`OracleError::Timeout`].
    Timeout,
    /// [`OracleError::Start`].
    Start,
    /// [`OracleError::Died`].
    Died,
    /// [`OracleError::Protocol`].
    Protocol,
    /// [`OracleError::Rejected`].
    Rejected,
    /// [`OracleError::Abstained`].
    Abstained,
    /// [`OracleError::Reported`].
    Reported,
    /// [`OracleError::Unavailable`].
    Unavailable,
    /// [`OracleError::Refused`].
    Refused,
    /// [`OracleError::Hopeless`].
    Hopeless,
    /// [`OracleError::Video`].
    Video,
    /// [`OracleError::Budget`].
    Budget,
    /// [`OracleError::Ledger`].
    Ledger,
    /// [`OracleError::GaveUp`].
    GaveUp,
    /// [`OracleError::Panicked`].
    Panicked,
    /// [`OracleError::Contract`].
    Contract,
}

impl FailureKind {
    /// The kind as metrics spell it, for instance `gave_up`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FailureKind::Cancelled => "cancelled",
            FailureKind::Request => "request",
            FailureKind::Timeout => "timeout",
            FailureKind::Start => "start",
            FailureKind::Died => "died",
            FailureKind::Protocol => "protocol",
            FailureKind::Rejected => "rejected",
            FailureKind::Abstained => "abstained",
            FailureKind::Reported => "reported",
            FailureKind::Unavailable => "unavailable",
            FailureKind::Refused => "refused",
            FailureKind::Hopeless => "hopeless",
            FailureKind::Video => "video",
            FailureKind::Budget => "budget",
            FailureKind::Ledger => "ledger",
            FailureKind::GaveUp => "gave_up",
            FailureKind::Panicked => "panicked",
            FailureKind::Contract => "contract",
        }
    }
}

impl OracleError {
    /// The kind to count it under.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            OracleError::Cancelled { .. } => FailureKind::Cancelled,
            OracleError::NoCandidates { .. }
            | OracleError::NoReference { .. }
            | OracleError::NotOfTheWorld { .. } => FailureKind::Request,
            OracleError::Timeout { .. } => FailureKind::Timeout,
            OracleError::Start { .. } => FailureKind::Start,
            OracleError::Died { .. } => FailureKind::Died,
            OracleError::Protocol { .. } => FailureKind::Protocol,
            OracleError::Rejected { .. } => FailureKind::Rejected,
            OracleError::Abstained { .. } => FailureKind::Abstained,
            OracleError::Reported { .. } => FailureKind::Reported,
            OracleError::Unavailable { .. } => FailureKind::Unavailable,
            OracleError::Refused { .. } => FailureKind::Refused,
            OracleError::Hopeless { .. } => FailureKind::Hopeless,
            OracleError::Video { .. } => FailureKind::Video,
            OracleError::Budget { .. } => FailureKind::Budget,
            OracleError::Ledger { .. } => FailureKind::Ledger,
            OracleError::GaveUp { .. } => FailureKind::GaveUp,
            OracleError::Panicked { .. } => FailureKind::Panicked,
            OracleError::Contract { .. } => FailureKind::Contract,
        }
    }

    /// Whether this Oracle will fail on every later group too, so that a run had better stop than
    /// skip: it cannot be started, is given up, or its code is wrong.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(
            self.kind(),
            FailureKind::Start
                | FailureKind::Hopeless
                | FailureKind::Budget
                | FailureKind::Ledger
                | FailureKind::GaveUp
                | FailureKind::Panicked
                | FailureKind::Contract
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_as_metrics_spell_them() {
        for kind in [FailureKind::Cancelled, FailureKind::GaveUp, FailureKind::Request] {
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{}\"", kind.as_str()));
        }
    }
}
