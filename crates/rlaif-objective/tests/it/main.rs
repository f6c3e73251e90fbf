//! The objectives against formulas written out over plain `f64` numbers, against numbers worked out
//! by hand, and against TRL.

mod gae;
mod grpo;
mod kl;
mod ppo;
mod preference;
mod rloo;
mod support;
mod trl;
