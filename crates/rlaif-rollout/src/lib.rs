//! The group pass: one prompt, G continuations, their log-probabilities.
