//! Which Oracle a recipe asks for.

use serde::{Deserialize, Serialize};

use crate::{
    CommandConfig, CommandOracle, Oracle, ReferenceConfig, ReferenceOracle, WorldOracle,
    WorldOracleConfig,
};

/// The `[oracle]` table of a recipe; the key `type` chooses the Oracle, and unknown keys are errors.
///
/// ```
/// use rlaif_oracle::OracleConfig;
///
/// let config: OracleConfig = serde_json::from_str(
///     r#"{"type": "command", "program": "python3", "args": ["judge.py"], "timeout_seconds": 30}"#,
/// )?;
/// assert!(matches!(&config, OracleConfig::Command(c) if c.max_restarts == 3));
/// assert!(serde_json::from_str::<OracleConfig>(r#"{"type": "reference", "metrik": 1}"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OracleConfig {
    /// The ground truth of ClipWorld, with noise of a stated size: [`WorldOracle`].
    World(WorldOracleConfig),
    /// Closeness to the row's reference answer: [`ReferenceOracle`].
    Reference(ReferenceConfig),
    /// Any program: [`CommandOracle`].
    Command(CommandConfig),
}

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

/// Builds the Oracle that `config` describes. Programs are not started and models not loaded before
/// the first group is ranked.
///
/// # Errors
///
/// When a setting is out of its range.
pub fn build(config: &OracleConfig) -> Result<Box<dyn Oracle>, ConfigError> {
    Ok(match config {
        OracleConfig::Reference(config) => Box::new(ReferenceOracle::new(config.metric)),
        OracleConfig::World(config) => Box::new(WorldOracle::new(config.clone())?),
        OracleConfig::Command(config) => Box::new(CommandOracle::new(config.clone())?),
    })
}
