//! The objectives against formulas written out over plain `f64` numbers, and against numbers worked
//! out by hand.

mod grpo;
mod kl;
mod support;
