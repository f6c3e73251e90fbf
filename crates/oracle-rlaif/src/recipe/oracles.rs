//! `[oracle]` and `[[oracle]]`: who ranks.

use std::path::PathBuf;

use rlaif_oracle::{
    CommandConfig, FramesConfig, HumanConfig, LimitsConfig, PromptsConfig, ProtocolSettings,
    ReferenceConfig, ServerConfig, WorldOracleConfig,
};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::local_judge::{JudgesBy, ModelOracleConfig};

/// Which Oracle; the key `type` chooses, and unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OracleConfig {
    /// The ground truth of ClipWorld, with noise of a stated size.
    World(WorldOracleConfig),
    /// Closeness to the row's reference answer.
    Reference(ReferenceConfig),
    /// Any program.
    Command(CommandConfig),
    /// A reward model of this project, by the order of its scores.
    #[serde(alias = "reward-model")]
    RewardModel(RewardModelOracleConfig),
    /// Any OpenAI-compatible chat endpoint.
    #[serde(rename = "openai")]
    OpenAi(Box<OpenAiOracleConfig>),
    /// Another checkpoint in this process.
    Model(ModelJudgeConfig),
    /// People, at the page of `oracle-rlaif annotate`.
    Human(HumanConfig),
}

/// Settings of the `reward_model` Oracle, which orders answers by a model's scores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardModelOracleConfig {
    /// The folder of the model.
    pub path: PathBuf,
}

/// How a model that talks is asked for an order.
#[derive(Clone, Debug, PartialEq)]
pub struct AskingConfig {
    /// `protocol`, `repeats` and `aggregator`.
    pub protocol: ProtocolSettings,
    /// Repair turns after a reply that is no answer, 0 to 5. Default 1.
    pub repairs: u32,
    /// What it is asked with.
    pub prompts: PromptsConfig,
}

/// Settings of the `openai` Oracle: those of the server stand beside `type`.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenAiOracleConfig {
    /// Whom to ask.
    pub server: ServerConfig,
    /// What to ask.
    pub asking: AskingConfig,
    /// How the clip is shown: `frames`.
    pub frames: FramesConfig,
    /// How hard and how long: `limits`.
    pub limits: LimitsConfig,
}

/// Settings of the `model` Oracle: those of the model stand beside `type`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelJudgeConfig {
    /// Whom to ask.
    pub model: ModelOracleConfig,
    /// What to ask, where `by = "chat"`.
    pub asking: AskingConfig,
}

impl Default for AskingConfig {
    fn default() -> Self {
        AskingConfig {
            protocol: ProtocolSettings::default(),
            repairs: default_repairs(),
            prompts: PromptsConfig::default(),
        }
    }
}

fn default_repairs() -> u32 {
    1
}

/// Keys that belong to the protocol.
const PROTOCOL_KEYS: [&str; 3] = ["protocol", "repeats", "aggregator"];
/// Keys that say how a model is asked.
const ASKING_KEYS: [&str; 5] = ["protocol", "repeats", "aggregator", "repairs", "prompts"];

impl AskingConfig {
    /// Takes its keys out of a table.
    fn take<E: serde::de::Error>(table: &mut Map<String, Value>) -> Result<Self, E> {
        let protocol: Map<String, Value> =
            PROTOCOL_KEYS.iter().filter_map(|key| table.remove_entry(*key)).collect();
        let asking = AskingConfig {
            protocol: serde_json::from_value(Value::Object(protocol)).map_err(E::custom)?,
            repairs: take(table, "repairs")?.unwrap_or_else(default_repairs),
            prompts: take(table, "prompts")?.unwrap_or_default(),
        };
        asking.protocol.check().map_err(E::custom)?;
        if asking.repairs > 5 {
            return Err(E::custom(format!("`repairs` must be in [0, 5], got {}", asking.repairs)));
        }
        Ok(asking)
    }

    fn put<E: serde::ser::Error>(&self, table: &mut Map<String, Value>) -> Result<(), E> {
        merge(table, &self.protocol)?;
        table.insert("repairs".to_owned(), self.repairs.into());
        table.insert("prompts".to_owned(), serde_json::to_value(&self.prompts).map_err(E::custom)?);
        Ok(())
    }
}

