//! The `world` Oracle: ClipWorld's ground truth, with noise of a stated size.

use std::{num::NonZeroUsize, time::Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rlaif_rank::{Ranking, merge_identical};
use rlaif_world::{
    WorldError, leave_unplaced, perturb, rank_answers, rank_answers_in_steps, strength_for,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Cancel, ConfigError, Oracle, OracleError, RankRequest, Verdict};

/// Settings of the `world` Oracle. The defaults are the truth itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorldOracleConfig {
    /// Expected Kendall tau-b between the verdict and the true order of a group, in [0, 1];
    /// default 1, the truth itself. At 0 the order says nothing.
    pub tau: f64,
    /// Seed of the noise and of the gaps; default 0.
    pub seed: u64,
    /// A coarse judge: grades answers in this many steps of equal width over the credit 0 to 1, at
    /// least 2, and ties those in one step; default none, as fine as the truth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub levels: Option<usize>,
    /// Probability with which each candidate is left unplaced, in [0, 1); default 0, a complete
    /// order. Two distinct candidates stay placed whatever is drawn.
    pub unplaced: f64,
}

impl Default for WorldOracleConfig {
    fn default() -> Self {
        WorldOracleConfig { tau: 1.0, seed: 0, levels: None, unplaced: 0.0 }
    }
}

/// Orders answers to ClipWorld's questions by the truth, and errs as it is told to, in this order:
///
/// 1. the true order, [`rank_answers`];
/// 2. `levels`: answers of one step tie, [`rank_answers_in_steps`];
/// 3. `tau`: noise on what is left of the order, [`perturb`];
/// 4. `unplaced`: gaps, [`leave_unplaced`].
///
/// So `tau` is that to the *coarse* order: what a step ties goes on tying whatever the noise, and
/// a group within one step is a tie of all, on which noise has no effect. The strength of the
/// noise is solved for each group, with its ties, so that the expected tau is the stated one in
/// each. Gaps come last, independently of where a candidate stands, and so they leave the expected
/// tau of the placed as it is (to the letter where nothing ties). A gap in a tie of all is no tie of
/// all any more: what is not placed counts as behind the placed where advantages are made.
///
/// Noise and gaps depend on the seed, the example and the candidates alone: a group that is asked
/// about again, after a resume for instance, gets the same verdict. They are drawn from two
/// streams of that one seed, so that the same candidates are left out at every `tau` and `levels`,
/// and more of them at a larger `unplaced`. Identical candidates are placed or left out together.
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
    /// When `tau` is outside of [0, 1], `levels` below 2 or `unplaced` outside of [0, 1).
    pub fn new(config: WorldOracleConfig) -> Result<Self, ConfigError> {
        let wrong = |field, why| Err(ConfigError::Field { oracle: "world", field, why });
        let WorldOracleConfig { tau, levels, unplaced, .. } = config;
        if !(0.0..=1.0).contains(&tau) {
            return wrong("tau", format!("{tau} is outside of 0 to 1; set 1 for the true order"));
        }
        if let Some(levels @ ..2) = levels {
            let why = format!(
                "{levels} ties every answer; set 2 or more, or leave it out to judge as finely as \
                 the truth does"
            );
            return wrong("levels", why);
        }
        if !(0.0..1.0).contains(&unplaced) {
            let why = format!(
                "{unplaced} is no probability from 0 to below 1; set 0 to place every candidate"
            );
            return wrong("unplaced", why);
        }
        Ok(WorldOracle { config })
    }

    fn rank_one(&self, request: &RankRequest) -> Result<Verdict, OracleError> {
        let start = Instant::now();
        let RankRequest { example, candidates } = request;
        let judged = match self.config.levels.and_then(NonZeroUsize::new) {
            Some(steps) => rank_answers_in_steps(example, candidates, steps),
            None => rank_answers(example, candidates),
        };
        let judged = judged.map_err(|error| refusal(request, &error))?;
        let noisy = self.perturbed(request, &judged);
        Ok(Verdict::new(self.with_gaps(request, noisy), start.elapsed()))
    }

    fn perturbed(&self, request: &RankRequest, judged: &Ranking) -> Ranking {
        perturb(judged, strength_for(judged, self.config.tau), &mut self.stream(request))
    }

    fn with_gaps(&self, request: &RankRequest, ranking: Ranking) -> Ranking {
        if self.config.unplaced == 0.0 {
            return ranking;
        }
        let mut stream = self.stream(request);
        // Beside the stream of the noise, which takes one number a block.
        stream.set_stream(1);
        let merged = merge_identical(&request.candidates);
        let gaps = |distinct: Ranking| leave_unplaced(&distinct, self.config.unplaced, &mut stream);
        let partial = ranking
            .restrict(&merged.representatives)
            .map(gaps)
            .and_then(|distinct| distinct.expand(&merged.representative_of));
        // The places are those that `merge_identical` found among the same candidates.
        partial.unwrap_or(ranking)
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
mod tests;
