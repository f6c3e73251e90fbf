//! How an order of a group is asked for: which questions, about which candidates, shown in which
//! order, and what their answers come to. No input or output: whoever asks takes the questions of a
//! [`Plan`] and brings it the answers.
//!
//! Questions for `n` candidates in one repeat, `q = 2` with `both_orders` and else 1:
//!
//! | protocol | questions | source |
//! |---|---|---|
//! | `listwise` | 1 | Sun et al. 2023 (`RankGPT`), arXiv:2304.09542 |
//! | `pairwise`, `all` | `q n (n - 1) / 2` | round robin |
//! | `pairwise`, `network` | `q` times the pairs that the network compares | Batcher 1968; Knuth, TAOCP 3, 5.2.2 M |
//! | `pairwise`, `tournament` | at most `budget` | Swiss system |
//! | `pointwise` | `n` | |
//! | `sliding` | `passes` times `ceil((n - window) / stride) + 1`; 1 for `n` up to `window` | Sun et al. 2023 |
//!
//! Deviations: a judge may tie candidates in every protocol, and `network` and `sliding` read ties off
//! the answers they have. An unanswered question is missing evidence: it
//! never becomes a tie, and a candidate without any evidence is unplaced.
//!
//! `repeats` ask all of it again with the candidates shown in other orders, which
//! cancels a preference for a slot; the orders are aggregated (Tang et al. 2023, permutation
//! self-consistency, arXiv:2310.07712).

mod config;
mod course;
mod listwise;
mod network;
mod pairs;
mod plan;
mod pointwise;
mod presentation;
mod question;
mod sliding;
mod standing;
mod tournament;

#[cfg(test)]
mod tests;

pub use config::{PlanError, ProtocolConfig, ProtocolSettings, Schedule};
pub use plan::Plan;
pub use question::{Outcome, Question, QuestionKind, Said};
