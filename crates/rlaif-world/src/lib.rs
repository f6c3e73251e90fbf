#![doc = include_str!("../README.md")]

mod address;
mod ask;
mod category;
mod config;
mod error;
mod examples;
mod export;
mod fact;
mod gaps;
mod generate;
mod grade;
pub mod holdout;
mod kinds;
mod narrative;
mod noise;
mod path;
mod render;
mod scene;
mod vocabulary;

pub use address::{address, parse_address};
pub use ask::{Question, questions};
pub use category::Category;
pub use config::{FPS, Split, UnknownSplit, WORLD_VERSION, WorldConfig};
pub use error::WorldError;
pub use examples::examples;
pub use export::{ExportSummary, export};
pub use gaps::leave_unplaced;
pub use generate::scene;
pub use grade::{rank_answers, rank_answers_in_steps, truth_score};
pub use kinds::{Color, Direction, Encounter, Motion, Phase, Shape};
pub use narrative::narrative;
pub use noise::{expected_tau, perturb, strength_for, strength_for_tau};
pub use render::{clip_at, contact_sheet, frames};
pub use scene::{Event, Object, Scene, State};
pub use vocabulary::vocabulary;
