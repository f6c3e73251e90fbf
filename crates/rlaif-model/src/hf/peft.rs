//! LoRA adapters in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! Tensors are called by their canonical names within this crate, for instance
//! `language_model.model.layers.0.self_attn.q_proj.lora_A.weight` (`A` is `[r, inputs]`, `B` is
//! `[outputs, r]`); files hold `base_model.model.` and the module path of `transformers` 5.
//! Adapters of VLM-RLAIF (`base_model.model.model.layers.*`) and of older releases are read too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::hf::config::WeightFormat;
#[cfg(doc)]
use crate::hf::decoder_module;
use crate::hf::fields::{FieldError, Fields};
use crate::hf::files::{FileError, read_json, write_json};
use crate::hf::weights::{Weights, WeightsError, canonical_name, write_safetensors};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// Largest rank believed.
const MAX_RANK: u64 = 1 << 16;

/// Why an adapter cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// The configuration could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key of the configuration cannot be used.
    #[error("{}: {source}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The key and what is wrong with it.
        source: FieldError,
    },
    /// The weights could not be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// `adapter_config.json`. Names follow PEFT's `LoraConfig`; other keys are kept for saving.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    /// Rank.
    pub r: usize,
    /// The adapter's output is scaled by `lora_alpha / r`.
    pub lora_alpha: f64,
    /// Dropout on the adapter's input in training.
    pub lora_dropout: f64,
    /// Last part of the names of the decoder's layers that carry an adapter, sorted.
    pub target_modules: Vec<String>,
    /// Where the weights lie that the adapter was trained on.
    pub base_model_name_or_path: Option<String>,
    /// The document this was read from, kept for saving; empty when made in memory.
    pub document: Map<String, Value>,
}

impl AdapterConfig {
    /// The configuration of an adapter on the decoder's layers called `target_modules`.
    #[must_use]
    pub fn new<M: Into<String>>(
        r: usize,
        lora_alpha: f64,
        target_modules: impl IntoIterator<Item = M>,
    ) -> Self {
        let modules: BTreeSet<String> = target_modules.into_iter().map(Into::into).collect();
        AdapterConfig {
            r,
            lora_alpha,
            lora_dropout: 0.0,
            target_modules: modules.into_iter().collect(),
            base_model_name_or_path: None,
            document: Map::new(),
        }
    }

    /// Reads a configuration; a `target_modules` that is a pattern leaves the list empty.
    ///
    /// # Errors
    ///
    /// When a key is of the wrong type, or asks for a kind of adapter other than plain LoRA.
    pub fn from_json(value: &Value) -> Result<Self, FieldError> {
        let root = Fields::root(value)?;
        root.only("peft_type", &json!("LORA"), "\"LORA\"")?;
        root.only("bias", &json!("none"), "\"none\"")?;
        for key in
            ["use_dora", "use_rslora", "use_qalora", "use_bdlora", "lora_bias", "fan_in_fan_out"]
        {
            root.only(key, &json!(false), "false")?;
        }
        for (key, value) in root.iter() {
            let empty = match value {
                Value::Null => true,
                Value::Object(map) => map.is_empty(),
                Value::Array(list) => list.is_empty(),
                _ => false,
            };
            let must_be_empty = key.ends_with("_pattern") && key != "layers_pattern"
                || key.ends_with("_config")
                || [
                    "modules_to_save",
                    "layer_replication",
                    "trainable_token_indices",
                    "target_parameters",
                    "alora_invocation_tokens",
                ]
                .contains(&key.as_str());
            if must_be_empty && !empty {
                return Err(root.unsupported(key, value, "null"));
            }
        }
        match root.get("init_lora_weights") {
            None | Some(Value::Bool(_)) => {}
            Some(Value::String(name)) if name == "gaussian" || name == "orthogonal" => {}
            Some(other) => {
                let supported = "true, false, \"gaussian\", \"orthogonal\"; others change the base";
                return Err(root.unsupported("init_lora_weights", other, supported));
            }
        }
        let modules = match root.get("target_modules") {
            Some(Value::Array(list)) => list
                .iter()
                .map(|module| {
                    let name = module.as_str().ok_or_else(|| {
                        root.wrong("target_modules", module, "a list of strings or a pattern")
                    })?;
                    Ok(name.rsplit('.').next().unwrap_or(name).to_owned())
                })
                .collect::<Result<BTreeSet<String>, FieldError>>()?,
            _ => BTreeSet::new(),
        };
        Ok(AdapterConfig {
            r: root.size("r", 8, MAX_RANK)?,
            lora_alpha: root.positive("lora_alpha", 8.0)?,
            lora_dropout: root.number("lora_dropout", 0.0)?,
            target_modules: modules.into_iter().collect(),
            base_model_name_or_path: root.text("base_model_name_or_path")?.map(str::to_owned),
            document: value.as_object().cloned().unwrap_or_default(),
        })
    }

