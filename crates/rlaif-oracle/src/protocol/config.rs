//! The settings of a protocol and their ranges.

mod written;

use rlaif_rank::{Aggregator, aggregate::KEMENY_LIMIT};
use serde::{Deserialize, Serialize};

use self::written::{ScheduleTable, Table};
use super::{network, sliding};

/// Most candidates of a group: evidence is kept for every pair.
pub(super) const MOST_CANDIDATES: usize = 256;
/// Most candidates of a group that is compared in pairs: every pair is a ranking to aggregate.
pub(super) const MOST_PAIRED: usize = 64;
/// Most repeats and passes.
pub(super) const MOST_REPEATS: u32 = 100;
/// Largest score of either sign: every whole number up to it is exact as a float.
const LARGEST_SCORE: i64 = 1_000_000;

/// How an order is asked for. In a recipe a name, `protocol = "listwise"`, or a table,
/// `protocol = { type = "pairwise", schedule = "network" }`; unknown keys are errors.
///
/// ```
/// use rlaif_oracle::protocol::{ProtocolConfig, Schedule};
///
/// let read = |text: &str| serde_json::from_str::<ProtocolConfig>(text);
/// assert_eq!(read(r#""listwise""#)?, ProtocolConfig::Listwise);
/// assert_eq!(
///     read(r#"{"type": "pairwise", "schedule": {"type": "tournament", "budget": 8}}"#)?,
///     ProtocolConfig::Pairwise { schedule: Schedule::Tournament { budget: 8 }, both_orders: true },
/// );
/// assert!(read(r#"{"type": "sliding", "windows": 3}"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "Table")]
pub enum ProtocolConfig {
    /// One question for the whole group.
    #[default]
    Listwise,
    /// Questions about two candidates each.
    Pairwise {
        /// Which pairs. Default `all`.
        schedule: Schedule,
        /// Whether each pair is shown in both orders. Default true: judges prefer a slot
        /// (Shi et al. 2024, arXiv:2406.07791). A pair whose orders disagree is a tie; one of whose
        /// orders is unanswered is unanswered, as what is left may be the preference alone.
        both_orders: bool,
    },
    /// A score for each candidate, of which only the order is used; equal scores tie.
    Pointwise {
        /// The worst score, below `max`. Default 1.
        min: i64,
        /// The best score, at most 1,000,000. Default 10.
        max: i64,
    },
    /// Listwise questions about overlapping windows from the tail forward, for groups that one
    /// question cannot hold. One pass finds the best `window - stride` candidates and orders the
    /// rest only as far as they met; `n / (window - stride)` passes, rounded up, order all `n`.
    Sliding {
        /// Candidates in one question, at least 2. Default 20 (`RankGPT`).
        window: usize,
        /// Candidates that the window moves by, from 1 to `window - 1`. Default 10 (`RankGPT`).
        stride: usize,
        /// Passes over the group, 1 to 100. Default 1 (`RankGPT`).
        passes: u32,
    },
}

/// Which pairs are asked about. In a recipe a name, or a table with `type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "ScheduleTable")]
pub enum Schedule {
    /// Every pair once.
    #[default]
    All,
    /// The comparators of Batcher's merge exchange in rounds: about `n log² n / 4` pairs.
    Network,
    /// Rounds in which neighbours in the current standing meet who have not met yet.
    Tournament {
        /// Questions at most in one repeat; a pair takes two with `both_orders`. Each candidate has
        /// to be in a pair: at least `ceil(n / 2)` pairs.
        budget: usize,
    },
}

/// `protocol`, `repeats` and `aggregator` of an Oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProtocolSettings {
    /// How an order is asked for. Default `listwise`.
    pub protocol: ProtocolConfig,
    /// How often all of it is asked, with the candidates shown in other orders, 1 to 100.
    /// Default 1. With as many repeats as candidates, each stands in each slot once.
    pub repeats: u32,
    /// How the orders of the repeats become one, and the answers about pairs an order. Default
    /// `borda`.
    pub aggregator: Aggregator,
}

impl Default for ProtocolSettings {
    fn default() -> Self {
        ProtocolSettings {
            protocol: ProtocolConfig::Listwise,
            repeats: 1,
            aggregator: Aggregator::Borda,
        }
    }
}

/// Why nothing can be asked about a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A setting is out of its range.
    #[error("`{field}` is wrong: {why}")]
    Setting {
        /// The key.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// There is nothing to compare.
    #[error("an order is asked for of at least 2 candidates, there are {0}")]
    TooFew(usize),
    /// Evidence for every pair would not fit.
    #[error(
        "a group has at most {most} candidates to ask about this way, this one has {candidates}: \
         rank fewer, or take `sliding`, which goes to {MOST_CANDIDATES}"
    )]
    TooMany {
        /// Candidates there are.
        candidates: usize,
        /// Candidates there may be.
        most: usize,
    },
}