fn take<T: DeserializeOwned, E: serde::de::Error>(
    table: &mut Map<String, Value>,
    key: &str,
) -> Result<Option<T>, E> {
    let read = |value| {
        serde_json::from_value(value).map_err(|error| E::custom(format!("`{key}`: {error}")))
    };
    table.remove(key).map(read).transpose()
}

/// Reads what is left of a table, naming `others` too where a key is unknown.
fn rest<T: DeserializeOwned, E: serde::de::Error>(
    table: Map<String, Value>,
    others: &[&str],
) -> Result<T, E> {
    serde_json::from_value(Value::Object(table)).map_err(|error| {
        let message = error.to_string();
        match message.split_once("expected one of ") {
            Some((before, known)) => {
                let others: Vec<String> = others.iter().map(|key| format!("`{key}`")).collect();
                E::custom(format!("{before}expected one of {}, {known}", others.join(", ")))
            }
            None => E::custom(message),
        }
    })
}

fn merge<E: serde::ser::Error>(
    table: &mut Map<String, Value>,
    part: &impl Serialize,
) -> Result<(), E> {
    match serde_json::to_value(part).map_err(E::custom)? {
        Value::Object(part) => table.extend(part),
        other => return Err(E::custom(format!("not a table: {other}"))),
    }
    Ok(())
}

impl<'de> Deserialize<'de> for OpenAiOracleConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Map::deserialize(deserializer)?;
        let asking = AskingConfig::take(&mut table)?;
        let frames: FramesConfig = take(&mut table, "frames")?.unwrap_or_default();
        let limits: LimitsConfig = take(&mut table, "limits")?.unwrap_or_default();
        let others = [&ASKING_KEYS[..], &["frames", "limits"]].concat();
        let server: ServerConfig = rest(table, &others)?;
        server.check().map_err(D::Error::custom)?;
        frames.check().map_err(D::Error::custom)?;
        limits.check().map_err(D::Error::custom)?;
        Ok(OpenAiOracleConfig { server, asking, frames, limits })
    }
}

impl Serialize for OpenAiOracleConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = Map::new();
        merge(&mut table, &self.server)?;
        self.asking.put(&mut table)?;
        for (key, part) in [
            ("frames", serde_json::to_value(&self.frames)),
            ("limits", serde_json::to_value(&self.limits)),
        ] {
            table.insert(key.to_owned(), part.map_err(serde::ser::Error::custom)?);
        }
        table.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ModelJudgeConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Map::deserialize(deserializer)?;
        let asking = AskingConfig::take(&mut table)?;
        let model: ModelOracleConfig = rest(table, &ASKING_KEYS)?;
        model.check().map_err(D::Error::custom)?;
        if model.by == JudgesBy::Likelihood && asking != AskingConfig::default() {
            return Err(D::Error::custom(
                "`protocol`, `repeats`, `aggregator`, `repairs` and `prompts` are for \
                 `by = \"chat\"`: nothing is asked of a likelihood",
            ));
        }
        Ok(ModelJudgeConfig { model, asking })
    }
}

impl Serialize for ModelJudgeConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = Map::new();
        merge(&mut table, &self.model)?;
        if self.model.by == JudgesBy::Chat {
            self.asking.put(&mut table)?;
        }
        table.serialize(serializer)
    }
}

