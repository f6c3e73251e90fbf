//! Rankings with ties and gaps, their gains and agreement, and advantages made from ranks.
pub mod ranking;
pub use ranking::{InvalidRanking, Ranking};
