//! The `world` Oracle: ClipWorld's ground truth, with noise of a stated size.

use std::time::Instant;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rlaif_rank::Ranking;
use rlaif_world::{WorldError, perturb, rank_answers, strength_for};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Cancel, ConfigError, Oracle, OracleError, RankRequest, Verdict};

/// Settings of the `world` Oracle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorldOracleConfig {
    /// Expected Kendall tau-b between the verdict and the true order of a group, in [0, 1];
    /// default 1, the truth itself. At 0 the order says nothing.
    pub tau: f64,
    /// Seed of the noise; default 0.
    pub seed: u64,
}

impl Default for WorldOracleConfig {
    fn default() -> Self {
        WorldOracleConfig { tau: 1.0, seed: 0 }
    }
}

/// Orders answers to ClipWorld's questions by [`rank_answers`], perturbed as [`perturb`] says.
///
/// The noise depends on the seed, the example and the candidates alone: a group that is asked
/// about again, after a resume for instance, gets the same verdict. Its strength is solved for
/// each group, with its ties, so that the expected tau is the stated one in each. Equally right
/// answers tie whatever the noise.
///
/// A request that is not about ClipWorld is [`OracleError::NotOfTheWorld`].
#[derive(Clone, Debug, Default)]
pub struct WorldOracle {
    config: WorldOracleConfig,
}

impl WorldOracle {
    /// An Oracle of this config.
    ///
    /// # Errors
    ///
    /// When `tau` is outside of [0, 1].
    pub fn new(config: WorldOracleConfig) -> Result<Self, ConfigError> {
        if (0.0..=1.0).contains(&config.tau) {
            return Ok(WorldOracle { config });
        }
        let why = format!("{} is outside of 0 to 1; set 1 for the true order", config.tau);
        Err(ConfigError::Field { oracle: "world", field: "tau", why })
    }

    fn rank_one(&self, request: &RankRequest) -> Result<Verdict, OracleError> {
        let start = Instant::now();
        let truth = rank_answers(&request.example, &request.candidates)
            .map_err(|error| refusal(request, &error))?;
        Ok(Verdict::new(self.perturbed(request, &truth), start.elapsed()))
    }

    fn perturbed(&self, request: &RankRequest, truth: &Ranking) -> Ranking {
        perturb(truth, strength_for(truth, self.config.tau), &mut self.stream(request))
    }

    fn stream(&self, request: &RankRequest) -> ChaCha8Rng {
        let mut hash = Sha256::new();
        hash.update(self.config.seed.to_le_bytes());
        for text in std::iter::once(&request.example.id).chain(&request.candidates) {
            // With its length, so that no two lists of texts run together to the same bytes.
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        ChaCha8Rng::from_seed(hash.finalize().into())
    }
}

fn refusal(request: &RankRequest, error: &WorldError) -> OracleError {
    let example = request.example.id.clone();
    match error {
        WorldError::NoCandidates { .. } => OracleError::NoCandidates { example },
        WorldError::NotOfTheWorld { why, .. } => {
            OracleError::NotOfTheWorld { example, reason: why.clone() }
        }
        other => OracleError::NotOfTheWorld { example, reason: other.to_string() },
    }
}

impl Oracle for WorldOracle {
    fn name(&self) -> &'static str {
        "world"
    }

