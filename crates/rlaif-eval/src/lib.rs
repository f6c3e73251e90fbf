//! What an answer is worth, and what a run gained: answer extraction, text metrics, bootstrap
//! intervals, paired comparisons, and the report as HTML, text and JSON.
//!
//! ```text
//! answers + option likelihoods -> ItemResult -> EvalReport ┐
//!                                     └-> paired_gain -> Gains ┴-> Summary -> table, HTML, JSON
//! ```
//!
//! The caller asks the model and passes plain records in; this crate holds no tensor, opens no
//! video, and does not know how a checkpoint came about.
//!
//! - [`item`]: one graded answer, and [`measure`] the numbers it earns; [`letter`] finds the option
//!   that a text names, [`text`] compares words.
//! - [`bootstrap`] and [`gain`]: intervals over videos, and paired differences of two checkpoints.
//! - [`report`] and [`summary`]: what a checkpoint reached, and what a run gained.
//! - [`comparison`]: several methods under several seeds, against baselines and others' claims.
//! - [`metrics`]: reads the `metrics.jsonl` of a training run.
//! - [`table`] and [`html`]: the same for terminals and browsers.
//!
//! Accuracies and other shares are fractions in `0..=1` everywhere; only [`gain::Gain`] and
//! [`comparison::Difference`] speak in percentage points, and their field names say so.

#![expect(
    clippy::doc_markdown,
    reason = "McNemar, SQuAD and other names of people and data sets are no code"
)]

pub mod bootstrap;
pub mod comparison;
mod format;
pub mod gain;
pub mod html;

pub mod item;
pub mod letter;
pub mod measure;
pub mod metrics;
mod pair;
pub mod report;
pub mod summary;
pub mod table;

pub mod text;

pub use bootstrap::Bootstrap;
pub use comparison::{
    Claim, ClaimSpec, Comparison, ComparisonError, ComparisonFacts, Cost, CurvePoint, Expectation,
    MethodRuns, SeedRun, Selection, Verdict,
};
pub use gain::{Gain, Gains, paired_gain};
pub use html::HtmlReport;

pub use item::{ItemError, ItemHead, ItemKind, ItemResult};
pub use letter::{LetterPick, extract_letter};
pub use measure::Measure;
pub use metrics::{MetricsError, MetricsLog};
pub use pair::PairError;
pub use report::{CategoryResult, Estimate, EvalReport, ReportError, Section};
pub use summary::{RunFacts, Summary};
pub use table::{render_reports, render_summary};
