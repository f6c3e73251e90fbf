//! Training runs of a small model: they learn, they resume to the same bits, they lose nothing; and
//! one update is that of TRL.

mod checkpoint;
mod groups;
mod learning;
mod pairs;
mod recompute;
mod resume;
mod scored;
mod sft;
mod support;
mod trl;
