//! The judges that a recipe asks for: Oracles that order, rewards that score.

use anyhow::{Context as _, Result, bail};
use burn::tensor::Device;
use rlaif_oracle::{Oracle, OracleConfig, RankRequest};
use rlaif_train::{Reward, RewardError};

use crate::recipe::{Recipe, RewardConfig, VideoConfig};
use crate::reward_model::RewardModel;

/// The recipe's Oracle.
///
/// # Errors
///
/// Fails where there is none, a setting is out of its range, or its model cannot be opened.
pub fn oracle(recipe: &Recipe, device: &Device) -> Result<Box<dyn Oracle>> {
    let Some(config) = &recipe.oracle else {
        bail!("the recipe has no `[oracle]` section: who ranks?");
    };
    match config {
        OracleConfig::RewardModel(model) => Ok(Box::new(
            RewardModel::open(&model.path, &recipe.video, device).context("`[oracle]`")?,
        )),
        other => Ok(rlaif_oracle::build(other)?),
    }
}

/// Who scores, and the reward model behind it where it is one.
pub struct RewardSource {
    /// The reward.
    pub reward: Box<dyn Reward>,
    /// What a critic may start from: model and digest of its tower.
    pub critic: Option<(rlaif_model::Vlm, String)>,
}

/// The recipe's reward.
///
/// # Errors
///
/// Fails where there is none, or its model cannot be opened.
pub fn reward(
    config: Option<&RewardConfig>,
    video: &VideoConfig,
    device: &Device,
) -> Result<RewardSource> {
    match config {
        None => bail!(
            "the recipe has no `[reward]` section: who scores? For instance \
             `reward = {{ type = \"reward_model\", path = \"runs/reward\" }}`"
        ),
        Some(RewardConfig::World {}) => {
            Ok(RewardSource { reward: Box::new(WorldReward), critic: None })
        }
        Some(RewardConfig::RewardModel { path, normalize }) => {
            let model = RewardModel::open(path, video, device).context("`[reward]`")?;
            let critic = Some((model.model.vlm.clone(), model.tower_digest().to_owned()));
            Ok(RewardSource { reward: Box::new(model.normalized(*normalize)), critic })
        }
    }
}

/// ClipWorld's truth as a number.
struct WorldReward;

impl Reward for WorldReward {
    fn name(&self) -> &'static str {
        "world"
    }

    fn rewards(&mut self, requests: &[RankRequest]) -> Vec<Result<Vec<f64>, RewardError>> {
        let one = |request: &RankRequest| {
            let score = |text: &String| rlaif_world::truth_score(&request.example, text);
            request.candidates.iter().map(score).collect::<Result<Vec<f64>, _>>().map_err(|error| {
                RewardError { example: request.example.id.clone(), reason: error.to_string() }
            })
        };
        requests.iter().map(one).collect()
    }
}
