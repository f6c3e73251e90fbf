//! What can be wrong with an Oracle's settings.

/// Settings from which no Oracle can be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A setting is out of its range.
    #[error("the `{field}` of the {oracle} oracle is wrong: {why}")]
    Field {
        /// The Oracle's `type`.
        oracle: &'static str,
        /// The key.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
}