impl ProtocolSettings {
    /// Checks the ranges that hold for every group.
    ///
    /// # Errors
    ///
    /// [`PlanError::Setting`] with the first setting that is out of its range.
    pub fn check(&self) -> Result<(), PlanError> {
        in_range("repeats", self.repeats)?;
        match self.protocol {
            ProtocolConfig::Listwise => Ok(()),
            ProtocolConfig::Pairwise { schedule, both_orders } => match schedule {
                Schedule::Tournament { budget } if budget < per_pair(both_orders) => {
                    let least = per_pair(both_orders);
                    Err(setting("budget", format!("{budget} questions, a pair takes {least}")))
                }
                _ => Ok(()),
            },
            ProtocolConfig::Pointwise { min, max } => {
                if min < -LARGEST_SCORE || max > LARGEST_SCORE {
                    let why = format!("scores lie within ±{LARGEST_SCORE}");
                    return Err(setting(if max > LARGEST_SCORE { "max" } else { "min" }, why));
                }
                if min >= max {
                    return Err(setting("max", format!("{max} is not above `min`, {min}")));
                }
                Ok(())
            }
            ProtocolConfig::Sliding { window, stride, passes } => {
                if !(2..=MOST_CANDIDATES).contains(&window) {
                    let why = format!("{window} is not within 2 to {MOST_CANDIDATES}");
                    return Err(setting("window", why));
                }
                if stride == 0 || stride >= window {
                    let why = format!("{stride} is not within 1 to {} (`window` - 1)", window - 1);
                    return Err(setting("stride", why));
                }
                in_range("passes", passes)
            }
        }
    }

    /// Checks what depends on the group as well.
    ///
    /// # Errors
    ///
    /// As [`ProtocolSettings::check`]; for fewer than 2 candidates or more than 256, in pairs
    /// 64; for a
    /// tournament's `budget` that leaves a candidate without a pair; for `kemeny` with more than 16
    /// candidates.
    pub fn check_for(&self, candidates: usize) -> Result<(), PlanError> {
        self.check()?;
        if candidates < 2 {
            return Err(PlanError::TooFew(candidates));
        }
        let pairs = matches!(self.protocol, ProtocolConfig::Pairwise { .. });
        let most = if pairs { MOST_PAIRED } else { MOST_CANDIDATES };
        if candidates > most {
            return Err(PlanError::TooMany { candidates, most });
        }
        if self.aggregator == Aggregator::Kemeny && candidates > KEMENY_LIMIT {
            let why = format!(
                "`kemeny` takes at most {KEMENY_LIMIT} candidates, the group has {candidates}: \
                 take `borda`"
            );
            return Err(setting("aggregator", why));
        }
        if let ProtocolConfig::Pairwise { schedule: Schedule::Tournament { budget }, both_orders } =
            self.protocol
        {
            let least = candidates.div_ceil(2) * per_pair(both_orders);
            if budget < least {
                let why = format!(
                    "{budget} questions leave some of {candidates} candidates without a pair: \
                     it takes {least}"
                );
                return Err(setting("budget", why));
            }
        }
        Ok(())
    }

    /// Most questions that a group of `candidates` can lead to, repeats included; repair turns are
    /// not in it. The settings are taken to be in range.
    #[must_use]
    pub fn most_questions(&self, candidates: usize) -> usize {
        let n = candidates;
        let once = match self.protocol {
            ProtocolConfig::Listwise => 1,
            ProtocolConfig::Pairwise { schedule, both_orders } => {
                let all = n * n.saturating_sub(1) / 2 * per_pair(both_orders);
                match schedule {
                    Schedule::All => all,
                    Schedule::Network => {
                        let comparators: usize = network::rounds(n).iter().map(Vec::len).sum();
                        (comparators * per_pair(both_orders)).min(all)
                    }
                    Schedule::Tournament { budget } => {
                        (budget - budget % per_pair(both_orders)).min(all)
                    }
                }
            }
            ProtocolConfig::Pointwise { .. } => n,
            ProtocolConfig::Sliding { window, stride, passes } => {
                sliding::windows(n, window, stride, passes).len()
            }
        };
        once * self.repeats as usize
    }
}

/// Questions that a pair takes.
pub(super) fn per_pair(both_orders: bool) -> usize {
    1 + usize::from(both_orders)
}

fn setting(field: &'static str, why: String) -> PlanError {
    PlanError::Setting { field, why }
}

fn in_range(field: &'static str, value: u32) -> Result<(), PlanError> {
    if (1..=MOST_REPEATS).contains(&value) {
        return Ok(());
    }
    Err(setting(field, format!("{value} is not within 1 to {MOST_REPEATS}")))
}
