//! What a recipe says of a checkpoint that judges.

use std::path::PathBuf;

use anyhow::{Result, bail};
use rlaif_model::Precision;
use rlaif_video::Sampling;
use serde::{Deserialize, Serialize};

/// Most requests that go through the model together.
const BATCH_LIMIT: usize = 1024;
/// Longest reply in tokens that can be asked for.
const TOKENS_LIMIT: usize = 1 << 20;

/// An Oracle of type `model`: a checkpoint of any supported architecture, run in this process.
///
/// Read as a part of a larger table (`#[serde(flatten)]`) it takes its own keys and leaves the
/// others; keys that nobody knows are then up to the larger one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelOracleConfig {
    /// A Hugging Face folder, an adapter's folder, or a name on the hub, `org/name` or
    /// `org/name@revision`.
    pub path: PathBuf,
    /// Whether it is asked in words or by its likelihoods. Default `chat`.
    #[serde(default)]
    pub by: JudgesBy,
    /// How the log-probabilities of an answer's tokens become one number, for `likelihood`. Default
    /// `token`.
    #[serde(default)]
    pub normalize: Normalize,
    /// Whether the same number without the clip is taken off, for `likelihood`: what is left is how
    /// much the clip speaks for the answer, its pointwise mutual information given the question. It
    /// keeps answers that are likely about any clip from winning. Default false.
    #[serde(default)]
    pub calibrate: bool,
    /// Longest reply in tokens, its end token included, from 1, for `chat`. A longer one is cut
    /// off. Default 256.
    #[serde(default = "default_max_tokens")]
    pub max_tokens: usize,
    /// Temperature of replies, from 0, for `chat`; 0 takes the likeliest token. Default 0.
    #[serde(default)]
    pub temperature: f64,
    /// Seed of replies where the temperature is above 0. Default 42.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Frames that the judge is shown; where absent those of `[video]`, else by the rule of the
    /// judge's own processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// How the decoder's projections are kept: `float32`, or packed as `bfloat16`, `int8` or
    /// `nf4`. Default `float32`.
    #[serde(default)]
    pub base_precision: Precision,
    /// Requests (`chat`) or groups (`likelihood`) that go through the model together, 1 to 1024: keys
    /// and values of all their prompts are in memory at once, 1 MiB a token for a model of 7B. With 1
    /// a verdict keeps its last bit whatever else is asked. Default 8.
    #[serde(default = "default_batch")]
    pub batch: usize,
}

/// How a checkpoint comes to an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JudgesBy {
    /// It is asked, and says so in words.
    #[default]
    Chat,
    /// Answers that it finds likelier come first.
    Likelihood,
}

/// How the log-probabilities of an answer's tokens become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalize {
    /// Their mean: long answers are not worse for being long.
    #[default]
    Token,
    /// Their sum, the log-probability of the whole answer.
    None,
}

fn default_max_tokens() -> usize {
    256
}

fn default_seed() -> u64 {
    42
}

fn default_batch() -> usize {
    8
}

impl ModelOracleConfig {
    /// The checkpoint in `path` with all defaults.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        ModelOracleConfig {
            path: path.into(),
            by: JudgesBy::default(),
            normalize: Normalize::default(),
            calibrate: false,
            max_tokens: default_max_tokens(),
            temperature: 0.0,
            seed: default_seed(),
            sampling: None,
            base_precision: Precision::default(),
            batch: default_batch(),
        }
    }

    /// Checks the ranges that the fields' documentation states.
    ///
    /// # Errors
    ///
    /// Names the first key that is out of its range, the range and the value.
    pub fn check(&self) -> Result<()> {
        if self.path.as_os_str().is_empty() {
            bail!("`path` is empty; name the judge's checkpoint folder or its name on the hub");
        }
        if !(1..=TOKENS_LIMIT).contains(&self.max_tokens) {
            bail!("`max_tokens` must be in 1..={TOKENS_LIMIT}, got {}", self.max_tokens);
        }
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            bail!("`temperature` must be 0 or above, got {}", self.temperature);
        }
        if !(1..=BATCH_LIMIT).contains(&self.batch) {
            bail!("`batch` must be in 1..={BATCH_LIMIT}, got {}", self.batch);
        }
        if let Some(sampling) = &self.sampling {
            sampling.validate()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<ModelOracleConfig, toml::de::Error> {
        toml::from_str(toml)
    }

    #[test]
    fn a_path_alone_has_the_documented_defaults() {
        let config = read("path = \"runs/judge\"").unwrap();
        assert_eq!(config, ModelOracleConfig::new("runs/judge"));
        assert_eq!((config.by, config.normalize), (JudgesBy::Chat, Normalize::Token));
        assert_eq!((config.max_tokens, config.batch, config.seed), (256, 8, 42));
        assert_eq!(config.base_precision, Precision::F32);
        config.check().unwrap();
    }

    #[test]
    fn what_is_written_reads_back_as_itself() {
        let config = read(
            "path = 'j'\nby = 'likelihood'\nnormalize = 'none'\ncalibrate = true\nbatch = 2\n\
             base_precision = 'nf4'\nsampling = { type = 'uniform', frames = 4 }",
        )
        .unwrap();
        assert_eq!((config.by, config.normalize), (JudgesBy::Likelihood, Normalize::None));
        assert_eq!(config.sampling, Some(Sampling::Uniform { frames: 4 }));
        assert_eq!(read(&toml::to_string(&config).unwrap()).unwrap(), config);
    }

    #[test]
    fn a_key_that_nobody_knows_is_an_error_and_so_is_a_value_out_of_range() {
        let error = read("path = 'j'\ntemprature = 1").unwrap_err().to_string();
        assert!(error.contains("unknown field `temprature`"), "{error}");
        for (toml, message) in [
            ("path = ''", "`path` is empty"),
            ("path = 'j'\nmax_tokens = 0", "`max_tokens` must be in 1..=1048576, got 0"),
            ("path = 'j'\ntemperature = -0.5", "`temperature` must be 0 or above, got -0.5"),
            ("path = 'j'\ntemperature = nan", "`temperature` must be 0 or above, got NaN"),
            ("path = 'j'\nbatch = 2000", "`batch` must be in 1..=1024, got 2000"),
            ("path = 'j'\nsampling = { type = 'uniform', frames = 0 }", "`frames` must be in"),
        ] {
            let error = read(toml).unwrap().check().unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn it_is_read_as_a_part_of_a_larger_table() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Larger {
            #[serde(flatten)]
            model: ModelOracleConfig,
            protocol: String,
        }
        let larger: Larger =
            toml::from_str("path = 'j'\nbatch = 3\nprotocol = 'pairwise'").unwrap();
        assert_eq!(larger.protocol, "pairwise");
        assert_eq!(larger.model, ModelOracleConfig { batch: 3, ..ModelOracleConfig::new("j") });
        let unknown = "path = 'j'\nbach = 3\nprotocol = 'pairwise'";
        let error = toml::from_str::<Larger>(unknown).unwrap_err().to_string();
        assert!(error.contains("bach"), "{error}");
    }
}
