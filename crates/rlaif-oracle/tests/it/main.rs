//! Oracles as a run uses them.
