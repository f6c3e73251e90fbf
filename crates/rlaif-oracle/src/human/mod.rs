//! People as Oracles: groups are filed in the ledger, whoever annotates ranks them there.
//!
//! ```text
//! HumanOracle --tasks--> ledger <--verdicts-- the page of `oracle-rlaif annotate`
//! ```
//!
//! [`Desk`] is the table between the two, [`HumanOracle`] who waits at it, [`agreement`](mod@agreement)
//! how far annotators are of one mind. The processes share nothing but the file: either may be
//! killed and started again.

pub mod agreement;
pub mod desk;
mod digest;
pub mod oracle;
mod rows;

pub use agreement::{AnnotatorStats, agreement};
pub use desk::{Desk, Progress, Submitted, Withdrawn};
pub use digest::task_digest;
pub use oracle::{HumanConfig, HumanOracle, votes};
pub use rows::{
    AnnotatorName, Answer, BadName, Judgement, NewJudgement, OpenTask, Task, TaskState,
};
