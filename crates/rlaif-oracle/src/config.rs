//! Which Oracle a recipe asks for.

use std::path::{Path, PathBuf};

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
    /// A reward model of this project: the program that holds models builds it, [`build`] cannot.
    #[serde(alias = "reward-model")]
    RewardModel(RewardModelOracleConfig),
}

/// Settings of the `reward_model` Oracle, which orders answers by a model's scores.
///
/// ```
/// use rlaif_oracle::{ConfigError, OracleConfig, build};
///
/// let config: OracleConfig =
///     serde_json::from_str(r#"{"type": "reward_model", "path": "runs/judge"}"#)?;
/// let OracleConfig::RewardModel(model) = &config else { unreachable!() };
/// assert_eq!(model.path.to_str(), Some("runs/judge"));
/// assert!(matches!(build(&config), Err(ConfigError::NeedsModel { .. })));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardModelOracleConfig {
    /// The folder of the model.
    pub path: PathBuf,
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
    /// A prompt cannot be used.
    #[error("prompt `{prompt}`{}: {why}", place(path.as_deref(), *line))]
    Prompt {
        /// Which, as its key is called.
        prompt: &'static str,
        /// The file it comes from; none for one that is built in.
        path: Option<PathBuf>,
        /// The line, where it is known, from 1.
        line: Option<usize>,
        /// What is wrong with it.
        why: String,
    },
    /// The Oracle is a model, and this crate holds none.
    #[error(
        "the {oracle} oracle is the model in `{}`, and no model can be loaded here: have it built \
         by the program that loads models, or choose another Oracle",
        path.display()
    )]
    NeedsModel {
        /// The Oracle's `type`.
        oracle: &'static str,
        /// Where the model lies.
        path: PathBuf,
    },
}

fn place(path: Option<&Path>, line: Option<usize>) -> String {
    let file = path.map(|path| format!(" in `{}`", path.display()));
    let line = line.map(|line| format!(", line {line}"));
    file.into_iter().chain(line).collect()
}

/// Builds the Oracle that `config` describes. Programs are not started and models not loaded before
/// the first group is ranked.
///
/// # Errors
///
/// When a setting is out of its range; [`ConfigError::NeedsModel`] for
/// [`OracleConfig::RewardModel`], since this crate knows no models: whoever can load one matches
/// that variant before calling this.
pub fn build(config: &OracleConfig) -> Result<Box<dyn Oracle>, ConfigError> {
    Ok(match config {
        OracleConfig::Reference(config) => Box::new(ReferenceOracle::new(config.metric)),
        OracleConfig::World(config) => Box::new(WorldOracle::new(config.clone())?),
        OracleConfig::Command(config) => Box::new(CommandOracle::new(config.clone())?),
        OracleConfig::RewardModel(RewardModelOracleConfig { path }) => {
            return Err(ConfigError::NeedsModel { oracle: "reward_model", path: path.clone() });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reward_model_is_read_and_left_to_whoever_holds_models() {
        let expected = RewardModelOracleConfig { path: "runs/judge".into() };
        for name in ["reward_model", "reward-model"] {
            let text = format!(r#"{{"type": "{name}", "path": "runs/judge"}}"#);
            let config: OracleConfig = serde_json::from_str(&text).unwrap();
            assert_eq!(config, OracleConfig::RewardModel(expected.clone()));
        }
        let config = OracleConfig::RewardModel(expected);
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(written, r#"{"type":"reward_model","path":"runs/judge"}"#);

        let Err(error) = build(&config) else { panic!("no model is here") };
        let path = PathBuf::from("runs/judge");
        assert_eq!(error, ConfigError::NeedsModel { oracle: "reward_model", path });
        assert!(error.to_string().contains("the reward_model oracle"), "{error}");
        assert!(error.to_string().contains("`runs/judge`"), "{error}");
    }

    #[test]
    fn a_reward_model_has_a_path_and_nothing_else() {
        let error =
            |text: &str| serde_json::from_str::<OracleConfig>(text).unwrap_err().to_string();
        let unknown = error(r#"{"type": "reward_model", "path": "a", "tau": 1}"#);
        assert!(unknown.contains("unknown field `tau`"), "{unknown}");
        let missing = error(r#"{"type": "reward_model"}"#);
        assert!(missing.contains("missing field `path`"), "{missing}");
    }
}
