//! Training loops, optimizer, schedules, metrics, checkpoints and resume.