    /// The document: the one that was read with the fields set.
    ///
    /// `target_modules` is written as a pattern that names `decoder`, the module of the language model
    /// ([`decoder_module`]), since a tower's layers are called `q_proj`, `k_proj` and `v_proj` too.
    #[must_use]
    pub fn to_json(&self, decoder: &str) -> Value {
        let mut document = self.document.clone();
        for (key, value) in [
            ("peft_type", json!("LORA")),
            ("task_type", json!("CAUSAL_LM")),
            ("bias", json!("none")),
            ("fan_in_fan_out", json!(false)),
            ("inference_mode", json!(true)),
            ("init_lora_weights", json!(true)),
            ("modules_to_save", Value::Null),
            ("use_dora", json!(false)),
            ("use_rslora", json!(false)),
        ] {
            document.entry(key).or_insert(value);
        }
        document.insert("r".to_owned(), json!(self.r));
        // PEFT's annotation asks for a whole number.
        let whole = self.lora_alpha.fract() == 0.0 && self.lora_alpha < 1e9;
        let alpha = if whole {
            json!(format!("{:.0}", self.lora_alpha).parse::<u64>().unwrap_or_default())
        } else {
            json!(self.lora_alpha)
        };
        document.insert("lora_alpha".to_owned(), alpha);
        document.insert("lora_dropout".to_owned(), json!(self.lora_dropout));
        document.insert("base_model_name_or_path".to_owned(), json!(self.base_model_name_or_path));
        let module = match decoder {
            // The tower's modules lie below `model` too, but none of them in `model.layers`.
            "model" => r"model\.layers",
            _ => decoder.rsplit('.').next().unwrap_or(decoder),
        };
        let pattern = format!(r".*{module}.*\.({})", self.target_modules.join("|"));
        document.insert("target_modules".to_owned(), json!(pattern));
        Value::Object(document)
    }
}

/// An adapter in a folder: its configuration and its tensors under canonical names.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// The configuration; `target_modules` are those that the file holds tensors of.
    pub config: AdapterConfig,
    /// The tensors, read on demand.
    pub weights: Weights,
}

impl Adapter {
    /// Opens the adapter in `dir`.
    ///
    /// # Errors
    ///
    /// When a file is missing or broken, or the adapter is of an unsupported kind.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, AdapterError> {
        let dir = dir.as_ref();
        let path = dir.join(CONFIG);
        let value = read_json(&path)?;
        let mut config = AdapterConfig::from_json(&value)
            .map_err(|source| AdapterError::Field { path, source })?;
        let mut file = dir.join(WEIGHTS);
        let older = dir.join("adapter_model.bin");
        if !file.exists() && older.exists() {
            file = older;
        }
        let weights = Weights::from_files(dir, vec![file], |name| {
            canonical_name(name.strip_prefix("base_model.model.").unwrap_or(name))
        })?;
        let modules: BTreeSet<String> = weights
            .names()
            .filter_map(|name| name.strip_suffix(".lora_A.weight")?.rsplit('.').next())
            .map(str::to_owned)
            .collect();
        config.target_modules = modules.into_iter().collect();
        Ok(Adapter { config, weights })
    }
}

/// Writes an adapter into `dir`, weights first, each file atomically. `decoder` is what
/// `transformers` calls the language model ([`decoder_module`]); `tensors` are canonical names (`language_model.model.*.lora_A.weight`), shapes and values.
///
/// # Errors
///
/// When values do not fill their shape or the disk refuses.
pub fn write_adapter<N, D>(
    dir: impl AsRef<Path>,
    config: &AdapterConfig,
    decoder: &str,
    tensors: impl IntoIterator<Item = (N, Vec<usize>, D)>,
) -> Result<(), AdapterError>
where
    N: AsRef<str>,
    D: AsRef<[f32]>,
{
    let dir = dir.as_ref();
    let renamed = tensors
        .into_iter()
        .map(|(name, shape, values)| (adapter_name(name.as_ref(), decoder), shape, values));
    write_safetensors(&dir.join(WEIGHTS), WeightFormat::F32, renamed)?;
    Ok(write_json(&dir.join(CONFIG), &config.to_json(decoder))?)
}

