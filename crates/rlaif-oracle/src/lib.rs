//! Oracles: anything that can put answers in order.
//!
//! ```text
//! RankRequest (question, video, G candidates) -> Oracle -> Verdict (Ranking) or OracleError
//! ```
//!
//! - [`oracle`] is the trait, [`error`] why a group has no verdict, [`cancel`] how to stop.
//! - [`merged`] is the one way to ask: [`rank_groups`] merges identical responses, checks verdicts
//!   and counts failures ([`metrics`]).
//! - [`worker`] does so in the background while the next groups are sampled.
//! - The Oracles: [`world`] (the ground truth of ClipWorld), [`reference`](mod@reference) (closeness
//!   to a reference answer), [`command`] (any program), [`human`] (people, who answer through the
//!   ledger), several at once ([`ensemble`]).
//! - For Oracles that are asked in words: [`protocol`] plans the questions, [`prompts`] words them,
//!   [`parse`] reads the replies, [`asking`] holds them together, [`chat`] is the seam to whoever answers, [`http`] asks over the
//!   network, [`rehearsal`] is a judge on this machine to try all of it with.
//! - [`ledger`] keeps every reply that was paid for.
//!
//! Three rules hold for every Oracle: it orders and never scores; a failed verdict is a failure,
//! never a tie; and nothing it says is repaired silently.

pub mod agreement;
pub mod asking;
pub mod cancel;
pub mod chat;
pub mod command;
pub mod config;
pub mod ensemble;
pub mod error;
pub mod failure;
pub mod http;
pub mod human;
pub mod ledger;
pub mod ledgered;
pub mod merged;
pub mod metrics;
pub mod oracle;
mod overlap;
pub mod parse;
pub mod prompts;
pub mod protocol;
pub mod ranking;
pub mod reference;
pub mod rehearsal;
pub mod usage;
pub mod worker;
pub mod world;

#[cfg(test)]
mod testing;

pub use agreement::{Agreement, agreement};
pub use asking::{AskingSettings, ChatOracle};
pub use cancel::Cancel;
pub use chat::{ChatError, ChatMessage, ChatModel, ChatReply, ChatRequest, ChatRole, Patience};
pub use command::{CommandConfig, CommandOracle};
pub use config::ConfigError;
pub use ensemble::{Ensemble, Member};
pub use error::OracleError;
pub use failure::FailureKind;
pub use http::{FramesConfig, HttpChat, LimitsConfig, Picture, Pictures, ServerConfig};
pub use human::{Desk, HumanConfig, HumanOracle};
pub use ledger::{Ledger, LedgerError};
pub use ledgered::Ledgered;
pub use merged::{RankOutcome, rank_groups};
pub use metrics::{OracleMetrics, VoterMetrics};
pub use oracle::{Call, Oracle, RankRequest, Verdict, Vote};
pub use parse::{ReplyError, parse_reply};
pub use prompts::{Prompts, PromptsConfig};
pub use protocol::{
    Outcome, Plan, PlanError, ProtocolConfig, ProtocolSettings, Question, QuestionKind, Said,
    Schedule,
};
pub use ranking::{LowAgreement, RankingConfig, Settled, Unranked};
pub use reference::{ReferenceConfig, ReferenceMetric, ReferenceOracle};
pub use usage::Usage;
pub use worker::{OracleWorker, Pending};
pub use world::{WorldOracle, WorldOracleConfig};