    fn rank(&self, requests: &[RankRequest], cancel: &Cancel) -> Vec<Result<Verdict, OracleError>> {
        requests
            .iter()
            .map(|request| {
                if cancel.is_cancelled() {
                    return Err(OracleError::Cancelled { example: request.example.id.clone() });
                }
                self.rank_one(request)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use rlaif_data::Example;
    use rlaif_rank::kendall_tau_b;
    use rlaif_world::{Split, WorldConfig, examples};

    use super::*;
    use crate::{OracleConfig, build, testing::request};

    fn oracle(tau: f64, seed: u64) -> WorldOracle {
        WorldOracle::new(WorldOracleConfig { tau, seed }).unwrap()
    }

    /// A question about colors, and answers from right to empty.
    fn colors() -> RankRequest {
        let row = |index| {
            examples(&WorldConfig::default(), Split::Train, index).into_iter().find(|row| {
                row.choices.is_none() && row.category.as_deref() == Some("attribute_perception")
            })
        };
        let example: Example = (0..50).find_map(row).unwrap();
        let right = example.reference.clone().unwrap();
        let candidates = vec![
            String::new(),
            right.clone(),
            format!("{right} {right}"),
            "pink circus".to_owned(),
        ];
        RankRequest { example, candidates }
    }

    fn verdict(oracle: &WorldOracle, request: &RankRequest) -> Ranking {
        let mut results = oracle.rank(std::slice::from_ref(request), &Cancel::new());
        results.remove(0).unwrap().ranking
    }

    #[test]
    fn without_noise_the_verdict_is_the_truth() {
        assert_eq!(verdict(&oracle(1.0, 5), &colors()).to_string(), "[2] > [3] > [4] > [1]");
    }

    #[test]
    fn the_same_group_gets_the_same_verdict_and_noise_is_as_stated() {
        let (mut sum, mut seen) = (0.0, std::collections::BTreeSet::new());
        let n = 4000;
        let truth = verdict(&oracle(1.0, 0), &colors());
        for seed in 0..n {
            let noisy = verdict(&oracle(0.4, seed), &colors());
            if seed < 20 {
                assert_eq!(noisy, verdict(&oracle(0.4, seed), &colors()));
            }
            sum += kendall_tau_b(&truth, &noisy).unwrap();
            seen.insert(noisy.to_string());
        }
        let mean = sum / n as f64;
        assert!((mean - 0.4).abs() < 0.03, "{mean}");
        assert_eq!(seen.len(), 24, "every order occurs");
    }

    #[test]
    fn other_examples_and_candidates_have_other_noise() {
        let (one, two) = (colors(), colors());
        let other =
            RankRequest { example: Example { id: "another".to_owned(), ..two.example }, ..two };
        let verdicts = |request: &RankRequest| -> Vec<Ranking> {
            (0..20).map(|seed| verdict(&oracle(0.0, seed), request)).collect()
        };
        assert_ne!(verdicts(&one), verdicts(&other));
    }

    #[test]
    fn settings_and_foreign_rows_are_refused_by_name() {
        for tau in [-0.1, 1.5, f64::NAN] {
            let error = WorldOracle::new(WorldOracleConfig { tau, seed: 0 }).unwrap_err();
            assert!(error.to_string().contains("`tau` of the world oracle"), "{error}");
        }
        let results =
            oracle(1.0, 0).rank(&[request("row-7", &["p", "q"]), colors()], &Cancel::new());
        let error = results[0].as_ref().unwrap_err();
        assert!(matches!(error, OracleError::NotOfTheWorld { example, .. } if example == "row-7"));
        assert!(error.to_string().contains("ClipWorld examples alone"), "{error}");
        assert!(results[1].is_ok());
        let nothing = RankRequest { candidates: vec![], ..colors() };
        let results = oracle(1.0, 0).rank(&[nothing], &Cancel::new());
        assert!(matches!(results[0], Err(OracleError::NoCandidates { .. })));
    }

    #[test]
    fn a_recipe_builds_it() {
        let config: OracleConfig =
            serde_json::from_str(r#"{"type": "world", "tau": 0.5}"#).unwrap();
        let expected = WorldOracleConfig { tau: 0.5, seed: 0 };
        assert_eq!(config, OracleConfig::World(expected));
        assert_eq!(build(&config).unwrap().name(), "world");
        assert!(serde_json::from_str::<OracleConfig>(r#"{"type": "world", "tua": 1}"#).is_err());
        assert!(build(&OracleConfig::World(WorldOracleConfig { tau: 2.0, seed: 0 })).is_err());
    }

    #[test]
    fn cancelled_means_cancelled() {
        let cancel = Cancel::new();
        cancel.cancel();
        let results = oracle(1.0, 0).rank(&[colors()], &cancel);
        assert!(matches!(&results[0], Err(OracleError::Cancelled { .. })));
    }
}
