//! Video files and image sequences to sampled, resized, normalised frames.