impl OracleConfig {
    /// Its `type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            OracleConfig::World(_) => "world",
            OracleConfig::Reference(_) => "reference",
            OracleConfig::Command(_) => "command",
            OracleConfig::RewardModel(_) => "reward_model",
            OracleConfig::OpenAi(_) => "openai",
            OracleConfig::Model(_) => "model",
            OracleConfig::Human(_) => "human",
        }
    }

    /// Whether it gives several votes on a group by itself.
    fn has_votes(&self) -> bool {
        match self {
            OracleConfig::OpenAi(config) => config.asking.protocol.repeats > 1,
            OracleConfig::Model(config) => config.asking.protocol.repeats > 1,
            OracleConfig::Human(config) => config.annotators > 1,
            _ => false,
        }
    }

    /// Its paths, for those in a recipe start from the recipe's folder.
    fn files(&mut self) -> Vec<&mut PathBuf> {
        fn prompts(config: &mut PromptsConfig) -> Vec<&mut PathBuf> {
            let PromptsConfig { system, listwise, pairwise, pointwise, repair, .. } = config;
            [system, listwise, pairwise, pointwise, repair].into_iter().flatten().collect()
        }
        match self {
            OracleConfig::OpenAi(config) => {
                let mut files = prompts(&mut config.asking.prompts);
                files.extend(&mut config.server.api_key_file);
                files
            }
            OracleConfig::Model(config) => prompts(&mut config.asking.prompts),
            _ => Vec::new(),
        }
    }

    /// The folder of its model, or the model's name.
    fn model(&mut self) -> Option<&mut PathBuf> {
        match self {
            OracleConfig::RewardModel(config) => Some(&mut config.path),
            OracleConfig::Model(config) => Some(&mut config.model.path),
            _ => None,
        }
    }
}

/// One Oracle of a recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct OracleEntry {
    /// Its name in metrics, errors and the ledger. Default: its `type`.
    pub name: String,
    /// What its orders count for beside other Oracles, above 0. Default 1.
    pub weight: f64,
    /// Which one.
    pub config: OracleConfig,
}

impl<'de> Deserialize<'de> for OracleEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Map::deserialize(deserializer)?;
        let name: Option<String> = take(&mut table, "name")?;
        let weight = take(&mut table, "weight")?.unwrap_or(1.0);
        let config: OracleConfig =
            serde_json::from_value(Value::Object(table)).map_err(D::Error::custom)?;
        let name = name.unwrap_or_else(|| config.kind().to_owned());
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_word) {
            return Err(D::Error::custom(
                "the `name` of an Oracle has 1 to 64 letters, digits, `-`, `_` or `.`: it is part of \
                 the names of metrics",
            ));
        }
        Ok(OracleEntry { name, weight, config })
    }
}

impl Serialize for OracleEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = Map::new();
        merge(&mut table, &self.config)?;
        if self.name != self.config.kind() {
            table.insert("name".to_owned(), self.name.clone().into());
        }
        if (self.weight - 1.0).abs() > 0.0 {
            table.insert("weight".to_owned(), self.weight.into());
        }
        without_nulls(&mut table);
        table.serialize(serializer)
    }
}

/// TOML has no null: what is not set is not there.
fn without_nulls(table: &mut Map<String, Value>) {
    table.retain(|_, value| !value.is_null());
    for value in table.values_mut() {
        if let Value::Object(inner) = value {
            without_nulls(inner);
        }
    }
}

/// `[oracle]`, or several `[[oracle]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Oracles(pub Vec<OracleEntry>);

impl<'de> Deserialize<'de> for Oracles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |value| serde_json::from_value::<OracleEntry>(value).map_err(D::Error::custom);
        match Value::deserialize(deserializer)? {
            Value::Array(entries) if entries.is_empty() => {
                Err(D::Error::custom("`oracle` is an empty list: who ranks?"))
            }
            Value::Array(entries) => {
                Ok(Oracles(entries.into_iter().map(read).collect::<Result<_, _>>()?))
            }
            one => Ok(Oracles(vec![read(one)?])),
        }
    }
}

impl Serialize for Oracles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl Oracles {
    /// Whether a group gets several votes.
    #[must_use]
    pub fn have_votes(&self) -> bool {
        self.0.len() > 1 || self.0.iter().any(|entry| entry.config.has_votes())
    }

    /// All paths of files.
    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.0.iter_mut().flat_map(|entry| entry.config.files())
    }

    /// All folders or names of models.
    pub(super) fn models(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.0.iter_mut().filter_map(|entry| entry.config.model())
    }
}

#[cfg(test)]
#[path = "oracles_tests.rs"]
mod tests;