/// The name in PEFT's file of a tensor with a canonical name.
fn adapter_name(name: &str, decoder: &str) -> String {
    match name.strip_prefix("language_model.model.") {
        Some(rest) => format!("base_model.model.{decoder}.{rest}"),
        None => format!("base_model.model.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hf::testing::fixture;

    const ALL: [&str; 7] =
        ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"];

    #[test]
    fn an_adapter_of_peft_opens_under_canonical_names() {
        let adapter = Adapter::open(fixture("llava-a").join("adapter")).unwrap();
        assert_eq!((adapter.config.r, adapter.config.lora_alpha), (4, 6.0));
        assert_eq!(adapter.config.target_modules, ALL);
        // Two layers of seven modules, an A and a B each.
        assert_eq!(adapter.weights.names().count(), 2 * 7 * 2);
        let name = "language_model.model.layers.1.self_attn.k_proj.lora_B.weight";
        // Two key/value heads of eight.
        let (shape, values) = adapter.weights.tensor(name).unwrap();
        assert_eq!((shape, values.len()), (vec![16, 4], 64));
        assert!(values.iter().all(|v| *v != 0.0));
    }

    #[test]
    fn a_written_adapter_holds_peft_names_and_comes_back() {
        let adapter = Adapter::open(fixture("llava-a").join("adapter")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let tensors: Vec<_> = adapter
            .weights
            .names()
            .map(|name| {
                let (shape, values) = adapter.weights.tensor(name).unwrap();
                (name.to_owned(), shape, values)
            })
            .collect();
        write_adapter(dir.path(), &adapter.config, "model.language_model", tensors.clone())
            .unwrap();
        let again = Adapter::open(dir.path()).unwrap();
        for (name, shape, values) in tensors {
            assert_eq!(again.weights.tensor(&name).unwrap(), (shape, values));
        }
        let stored = |dir: &Path| {
            let file = Weights::from_files(dir, vec![dir.join(WEIGHTS)], str::to_owned).unwrap();
            file.names().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(stored(dir.path()), stored(&fixture("llava-a").join("adapter")));
        // Only the pattern is spelled in another order.
        let (mut old, mut new) = (adapter.config.document, again.config.document);
        assert_eq!(
            new.remove("target_modules").unwrap(),
            json!(r".*language_model.*\.(down_proj|gate_proj|k_proj|o_proj|q_proj|up_proj|v_proj)")
        );
        old.remove("target_modules");
        assert_eq!(old, new);
    }

    #[test]
    fn a_fresh_configuration_reads_back() {
        let mut config = AdapterConfig::new(16, 32.0, ["v_proj", "q_proj", "v_proj"]);
        config.base_model_name_or_path = Some("out/sft".to_owned());
        assert_eq!(config.target_modules, ["q_proj", "v_proj"]);
        let value = config.to_json("model.language_model");
        assert_eq!(value["lora_alpha"], json!(32));
        let read = AdapterConfig::from_json(&value).unwrap();
        assert_eq!((read.r, read.lora_alpha, read.lora_dropout), (16, 32.0, 0.0));
        assert_eq!(read.base_model_name_or_path, config.base_model_name_or_path);
    }

    #[test]
    fn other_kinds_of_adapter_are_refused_by_key() {
        for (key, value) in [
            ("peft_type", json!("IA3")),
            ("use_dora", json!(true)),
            ("use_rslora", json!(true)),
            ("bias", json!("all")),
            ("rank_pattern", json!({ "q_proj": 4 })),
            ("modules_to_save", json!(["lm_head"])),
            ("init_lora_weights", json!("pissa")),
            ("r", json!(0)),
            ("target_modules", json!([1])),
        ] {
            let mut document = Map::new();
            document.insert(key.to_owned(), value);
            let error = AdapterConfig::from_json(&Value::Object(document)).unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{key}` is ")), "{error}");
        }
    }
}
