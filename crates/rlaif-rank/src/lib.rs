#![doc = include_str!("../README.md")]

pub mod advantage;
pub mod aggregate;
pub mod agreement;
pub mod gain;
pub mod merge;
pub mod normal;
pub mod notation;
pub mod pairs;
pub mod ranking;
pub mod scale;

#[cfg(test)]
mod testing;

pub use advantage::{Advantage, AdvantageError, UnknownAdvantage, advantages, zscore};
pub use aggregate::{AggregateError, Aggregator, aggregate, aggregate_weighted};
pub use agreement::{
    AgreementError, advantage_correlation, kendall_tau_b, kendall_w, spearman_rho,
};
pub use gain::{dcg, gain, ndcg};
pub use merge::{Merged, merge_identical};
pub use normal::normal_scores;
pub use notation::ParseRankingError;
pub use pairs::{PairRule, strict_pairs};
pub use ranking::{InvalidRanking, Ranking};
pub use scale::{Scale, scale_advantages};
