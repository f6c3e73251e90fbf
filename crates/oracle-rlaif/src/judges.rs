//! The judges that a recipe asks for: Oracles that order, rewards that score.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use burn::tensor::Device;
use rlaif_oracle::{
    AskingSettings, ChatOracle, CommandConfig, CommandOracle, Ensemble, FramesConfig, HttpChat,
    HumanOracle, Ledger, Ledgered, Member, Oracle, Picture, Pictures, Prompts, RankRequest,
    RankingConfig, ReferenceOracle, WorldOracle,
};
use rlaif_train::{Reward, RewardError};
use rlaif_video::Loader;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::local_judge::{JudgesBy, LikelihoodOracle, LocalChat};
use crate::pictures::pictures;
use crate::recipe::{
    AskingConfig, OpenAiOracleConfig, OracleConfig, OracleEntry, Oracles, Recipe, RewardConfig,
    VideoConfig,
};
use crate::reward_model::RewardModel;

/// The ledger's name in a run folder.
pub const LEDGER: &str = "ledger.sqlite";

/// The Oracle of the run in `out`.
///
/// # Errors
///
/// As [`open`], and where the recipe has none.
pub fn of_run(recipe: &Recipe, out: &Path, device: &Device) -> Result<Box<dyn Oracle>> {
    let Some(oracles) = &recipe.oracle else {
        bail!("the recipe has no `[oracle]` section: who ranks?");
    };
    open(oracles, &recipe.ranking, &recipe.video, &out.join(LEDGER), device)
}

/// The Oracles of a recipe, as one: an [`Ensemble`] where there are several. Replies are kept in the
/// file that the recipe names, else in `ledger`; Oracles that cost nothing to ask again need none.
///
/// # Errors
///
/// Fails where a setting is out of its range, a model cannot be opened, or the ledger cannot be.
pub fn open(
    oracles: &Oracles,
    ranking: &RankingConfig,
    video: &VideoConfig,
    ledger: &Path,
    device: &Device,
) -> Result<Box<dyn Oracle>> {
    let file = ranking.ledger.as_deref().unwrap_or(ledger);
    // Opened by the first Oracle that keeps something, and shared by all.
    let shared: OnceCell<Arc<Ledger>> = OnceCell::new();
    let ledger = || -> Result<Arc<Ledger>> {
        if shared.get().is_none() {
            shared.set(Arc::new(Ledger::open(file)?)).ok();
        }
        shared.get().cloned().context("the ledger")
    };
    let mut members = Vec::new();
    for entry in &oracles.0 {
        let oracle = one(entry, video, &ledger, device)
            .with_context(|| format!("the Oracle `{}`", entry.name))?;
        members.push(Member { name: entry.name.clone(), weight: entry.weight, oracle });
    }
    if members.len() == 1
        && let Some(only) = members.pop()
    {
        return Ok(only.oracle);
    }
    Ok(Box::new(Ensemble::new(members, ranking.aggregation)?))
}

/// One of them.
fn one(
    entry: &OracleEntry,
    video: &VideoConfig,
    ledger: &dyn Fn() -> Result<Arc<Ledger>>,
    device: &Device,
) -> Result<Box<dyn Oracle>> {
    Ok(match &entry.config {
        OracleConfig::World(config) => Box::new(WorldOracle::new(config.clone())?),
        OracleConfig::Reference(config) => Box::new(ReferenceOracle::new(config.metric)),
        OracleConfig::Command(config) => {
            let oracle = CommandOracle::new(config.clone())?;
            let identity = program_identity(config)?;
            Box::new(Ledgered::new(entry.name.clone(), identity, oracle, ledger()?))
        }
        OracleConfig::RewardModel(model) => {
            Box::new(RewardModel::open(&model.path, video, device)?)
        }
        OracleConfig::OpenAi(config) => {
            let OpenAiOracleConfig { server, asking, frames, limits } = &**config;
            let chat = HttpChat::new(server.clone(), frames, limits.clone(), shown())?;
            let settings = AskingSettings {
                deadline: limits.deadline(),
                max_calls: limits.max_calls,
                max_cost: limits.max_cost,
                ..settings(entry, asking)
            };
            let prompts = Prompts::load(&asking.prompts)?;
            Box::new(ChatOracle::new(settings, Box::new(chat), prompts, ledger()?)?)
        }
        OracleConfig::Model(config) if config.model.by == JudgesBy::Likelihood => {
            Box::new(LikelihoodOracle::open(&config.model, video, device)?)
        }
        OracleConfig::Model(config) => {
            let chat = LocalChat::open(&config.model, video, device)?;
            let prompts = Prompts::load(&config.asking.prompts)?;
            let settings = settings(entry, &config.asking);
            Box::new(ChatOracle::new(settings, Box::new(chat), prompts, ledger()?)?)
        }
        OracleConfig::Human(config) => Box::new(HumanOracle::new(config.clone(), ledger()?)?),
    })
}

/// How a model that talks is asked; without limits.
fn settings(entry: &OracleEntry, asking: &AskingConfig) -> AskingSettings {
    AskingSettings {
        name: entry.name.clone(),
        protocol: asking.protocol,
        repairs: asking.repairs,
        deadline: None,
        max_calls: None,
        max_cost: None,
    }
}

/// The frames that a judge behind a server is shown, decoded and kept by [`pictures`].
#[must_use]
pub fn shown() -> Pictures {
    let pictures = pictures(Loader::default());
    Arc::new(move |video, frames: &FramesConfig| {
        let shown = pictures(video, frames.count, frames.max_side, frames.quality)?;
        Ok(shown.into_iter().map(|(jpeg, seconds)| Picture { jpeg, seconds }).collect())
    })
}

/// What a program's verdicts depend on: its name, its arguments, and what is in those of them that are
/// files, so that an edited judge is asked anew.
fn program_identity(config: &CommandConfig) -> Result<serde_json::Value> {
    let mut files = Vec::new();
    for text in std::iter::once(&config.program).chain(&config.args) {
        let path = Path::new(text);
        if path.is_file() {
            let bytes = std::fs::read(path).with_context(|| format!("`{text}`"))?;
            files.push(format!("{:x}", Sha256::digest(&bytes)));
        }
    }
    Ok(json!({"program": config.program, "args": config.args, "files": files}))
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
