//! Objectives as pure functions from tensors to loss and metrics.
