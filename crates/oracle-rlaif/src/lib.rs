//! Post-train video-language models from ranked feedback.
